//! The `segbundle` command; see [`segbundle::cli`].

fn main() -> std::process::ExitCode {
    segbundle::cli::main()
}
