//! Benchmarks of metrics on a label map of 512×512×397 voxels with 104 labels, against the same map moved by two voxels
//! and with one voxel in 10,000 replaced by a random label.
//!

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use criterion::{Criterion, criterion_group, criterion_main};
use segbundle::component::{Args, BuildContext, FromValue, Value};
use segbundle::contracts::{Attached, Segmentation};
use segbundle::random::RandomState;
use segbundle::registry::table;
use segbundle::tools::phantom;
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
    let [prediction, target] = maps().map(|map| Segmentation::Labels { map, classes: CLASSES });
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
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
