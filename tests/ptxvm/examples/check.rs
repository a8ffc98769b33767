//! Names what of some PTX files is not modelled: `cargo run -p ptxvm --example check -- FILE…`.

use ptxvm::gpu::Gpu;
use ptxvm::module::LoadError;

fn main() {
    let mut refused = 0;
    for path in std::env::args().skip(1) {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("{path}: {error}");
                refused += 1;
                continue;
            }
        };
        match Gpu::default().load(&text) {
            Ok(module) => println!("{path}: {} kernels", module.kernels.len()),
            Err(LoadError::Ptx(error)) => {
                println!("{path}: {error}");
                refused += 1;
            }
            Err(LoadError::OutOfMemory) => {
                println!("{path}: its variables need more than the device has");
                refused += 1;
            }
        }
    }
    std::process::exit(i32::from(refused > 0));
}
