//! Compiles cpp/ against the libtorch that torch-sys found, and tells dependants where that libtorch is.
use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let lib = PathBuf::from(env::var("DEP_TCH_LIBTORCH_LIB")?);
    let include = lib.parent().ok_or("libtorch's lib folder has no parent")?.join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .opt_level(3)
        .flag_if_supported("-fopenmp")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .file("cpp/allocator.cpp")
        .try_compile("segbundle_native")?;
    println!("cargo:rerun-if-changed=cpp");
    println!("cargo:libtorch={}", lib.display());
    for library in ["torch_cpu", "torch", "c10"] {
        println!("cargo:rustc-link-lib={library}");
    }
    Ok(())
}
