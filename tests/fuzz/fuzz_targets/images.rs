//! Reads arbitrary bytes as a NRRD, MetaImage or DICOM file, including compressed DICOM pixel data: expects an error or
//! a volume whose buffer matches its shape, without large allocations.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segbundle_formats::{dicom, mha, nrrd};
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    if dicom::is_dicom(bytes) {
        let _ = dicom::check_bytes(bytes.to_vec());
        return;
    }
    let read = if bytes.starts_with(b"NRRD") { nrrd::read_bytes } else { mha::read_bytes };
    if let Ok(volume) = read(bytes, Path::new("fuzz")) {
        assert_eq!(volume.voxels.len(), volume.layout.shape.iter().product::<usize>());
        assert!(volume.affine.0.iter().flatten().all(|value| value.is_finite()));
        assert!(volume.to_f32_vec().is_ok());
    }
});
