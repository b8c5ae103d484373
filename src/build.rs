//! Where the binary looks for libtorch: first beside an installed binary, then where it was built.
fn main() {
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/segbundle/torch/lib");
    if let Ok(lib) = std::env::var("DEP_SEGBUNDLE_NATIVE_LIBTORCH") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
    println!("cargo:rerun-if-changed=src/build.rs");
}
