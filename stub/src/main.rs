//! What every executable begins with; `weft build` appends the rest. See [`weft_runtime::executable`].

fn main() -> std::process::ExitCode {
    weft_runtime::executable::main()
}
