//! Where the binary looks for libtorch: first beside an installed binary, then where it was built.
use std::path::Path;

fn main() {
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/segbundle/torch/lib");
    if let Ok(lib) = std::env::var("DEP_SEGBUNDLE_NATIVE_LIBTORCH") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
        println!("cargo:rustc-env=LIBTORCH_VERSION={}", libtorch_version(&lib).unwrap_or_else(|| "unknown".into()));
    }
    println!("cargo:rerun-if-changed=src/build.rs");
}

/// `2.11.0`, from the headers beside `lib`.
fn libtorch_version(lib: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new(lib).parent()?.join("include/torch/headeronly/version.h")).ok()?;
    let part = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("#define TORCH_VERSION_")?.strip_prefix(name))?;
        line.trim().parse::<u32>().ok()
    };
    Some(format!("{}.{}.{}", part("MAJOR")?, part("MINOR")?, part("PATCH")?))
}
