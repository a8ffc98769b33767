//! What every executable begins with; `weft build` appends the rest. See [`weft_runtime::executable`].

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod whole;

fn main() -> std::process::ExitCode {
    weft_runtime::executable::main()
}
