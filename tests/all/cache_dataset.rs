//! CacheDataset gives what Dataset gives, reads once, and keeps labels small.

use crate::common::build;
use crate::transforms::case_context;
use segbundle::component::{Args, BuildContext, Dict, FromValue, Key, Value};
use segbundle::contracts::{Dataset, RngStates, RunContext, RunOptions, Sample, TransformContext};
use segbundle::formats::nifti;
use segbundle::image::{Affine, DType, Layout, Voxels};
use std::path::Path;
use std::sync::Arc;

const N: usize = 12 * 11 * 10;

fn write(path: &Path, values: Vec<f32>) {
    let layout = Layout::contiguous([1, 12, 11, 10]);
    nifti::write(path, &Voxels::F32(values.into()), &layout, &Affine::IDENTITY, DType::F32, nifti::Options::default())
        .unwrap();
}

fn dict(items: &[(&str, Value)]) -> Value {
    Value::Dict(Dict::new(items.iter().map(|(key, value)| (Key::str(key), value.clone()))))
}

/// Four cases of an image and a label whose file holds float32.
fn data(folder: &Path) -> Value {
    Value::list((0..4).map(|case| {
        let (image, label) = (folder.join(format!("i{case}.nii.gz")), folder.join(format!("l{case}.nii.gz")));
        write(&image, (0..N).map(|i| (i * 7919 % 2003) as f32 / 7.0 - case as f32).collect());
        write(&label, (0..N).map(|i| ((i + case) % 105) as f32).collect());
        dict(&[("image", image.display().to_string().into()), ("label", label.display().to_string().into())])
    }))
}

fn transforms() -> Value {
    let both = || ("keys", Value::list(["image".into(), "label".into()]));
    let image = || ("keys", Value::from("image"));
    let steps = [
        build("LoadImaged", &[both()]),
        build("EnsureChannelFirstd", &[both()]),
        build("ScaleIntensityd", &[image()]),
        build("RandSpatialCropd", &[both(), ("roi_size", 6.into())]),
        build("RandFlipd", &[both(), ("prob", 0.5.into())]),
        build("RandGaussianNoised", &[image(), ("prob", 0.5.into())]),
    ];
    build("Compose", &[("transforms", Value::list(steps.map(Result::unwrap)))]).unwrap()
}

/// A dataset that is ready for a pass.
fn dataset(
    name: &str,
    args: &[(&str, Value)],
    options: Option<RunOptions>,
) -> Result<Arc<dyn Dataset>, segbundle::error::Error> {
    let component = segbundle::registry::table().component(name).unwrap();
    let args = Args::named(args.iter().map(|(key, value)| ((*key).into(), value.clone())));
    let dataset: Arc<dyn Dataset> = Arc::from_value(&(component.build)(args, &mut BuildContext::default())?).unwrap();
    dataset.prepare(&RunContext::new(options.unwrap_or_default()))?;
    Ok(dataset)
}

/// Two rounds over all cases, with the random states seeded once.
fn all(dataset: &dyn Dataset) -> Vec<Vec<f32>> {
    let mut rng = RngStates::default();
    dataset.seed(17, &mut rng);
    let mut get = |case: usize| -> Vec<Sample> {
        dataset.get(case, &mut TransformContext { case: &case_context(), writes: &mut vec![], rng: &mut rng }).unwrap()
    };
    let mut out = vec![];
    for case in [0, 1, 2, 3, 3, 1, 2, 0] {
        for sample in get(case) {
            out.push(sample.image("image").unwrap().to_f32_vec().unwrap());
            out.push(sample.image("label").unwrap().to_f32_vec().unwrap());
        }
    }
    out
}

#[test]
fn the_cache_changes_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let base = [("data", data.clone()), ("transform", transforms())];
    let expected = all(&*dataset("Dataset", &base, None).unwrap());
    assert!(expected.iter().any(|values| values != &expected[0]));
    let with = |more: &[(&'static str, Value)]| [&base[..], more].concat();
    for more in [
        vec![],
        vec![("cache_rate", 0.5.into()), ("num_workers", 3.into())],
        vec![("cache_num", 1.into()), ("as_contiguous", false.into())],
        vec![("runtime_cache", true.into())],
        vec![("cache_rate", 0.0.into())],
    ] {
        assert_eq!(all(&*dataset("CacheDataset", &with(&more), None).unwrap()), expected, "{more:?}");
    }
    // Too little memory for more than the first case: the others are read each time.
    let small = RunOptions { memory_bytes: (N * 5 + 100) as u64, ..RunOptions::default() };
    assert_eq!(all(&*dataset("CacheDataset", &base, Some(small)).unwrap()), expected);
}

#[test]
fn cached_cases_need_no_file_and_labels_one_byte() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let cached =
        dataset("CacheDataset", &[("data", data), ("transform", transforms()), ("cache_rate", 0.8.into())], None)
            .unwrap();
    for case in 0..4 {
        std::fs::remove_file(folder.path().join(format!("l{case}.nii.gz"))).unwrap();
    }
    let mut rng = RngStates::default();
    cached.seed(0, &mut rng);
    let mut get = |case: usize| {
        cached.get(case, &mut TransformContext { case: &case_context(), writes: &mut vec![], rng: &mut rng })
    };
    for case in 0..3 {
        let samples = get(case).unwrap();
        assert_eq!(samples[0].image("label").unwrap().voxels.dtype(), DType::U8);
        assert_eq!(samples[0].image("image").unwrap().voxels.dtype(), DType::F32);
    }
    let error = get(3).err().unwrap().to_string();
    assert!(error.contains("l3.nii.gz"), "{error}");
}

#[test]
fn bad_cases_and_arguments_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    std::fs::write(folder.path().join("i2.nii.gz"), b"no image").unwrap();
    let fails = |more: &[(&'static str, Value)], expected: &str| {
        let args = [&[("data", data.clone()), ("transform", transforms())][..], more].concat();
        let error = dataset("CacheDataset", &args, None).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    };
    fails(&[("num_workers", 2.into())], "i2.nii.gz");
    fails(&[("hash_as_key", true.into())], "hash_as_key");
    fails(&[("runtime_cache", "process".into())], "runtime_cache");
    fails(&[("cache_rate", (-1.0).into())], "cache_rate");
}
