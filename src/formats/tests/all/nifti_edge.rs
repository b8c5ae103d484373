//! 167 NIfTI files of other projects, good, odd and broken, against what nibabel says of each (`index.json` beside them).
//! The files are not part of the project; `nifti_files.rs` makes such files itself.

use segbundle_formats::nifti;
use segbundle_image::{Layout, Volume, Voxels};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Where we differ from nibabel on purpose: file, why.
const DELIBERATE: &[(&str, &str)] = &[
    ("bad/gz_crc.nii.gz", "a wrong checksum is an error, also in a small file"),
    ("bad/ext_esize_zero.nii", "header extensions are not read, so a broken one does no harm"),
    ("bad/s_nan.nii.gz", "an affine with NaN is an error"),
    ("bad/s_inf_translation.nii.gz", "an infinite translation is an error"),
    ("bad/s_singular.nii.gz", "a singular affine is an error"),
    ("bad/s_allzero.nii.gz", "MONAI takes the qform where the sform disagrees with pixdim"),
    ("bad/dim0_0.nii", "an image without voxels is an error"),
    ("odd/n2_sform_nan.nii.gz", "an affine with NaN is an error"),
    ("odd/vox_offset_0.nii", "offset 0 in a single file means after the header"),
    ("odd/not_gz.nii.gz", "gzip is recognized by content"),
    ("odd/dt_complex64.nii.gz", "complex numbers are refused"),
    ("odd/dt_rgb24.nii.gz", "colors are refused"),
    ("odd/dt_rgba32.nii.gz", "colors are refused"),
    ("nifti-rs/complex/complex32.nii", "complex numbers are refused"),
    ("nifti-rs/complex/complex64.nii", "complex numbers are refused"),
    ("nifti-rs/rgb/3D.nii", "colors are refused"),
    ("nifti-rs/rgb/4D.nii", "colors are refused"),
    ("nifti-rs/rgba/4D.nii", "colors are refused"),
    ("totalsegmentator/spine_report_rgb.nii.gz", "colors are refused"),
    ("nibabel/row_major.dconn.nii", "a CIFTI matrix is no image: two axes beyond the third"),
];

#[test]
#[ignore = "needs a folder of files that are not part of the project: SEGBUNDLE_NIFTI_EDGE=folder"]
fn nifti_edge_cases_agree_with_nibabel() {
    let folder = std::env::var_os("SEGBUNDLE_NIFTI_EDGE").expect("SEGBUNDLE_NIFTI_EDGE names the folder of index.json");
    let folder = Path::new(&folder);
    let index: Vec<Value> = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    let (mut agree, mut refused, mut companions, mut deliberate, mut wrong) = (0, 0, 0, vec![], vec![]);
    for entry in &index {
        let path = entry["path"].as_str().unwrap();
        if entry.get("companion_of").is_some() {
            companions += 1;
            continue;
        }
        let ours = nifti::read(folder.join(path));
        let nibabel = &entry["nibabel"];
        let nibabel_reads = nibabel.get("error").is_none();
        let difference = match (&ours, nibabel_reads) {
            (Err(_), false) => {
                refused += 1;
                continue;
            }
            (Err(error), true) => Some(format!("we refuse: {}", error.message())),
            (Ok(_), false) => Some(format!("we read it, nibabel says {}", nibabel["error"])),
            (Ok(volume), true) => compare(volume, nibabel),
        };
        match (difference, DELIBERATE.iter().find(|(file, _)| path.ends_with(file))) {
            (None, None) => agree += 1,
            (None, Some(_)) => wrong.push(format!("{path}: listed as different, but agrees")),
            (Some(difference), Some((_, why))) => deliberate.push(format!("{path}: {why} ({difference})")),
            (Some(difference), None) => wrong.push(format!("{path}: {difference}")),
        }
    }
    println!("{} files: {agree} read alike, {refused} refused by both, {companions} halves of pairs", index.len());
    println!("{} deliberately different:\n  {}", deliberate.len(), deliberate.join("\n  "));
    assert!(wrong.is_empty(), "{} different:\n  {}", wrong.len(), wrong.join("\n  "));
    assert_eq!(deliberate.len(), DELIBERATE.len());
}

/// What differs, if anything: shape, affine, voxels.
fn compare(volume: &Volume, nibabel: &Value) -> Option<String> {
    let stored: Vec<usize> = nibabel["shape"].as_array()?.iter().map(|n| n.as_u64().unwrap() as usize).collect();
    let axis = |i: usize| stored.get(i).copied().unwrap_or(1);
    let channels: usize = stored.iter().skip(3).product();
    let shape = [channels, axis(0), axis(1), axis(2)];
    if volume.layout != Layout::fortran(shape) || volume.header.spatial_dims != stored.len().min(3) {
        return Some(format!("shape {:?}, nibabel {stored:?}", volume.layout));
    }
    for (row, expected) in volume.affine.0.iter().zip(nibabel["affine"].as_array()?) {
        for (value, expected) in row.iter().zip(expected.as_array()?) {
            let expected = expected.as_f64().unwrap_or(f64::NAN);
            // nibabel computes quaternions in 80 bits; 1e-12 relative, and noise around 0.
            if (value - expected).abs() > 1e-12 * expected.abs().max(1.0) {
                return Some(format!("affine {:?}, nibabel {}", volume.affine, nibabel["affine"]));
            }
        }
    }
    let values = as_f64(&volume.voxels);
    let scaled = nibabel["slope_inter_used"] != serde_json::json!([1.0, 0.0]);
    if !scaled {
        let mut hash = Sha256::new();
        values.iter().for_each(|value| hash.update(value.to_le_bytes()));
        let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        return (nibabel["sha256_f64_F"].as_str() != Some(&hash)).then(|| "voxels differ".to_owned());
    }
    // Ours are rounded to f32, as MONAI's are.
    let (min, max) = values.iter().fold((f64::MAX, f64::MIN), |(min, max), value| (min.min(*value), max.max(*value)));
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let f = |key: &str| nibabel[key].as_f64().unwrap();
    let alike =
        min as f32 == f("min") as f32 && max as f32 == f("max") as f32 && (mean - f("mean")).abs() <= 1e-6 * mean.abs();
    (!alike).then(|| format!("min {min} max {max} mean {mean}, nibabel {} {} {}", f("min"), f("max"), f("mean")))
}

fn as_f64(voxels: &Voxels) -> Vec<f64> {
    macro_rules! widen {
        ($($variant:ident),*) => {
            match voxels { $(Voxels::$variant(slice) => slice.iter().map(|value| *value as f64).collect()),* }
        };
    }
    widen!(U8, I8, U16, I16, U32, I32, U64, I64, F32, F64)
}
