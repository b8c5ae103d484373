//! Benchmarks of metrics on a label map of 512×512×397 voxels with 104 labels, against the same map moved by two voxels
//! and with one voxel in 10,000 replaced by a random label; and of transforms of the latter.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use segbundle::component::{Args, BuildContext, FromValue, Value};
use segbundle::contracts::{
    Attached, CaseContext, Item, Sample, Segmentation, Transform, TransformContext, apply_to_predictions,
};
use segbundle::image::{Affine, Layout, Volume, Voxels};
use segbundle::prediction::{LabelVolume, Prediction};
use segbundle::random::RandomState;
use segbundle::registry::table;
use segbundle::tools::phantom;
use std::sync::Arc;
use std::time::Duration;
use tch::Tensor;

const SHAPE: [usize; 3] = [512, 512, 397];
const CLASSES: usize = 105;

/// Prediction and label `[X, Y, Z]`.
fn maps() -> [Tensor; 2] {
    let options = phantom::Options { size: SHAPE, spacing_mm: 1.5, ..Default::default() };
    let case = phantom::case(0, &options).unwrap();
    let shape = [2, 1, 0].map(|axis| case.grid.shape[axis] as i64);
    let target = Tensor::from_slice(&case.labels).reshape(shape).permute([2, 1, 0]).contiguous();
    drop(case);
    // The size of a phantom depends on its body.
    let target = (0..3).fold(target, |map, axis| {
        let step = map.size()[axis] as f64 / SHAPE[axis] as f64;
        let at: Vec<i64> = (0..SHAPE[axis]).map(|n| (n as f64 * step) as i64).collect();
        map.index_select(axis as i64, &Tensor::from_slice(&at))
    });
    let prediction = target.roll([2], [0]).reshape([-1]);
    let mut random = RandomState::new(0);
    let count = prediction.numel() as u32;
    let at: Vec<i64> = (0..count / 10_000).map(|_| i64::from(random.next_u32() % count)).collect();
    let labels: Vec<u8> = at.iter().map(|_| (random.next_u32() % CLASSES as u32) as u8).collect();
    let prediction = prediction.index_put(&[Some(Tensor::from_slice(&at))], &Tensor::from_slice(&labels), false);
    [prediction.view_as(&target), target]
}

fn benches(c: &mut Criterion) {
    let maps = maps();
    let map = Vec::<u8>::try_from(maps[0].reshape([-1])).unwrap();
    let [prediction, target] = maps.map(|map| Segmentation::Labels { map, classes: CLASSES, unassigned: false });
    let mut group = c.benchmark_group("labels_512x512x397");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    let thresholds = || ("class_thresholds", Value::list(vec![Value::from(1.0); CLASSES - 1]));
    for (id, name, args) in [
        ("dice", "DiceMetric", vec![]),
        ("hausdorff_95", "HausdorffDistanceMetric", vec![("percentile", 95.into())]),
        ("surface_distance", "SurfaceDistanceMetric", vec![("symmetric", true.into())]),
        ("surface_dice", "SurfaceDiceMetric", vec![thresholds()]),
        ("surface_dice_subvoxels", "SurfaceDiceMetric", vec![thresholds(), ("use_subvoxels", true.into())]),
    ] {
        let args = Args::named(args.into_iter().map(|(key, value): (&str, Value)| (key.into(), value)));
        let metric = (table().component(name).unwrap().build)(args, &mut BuildContext::default()).unwrap();
        let metric = Attached::from_value(&metric).unwrap().metric;
        group.bench_function(id, |b| b.iter(|| metric.lock().update(&prediction, &target).unwrap()));
    }
    drop((prediction, target));
    for (id, steps) in [
        ("largest_components", vec![("KeepLargestConnectedComponentd", vec![])]),
        // The chain of configs/inference.json.
        (
            "small_components",
            vec![
                ("AsDiscreted", vec![("to_onehot", Value::Int(CLASSES as i64))]),
                ("RemoveSmallObjectsd", vec![("min_size", 200.into()), ("by_measure", true.into())]),
                ("AsDiscreted", vec![("argmax", true.into())]),
            ],
        ),
        ("holes", vec![("FillHolesd", vec![])]),
    ] {
        let transforms: Vec<Arc<dyn Transform>> = steps.into_iter().map(|(name, args)| transform(name, args)).collect();
        group.bench_function(id, |b| {
            b.iter_batched(
                || vec![labels(&map)],
                |samples| {
                    let case = CaseContext::quiet();
                    let mut cx = TransformContext { case: &case, writes: &mut vec![], rng: &mut Default::default() };
                    apply_to_predictions(&transforms, samples, &mut cx).unwrap()
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn transform(name: &str, args: Vec<(&str, Value)>) -> Arc<dyn Transform> {
    let args = [vec![("keys", "pred".into())], args].concat();
    let args = Args::named(args.into_iter().map(|(key, value): (&str, Value)| (key.into(), value)));
    Arc::from_value(&(table().component(name).unwrap().build)(args, &mut BuildContext::default()).unwrap()).unwrap()
}

/// A prediction after argmax.
fn labels(map: &[u8]) -> Sample {
    let [x, y, z] = SHAPE;
    let volume = Volume::new("ct.nii.gz", Voxels::U8(map.into()), Layout::contiguous([1, x, y, z]), Affine::IDENTITY);
    let mut sample = Sample::default();
    let prediction = Prediction::from_label_volume(LabelVolume { volume, onehot: None }).unwrap();
    sample.set("pred", Item::Prediction(prediction));
    sample
}

criterion_group!(all, benches);
criterion_main!(all);
