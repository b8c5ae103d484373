//! Any bytes as a NIfTI file: an error or a volume whose buffer holds its shape, and no large allocation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segbundle::formats::nifti;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(volume) = nifti::read_bytes(bytes, Path::new("fuzz.nii")) {
        assert_eq!(volume.voxels.len(), volume.layout.shape.iter().product::<usize>());
        assert!(volume.affine.0.iter().flatten().all(|value| value.is_finite()));
    }
});
