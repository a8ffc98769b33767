//! The data sets that have a name in the language: their files, how large they are, their SHA-256, and who serves them.

/// A file that is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    pub name: &'static str,
    pub bytes: u64,
    pub sha256: &'static str,
}

/// A file within an archive.
pub type Member = (&'static str, u64);

#[derive(Clone, Copy, Debug)]
pub struct DataSet {
    /// As the source is called in a spec.
    pub name: &'static str,
    /// Where the files are, tried in turn: each a folder, to which a file's name is added.
    pub mirrors: &'static [&'static str],
    pub files: &'static [File],
    /// Where the one file is a `.tar.gz`: what is taken out of it.
    pub members: &'static [Member],
}

const fn file(name: &'static str, bytes: u64, sha256: &'static str) -> File {
    File { name, bytes, sha256 }
}

/// Bytes of a batch of CIFAR-10: 10,000 rows of a label and 3 × 32 × 32 bytes.
const BATCH: u64 = 10_000 * 3_073;

const SETS: &[DataSet] = &[
    DataSet {
        name: "mnist",
        mirrors: &[
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ],
        files: &[
            file(
                "train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            file(
                "train-labels-idx1-ubyte.gz",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            file(
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            file(
                "t10k-labels-idx1-ubyte.gz",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ],
        members: &[],
    },
    DataSet {
        name: "fashion_mnist",
        mirrors: &[
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ],
        files: &[
            file(
                "train-images-idx3-ubyte.gz",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            file(
                "train-labels-idx1-ubyte.gz",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            file(
                "t10k-images-idx3-ubyte.gz",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            file(
                "t10k-labels-idx1-ubyte.gz",
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ],
        members: &[],
    },
    DataSet {
        name: "cifar10",
        mirrors: &[
            "https://www.cs.toronto.edu/~kriz/",
            "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
        ],
        files: &[file(
            "cifar-10-binary.tar.gz",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        )],
        members: &[
            ("data_batch_1.bin", BATCH),
            ("data_batch_2.bin", BATCH),
            ("data_batch_3.bin", BATCH),
            ("data_batch_4.bin", BATCH),
            ("data_batch_5.bin", BATCH),
            ("test_batch.bin", BATCH),
        ],
    },
];

/// The data set of a source's name.
pub fn find(name: &str) -> Option<&'static DataSet> {
    SETS.iter().find(|set| set.name == name)
}

impl DataSet {
    /// The files that a folder holds once the set is there.
    pub fn held(&self) -> Vec<Member> {
        match self.members {
            [] => self.files.iter().map(|f| (f.name, f.bytes)).collect(),
            members => members.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_set_of_the_language_is_known_and_well_formed() {
        for set in SETS {
            assert!(weft_compiler::check::sources().any(|s| s.name == set.name), "{}", set.name);
            assert!(set.mirrors.iter().all(|m| m.ends_with('/')));
            assert!(set.files.iter().all(|f| f.sha256.len() == 64 && f.bytes > 0));
            assert!(set.members.is_empty() || set.files.len() == 1);
        }
    }
}
