//! CacheDataset gives what Dataset gives, reads once, and keeps labels small.

use crate::common::build;
use crate::transforms::case_context;
use segbundle::component::{Args, BuildContext, Dict, FromValue, Key, Value};
use segbundle::contracts::{CaseContext, Dataset, Loader, RngStates, RunContext, RunOptions, Sample, TransformContext};
use segbundle::data::batches::Batches;
use segbundle::data::pass::{LoaderPass, PassItem};
use segbundle::formats::digest::{self, FileDigests};
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
    dataset.prepare(&RunContext::new(options.unwrap_or_default()), None)?;
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
    // Too little memory for more than the first case: the others are read in every epoch.
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
fn a_cache_that_is_filled_on_access_stays_within_the_memory_limit() {
    let folder = tempfile::tempdir().unwrap();
    let args = [("data", data(folder.path())), ("transform", transforms()), ("runtime_cache", true.into())];
    let cached = dataset("CacheDataset", &args, None).unwrap();
    // Image and label of two cases at four bytes and one byte per voxel.
    let case = CaseContext { budget_bytes: (N * 5 * 2 + 100) as u64, ..case_context() };
    let mut rng = RngStates::default();
    cached.seed(0, &mut rng);
    let mut get =
        |index: usize| cached.get(index, &mut TransformContext { case: &case, writes: &mut vec![], rng: &mut rng });
    (0..4).for_each(|index| drop(get(index).unwrap()));
    for index in 0..4 {
        std::fs::remove_file(folder.path().join(format!("l{index}.nii.gz"))).unwrap();
    }
    assert_eq!([0, 1, 2, 3].map(|index| get(index).is_ok()), [true, true, false, false]);
}

/// Three cases, in a loader with this number of workers.
fn loader(folder: &Path, num_workers: usize) -> Arc<Loader> {
    let dataset = dataset("Dataset", &[("data", data(folder)), ("transform", transforms())], None).unwrap();
    let rng = Arc::default();
    let (batch_size, shuffle, drop_last, persistent) = (1, false, false, false);
    Arc::new(Loader { dataset, batch_size, shuffle, drop_last, sampler: None, num_workers, persistent, rng })
}

#[test]
fn a_transform_may_iterate_over_a_loader_of_the_same_run() {
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(folder.path(), 0);
    let make = |_: usize, _: &[usize], _: &mut RngStates| (loader.rng.try_lock().is_some(), 0);
    let (mut pass, _) =
        LoaderPass::begin(&loader, PassItem::Batch { epoch: 0 }, None, 1 << 30, Arc::new(make)).unwrap();
    assert_eq!(pass.take(), Some(true));
}

#[test]
fn a_pass_whose_worker_panics_ends_incomplete() {
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(folder.path(), 2);
    let make = |item: usize, _: &[usize], _: &mut RngStates| {
        assert!(item < 1, "item {item} is bad");
        (item, 0)
    };
    let (mut pass, workers) =
        LoaderPass::begin(&loader, PassItem::Batch { epoch: 0 }, None, 1 << 30, Arc::new(make)).unwrap();
    let workers: Vec<_> = workers.into_iter().map(|worker| std::thread::spawn(|| worker.run())).collect();
    let taken: Vec<usize> = std::iter::from_fn(|| pass.take()).collect();
    assert!(taken.len() <= 1 && !pass.is_complete());
    let panics = workers.into_iter().filter_map(|worker| worker.join().err()).count();
    assert!(panics > 0);
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

/// Loaders without workers, as in MONAI: one random state per transform, whichever loader draws from it.
///
/// ```python
/// t = Compose([RandScaleIntensityd(keys='image', factors=0.5, prob=1.0)])
/// data = [{'image': torch.ones(1, 1, 1, 1)} for _ in range(3)]
/// a, b = DataLoader(Dataset(data, t)), DataLoader(Dataset(data, t))
/// t.set_random_state(7); a, b = iter(a), iter(b)
/// print([float(next(i)['image']) for i in (a, a, b, a, b)])
/// ```
#[test]
fn loaders_that_share_a_compose_share_its_random_state() {
    let expected = [1.0019673109054565, 0.848545253276825, 0.5330007672309875, 1.4759567975997925, 1.0966386795043945];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ones.nii.gz");
    write(&path, vec![1.0; N]);
    let keys = || ("keys", Value::from("image"));
    let steps = [
        build("LoadImaged", &[keys()]),
        build("EnsureChannelFirstd", &[keys()]),
        build("RandScaleIntensityd", &[keys(), ("factors", 0.5.into()), ("prob", 1.0.into())]),
    ];
    let compose = build("Compose", &[("transforms", Value::list(steps.map(Result::unwrap)))]).unwrap();
    let run = Arc::new(RunContext::default());
    let make = |name: &str, args: &[(&str, Value)]| {
        let args = Args::named(args.iter().map(|(key, value)| ((*key).into(), value.clone())));
        let mut context = BuildContext::in_run(Some(run.clone()), None);
        (segbundle::registry::table().component(name).unwrap().build)(args, &mut context).unwrap()
    };
    let data = Value::list((0..3).map(|_| dict(&[("image", path.display().to_string().into())])));
    let [a, b] = [(); 2].map(|()| {
        let dataset = make("Dataset", &[("data", data.clone()), ("transform", compose.clone())]);
        Arc::<Loader>::from_value(&make("DataLoader", &[("dataset", dataset)])).unwrap()
    });
    a.dataset.seed(7, &mut run.rng.lock());
    let [mut a, mut b] = [a, b].map(|loader| Batches::begin(&loader, 0, None, &case_context()).unwrap());
    let mut next = |first: bool| {
        let batch = if first { a.next_batch() } else { b.next_batch() };
        f64::from(batch.unwrap().unwrap().samples[0].image("image").unwrap().to_f32_vec().unwrap()[0])
    };
    let values = [true, true, false, true, false].map(&mut next);
    // float32 of MONAI and here: one rounding apart at most.
    assert!(values.iter().zip(expected).all(|(value, monai)| (value - monai).abs() < 1e-6), "{values:?}");
}

#[test]
fn a_file_that_is_replaced_after_the_cache_was_filled_keeps_the_hash_of_the_cached_content() {
    let folder = tempfile::tempdir().unwrap();
    let component = segbundle::registry::table().component("CacheDataset").unwrap();
    let args = Args::named([("data".into(), data(folder.path())), ("transform".into(), transforms())]);
    let dataset: Arc<dyn Dataset> =
        Arc::from_value(&(component.build)(args, &mut BuildContext::default()).unwrap()).unwrap();
    let path = folder.path().join("i2.nii.gz");
    let before = digest::of_file(&path).unwrap();
    let digests = FileDigests::default();
    dataset.prepare(&RunContext::new(RunOptions::default()), Some(&digests)).unwrap();
    write(&path, vec![0.0; N]);
    assert_ne!(digest::of_file(&path).unwrap(), before);
    assert_eq!(digests.get_or_read(&path, || Ok(())).unwrap(), before);
}
