//! The files were written by h5py and Keras: `tests/golden/hdf5.py`.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::io::keras;
use crate::tensor::{Tensor, byte_count};

fn bytes(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/hdf5");
    std::fs::read(folder.join(name)).unwrap()
}

/// The values of a data set, by its path.
fn values(file: &Hdf5<'_>, tree: &Tree, path: &str) -> Outcome<(Vec<usize>, Vec<f64>)> {
    let mut group = tree;
    let (groups, name) = path.rsplit_once('/').unwrap_or(("", path));
    for step in groups.split('/').filter(|step| !step.is_empty()) {
        group = &group.groups[step];
    }
    let dataset = &group.datasets[name];
    let dtype = dataset.element.dtype().ok_or_else(|| dataset.element.name())?;
    let mut data = vec![0; dataset.bytes().unwrap()];
    file.read(dataset, &mut data)?;
    let tensor = Tensor { dtype, shape: dataset.shape.clone(), data };
    Ok((tensor.shape.clone(), tensor.view().to_f64()))
}

/// What the script fills arrays with.
fn floats(count: usize) -> Vec<f64> {
    (0..count).map(|i| i as f64 * 0.5 - 3.0).collect()
}

#[test]
fn old_and_new_files_hold_what_was_written() {
    for (name, many) in [("old.h5", 150), ("new.h5", 1300)] {
        let bytes = bytes(name);
        let file = Hdf5::open(&bytes).unwrap();
        let tree = file.tree().unwrap();
        let read = |path: &str| values(&file, &tree, path).unwrap_or_else(|e| panic!("{name}: {path}: {e}"));
        for path in ["little_f4", "big_f4", "little_f8", "big_f8", "little_f2"] {
            assert_eq!(read(&format!("types/{path}")), (vec![3, 2], floats(6)), "{name}: {path}");
        }
        for path in ["i1", "i4", "i8"] {
            assert_eq!(read(&format!("types/{path}")), (vec![4], vec![-3.0, -2.0, -1.0, 0.0]));
        }
        assert_eq!(read("types/truth"), (vec![2], vec![1.0, 0.0]));
        assert_eq!(read("types/scalar"), (vec![], vec![2.5]));
        assert_eq!(read("types/empty"), (vec![0, 3], vec![]));
        assert_eq!(read("compact"), (vec![2, 3], floats(6)));
        for path in ["plain", "gzip", "shuffled", "summed", "all"] {
            assert_eq!(read(&format!("chunked/{path}")), (vec![7, 5, 3], floats(105)), "{name}: {path}");
        }
        assert_eq!(read("chunked/one"), (vec![4, 4], floats(16)));
        assert_eq!(read("chunked/many"), (vec![many], floats(many)));
        for number in 0..60 {
            let value = read(&format!("crowd/member_with_a_long_name_{number}"));
            assert_eq!(value, (vec![1], vec![f64::from(number) - 3.0]));
        }
        assert_eq!(tree.groups["old_crowd"].datasets.len(), 40);
        assert_eq!(read("old_crowd/m39"), (vec![1], vec![36.0]));
        assert_eq!(tree.texts["fixed"], ["one", "two and more"]);
        assert_eq!(tree.texts["any"], ["one", "", "two and more ü"]);
        assert_eq!(tree.texts["alone"], ["a text"]);
        assert!(!tree.texts.contains_key("number"));
    }
}

#[test]
fn what_is_not_read_says_so() {
    let bytes = bytes("old.h5");
    let file = Hdf5::open(&bytes).unwrap();
    let tree = file.tree().unwrap();
    let why = |path: &str| values(&file, &tree, path).unwrap_err();
    assert_eq!(why("types/u4"), "u32");
    assert!(why("chunked/lzf").contains("lzf"), "{}", why("chunked/lzf"));
    assert_eq!(why("chunked/unwritten"), "nothing was ever written to it");
    let error = Hdf5::open(b"PK").err().unwrap();
    assert_eq!(error, "this is no HDF5 file");
}

#[test]
fn a_file_may_begin_behind_a_block_of_the_users() {
    let bytes = bytes("behind_a_block.h5");
    let file = Hdf5::open(&bytes).unwrap();
    assert_eq!(values(&file, &file.tree().unwrap(), "x").unwrap(), (vec![2, 2], floats(4)));
}

#[test]
fn weights_have_the_names_that_keras_gives_them() {
    let names = |file: &str| -> Vec<String> {
        let bytes = bytes(file);
        keras::weights(Hdf5::open(&bytes).unwrap().tree().unwrap()).unwrap().into_keys().collect()
    };
    let older = names("keras.h5");
    let wanted = ["head/bias", "head/kernel", "norm/beta", "norm/gamma", "norm/moving_mean"];
    assert_eq!(older[..5], wanted.map(|name| format!("net/{name}")));
    let newer = names("keras.weights.h5");
    assert_eq!(newer[..3], [0, 1, 2].map(|number| format!("layers/batch_normalization/vars/{number}")));
}

/// Reads all that a file promises, as far as it is not too much.
fn all(bytes: &[u8]) -> Outcome<usize> {
    fn visit(file: &Hdf5<'_>, tree: &Tree, read: &mut usize) -> Outcome<()> {
        for dataset in tree.datasets.values() {
            let size = dataset.element.dtype().and_then(|dtype| byte_count(dtype, &dataset.shape));
            if let Some(size) = size.filter(|&size| size < 1 << 16) {
                file.read(dataset, &mut vec![0; size])?;
                *read += size;
            }
        }
        tree.groups.values().try_for_each(|group| visit(file, group, read))
    }
    let file = Hdf5::open(bytes)?;
    let tree = file.tree()?;
    let mut read = 0;
    visit(&file, &tree, &mut read)?;
    let _ = keras::weights(tree);
    Ok(read)
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    // Each of them ends with values of a data set, so that no cut leaves all of them.
    for name in ["keras.h5", "behind_a_block.h5"] {
        let whole = bytes(name);
        assert!(all(&whole).unwrap() > 0);
        for length in (0..whole.len() / 2).step_by(37) {
            assert!(all(&whole[..length]).is_err(), "{name} cut to {length} bytes");
        }
        for length in (whole.len() / 2..whole.len()).step_by(37) {
            let _ = all(&whole[..length]);
        }
    }
}

#[test]
fn a_group_that_contains_itself_is_an_error() {
    // Every address of the file leads to the root in turn.
    let whole = bytes("keras.weights.h5");
    let root = Hdf5::open(&whole).unwrap().root;
    let mut circles = 0;
    for at in (0..whole.len() - 8).step_by(8) {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&root.to_le_bytes());
        let error = Hdf5::open(&bytes).and_then(|file| file.tree()).err().unwrap_or_default();
        circles += usize::from(error.contains("nested more than") || error.contains("in circles"));
    }
    assert!(circles > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn changed_bytes_never_panic(
        which in 0usize..4,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..4), 1..4),
    ) {
        let mut bytes = bytes(["old.h5", "new.h5", "keras.h5", "keras.weights.h5"][which]);
        for (place, value, kind) in changes {
            let at = place.index(bytes.len() - 8);
            match kind {
                0 => bytes[at] ^= 1 << (value % 8),
                1 => bytes[at] = value,
                // A huge number, and one that may be an address.
                2 => bytes[at..at + 8].fill(0xff),
                _ => {
                    let from = usize::from(value) * 8 % (bytes.len() - 8);
                    bytes.copy_within(from..from + 8, at);
                }
            }
        }
        let _ = all(&bytes);
    }
}
