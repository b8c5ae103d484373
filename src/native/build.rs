//! Compiles cpp/ against the libtorch found by torch-sys, and passes the path of that libtorch to dependent crates.
//!
//! The inner loops are compiled once per instruction set and selected at run time, so that the program still runs on
//! baseline x86-64. Without OpenMP the kernels are single-threaded.
use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=cpp");
    let lib = PathBuf::from(env::var("DEP_TCH_LIBTORCH_LIB")?);
    let include = lib.parent().ok_or("libtorch's lib folder has no parent")?.join("include");
    let x86 = env::var("CARGO_CFG_TARGET_ARCH")? == "x86_64";
    let base = || {
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").warnings(false).opt_level(3);
        build
    };

    let avx512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mprefer-vector-width=512"];
    let variants: &[(&str, &[&str])] = &[("base", &[]), ("avx2", &[]), ("avx512", &avx512)];
    for (name, flags) in variants.iter().filter(|(name, _)| x86 || *name == "base") {
        let mut build = base();
        build
            .define("SB_LOOPS", format!("sb_loops_{name}").as_str())
            .define("SB_WINOGRAD", format!("sb_winograd_{name}").as_str());
        build.flag_if_supported("-ffp-contract=fast");
        if *name != "base" {
            build.flag("-mavx2").flag("-mfma");
        }
        for flag in *flags {
            build.flag_if_supported(flag);
        }
        build.files(["cpp/loops.cpp", "cpp/winograd.cpp"]).try_compile(&format!("segbundle_loops_{name}"))?;
    }

    let mut build = base();
    // libtorch uses GNU OpenMP; another runtime would create a second thread pool.
    let gnu = build.get_compiler().is_like_gnu();
    if gnu {
        build.flag_if_supported("-fopenmp");
    }
    build
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .include("cpp/declarations")
        .files([
            "cpp/allocator.cpp",
            "cpp/convolution.cpp",
            "cpp/distributed.cpp",
            "cpp/generator.cpp",
            "cpp/guards.cpp",
            "cpp/kernels.cpp",
            "cpp/label_sums.cpp",
            "cpp/optimizers.cpp",
            "cpp/trace.cpp",
            "cpp/training.cpp",
        ])
        .try_compile("segbundle_native")?;

    println!("cargo:libtorch={}", lib.display());
    println!("cargo:rustc-link-search=native={}", lib.display());
    for library in ["torch_cpu", "torch", "c10"] {
        println!("cargo:rustc-link-lib={library}");
    }
    if gnu {
        // libtorch's copy of libgomp, whose name contains a hash in some releases.
        let own = fs::read_dir(&lib)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .find(|name| name.starts_with("libgomp") && name.contains(".so"));
        match own {
            Some(name) => println!("cargo:rustc-link-lib=dylib:+verbatim={name}"),
            None => println!("cargo:rustc-link-lib=gomp"),
        }
    }
    Ok(())
}
