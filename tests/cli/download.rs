//! Named data sets that are not there: what is said offline, and of a mirror that has nothing.

use crate::harness::{command, folder, text, weft, write};
use std::path::Path;

/// A spec whose data lie in the usual folder, which is not there.
fn spec(folder: &Path, source: &str) -> String {
    let text = format!(
        "model Net(x: f32[n, 28, 28, 1]) -> f32[n, 10] {{ x |> flatten |> dense(10) }}
         data clothes = {source} {{ image = f32(image) / 255 }}
         train {{
             on clothes as {{ image, label }}
             minimize cross_entropy(Net(image), label) using sgd(0.1)
         }}"
    );
    write(folder, "net.weft", text)
}

#[test]
fn offline_says_which_files_to_put_where() {
    let folder = folder("download_offline");
    let says = [
        "data set `clothes`",
        "nothing is fetched offline",
        "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz",
        "data/fashion_mnist",
        "--data clothes=DIR",
    ];
    weft(&["train", &spec(&folder, "fashion_mnist()"), "--offline"]).fails(1, &says);
    // A folder of the user's own is no business of the mirrors.
    let own = spec(&folder, "fashion_mnist(\"mine\")");
    weft(&["train", &own]).fails(1, &["mine does not exist; it must hold"]);
    weft(&["train", &own, "--data", "clothes=other"]).fails(1, &["other does not exist"]);
}

#[test]
fn a_mirror_that_is_not_there_is_named() {
    let folder = folder("download_mirror");
    let cache = folder.join("cache");
    // Nobody listens there: the port was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let mirror = format!("http://{free}/sets");
    let run = |cache: &Path| {
        let mut command =
            command(&["train", &spec(&folder, "fashion_mnist()"), "--out", text(&folder.join("out"))]);
        command.env_remove("WEFT_OFFLINE").env("WEFT_MIRROR", &mirror).env("WEFT_CACHE", cache);
        let output = command.output().expect("weft starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&cache);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(&format!("{mirror}/fashion_mnist/train-images-idx3-ubyte.gz: ")), "{said}");
    assert!(said.contains("--data clothes=DIR"), "{said}");
    assert!(!folder.join("out").exists(), "nothing was begun");
    // A cache that cannot be written is the machine's fault, and said so.
    let taken = write(&folder, "taken", "a file");
    let (code, said) = run(Path::new(&taken));
    assert!(code == Some(3) && said.contains("cannot write"), "{said}");
}
