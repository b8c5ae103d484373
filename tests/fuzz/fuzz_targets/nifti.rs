//! Reads arbitrary bytes as a NIfTI file, at once and slice by slice: expects an error or a volume whose buffer matches
//! its shape, without large allocations.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segbundle_formats::nifti;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let Ok(volume) = nifti::read_bytes(bytes, Path::new("fuzz.nii")) else { return };
    assert_eq!(volume.voxels.len(), volume.layout.shape.iter().product::<usize>());
    assert!(volume.affine.0.iter().flatten().all(|value| value.is_finite()));
    let path = std::env::temp_dir().join(format!("segbundle-fuzz-{}.nii", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let slices = nifti::SliceReader::open(&path, None).unwrap();
    assert_eq!(slices.is_some(), volume.channels() == 1);
    if let Some(mut slices) = slices {
        let [x, y, z] = slices.shape();
        assert_eq!(x * y * z, volume.voxels.len());
        let mut next = 0;
        while let Some((range, voxels)) = slices.advance().unwrap() {
            assert_eq!(voxels.dtype(), volume.voxels.dtype());
            next = range.end;
        }
        assert_eq!(next, z);
    }
    std::fs::remove_file(&path).unwrap();
});
