//! Any bytes as a file of weights, torch's or safetensors: an error or tensors, and no large allocation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segbundle::checkpoint::{self, safetensors};
use std::path::PathBuf;
use std::sync::LazyLock;

/// A file of this process's own, in memory where the system has such a place.
static PATH: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("segbundle-fuzz-{}.pt", std::process::id()))
});

fuzz_target!(|bytes: &[u8]| {
    // Archives begin with PK, the older format with the pickle of a magic number.
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
