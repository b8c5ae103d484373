//! Reads arbitrary bytes as a checkpoint of torch or safetensors: expects an error or tensors, without large
//! allocations.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segbundle::checkpoint::{self, safetensors};
use std::path::PathBuf;
use std::sync::LazyLock;

/// A file for this process, in memory if the system has a folder for that.
static PATH: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("segbundle-fuzz-{}.pt", std::process::id()))
});

fuzz_target!(|bytes: &[u8]| {
    // Zip archives begin with PK, the legacy format with the pickle of a magic number.
    if !bytes.starts_with(b"PK") && !bytes.starts_with(b"\x80\x02\x8a") {
        let _ = safetensors::from_bytes(bytes);
        return;
    }
    if std::fs::write(&*PATH, bytes).is_err() {
        return;
    }
    let opened = checkpoint::load(&*PATH);
    if let Ok(checkpoint) = &opened {
        let _ = checkpoint.state_dict(None);
        let _ = checkpoint.state();
    }
    drop(opened);
    let _ = std::fs::remove_file(&*PATH);
});
