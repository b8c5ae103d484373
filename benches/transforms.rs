//! Benchmarks of preprocessing and inversion of a CT of 512×512×397 voxels, 0.84×0.84×1.5 mm, int16.
//!
//! Run with `cargo bench --bench transforms`. Memory: 208 MB of voxels, up to 330 MB of channels, up to 420 MB of results.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use segbundle::component::{Args, BuildContext, FromValue, Value};
use segbundle::contracts::{CaseContext, Item, Sample, Transform, TransformContext, apply_all};
use segbundle::formats::nifti;
use segbundle::image::{Affine, DType, Inverse, Layout, Volume, Voxels};
use segbundle::registry::table;
use std::sync::Arc;
use std::time::Duration;

fn build(name: &str, args: &[(&str, Value)]) -> Arc<dyn Transform> {
    let args = Args::named(args.iter().map(|(key, value)| ((*key).into(), value.clone())));
    let value = (table().component(name).unwrap().build)(args, &mut BuildContext::default()).unwrap();
    Arc::from_value(&value).unwrap()
}

fn apply(transform: &dyn Transform, sample: Sample) -> Sample {
    let case = CaseContext::quiet();
    transform
        .apply(sample, &mut TransformContext { case: &case, writes: &mut vec![], rng: &mut Default::default() })
        .unwrap()
        .remove(0)
}

fn sample(volume: Volume) -> Sample {
    let mut sample = Sample::default();
    sample.set("image", Item::Image(volume));
    sample
}

/// Creates a textured ball in air, rotated about z by `angle` degrees.
fn ct(angle: f64) -> Volume {
    let shape = [1, 512, 512, 397];
    let layout = Layout::fortran(shape);
    let voxels: Vec<i16> = (0..layout.shape.iter().product::<usize>())
        .map(|i| {
            let (x, y, z) = (i % 512, i / 512 % 512, i / (512 * 512));
            let ball = (x as i32 - 256).pow(2) + (y as i32 - 256).pow(2) + (z as i32 - 198).pow(2) < 190 * 190;
            if ball { ((i * 2_654_435_761) >> 7 & 127) as i16 - 20 } else { -1000 }
        })
        .collect();
    let (sin, cos) = angle.to_radians().sin_cos();
    let (a, b) = (0.84f32 as f64, 1.5);
    let affine = Affine([
        [-a * cos, -a * sin, 0.0, 200.0],
        [-a * sin, a * cos, 0.0, -200.0],
        [0.0, 0.0, b, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    Volume::new("ct.nii.gz", Voxels::I16(voxels.into()), layout, affine)
}

/// Channels `[C,X,Y,Z]` of noise, one of which is the largest in each block of 8³ voxels.
fn blocks([nx, ny, nz]: [usize; 3], channels: usize) -> Vec<f32> {
    let value = |i: usize| {
        let (channel, x, y, z) = (i / (nx * ny * nz), i / (ny * nz) % nx, i / nz % ny, i % nz);
        let largest = (x / 8 + 3 * (y / 8) + 5 * (z / 8)) % channels;
        let noise = ((i * 2_654_435_761) >> 7 & 127) as f32 / 128.0;
        if channel == largest { 4.0 + noise } else { noise - 4.0 }
    };
    (0..channels * nx * ny * nz).map(value).collect()
}

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("ct_512x512x397");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    let orient = build("Orientationd", &[("keys", "image".into()), ("axcodes", "RAS".into())]);
    let normalize = build("NormalizeIntensityd", &[("keys", "image".into()), ("nonzero", true.into())]);
    let scale = build("ScaleIntensityd", &[("keys", "image".into()), ("minv", (-1.0).into()), ("maxv", 1.0.into())]);
    for (kind, angle) in [("parallel", 0.0), ("rotated", 10.0)] {
        let oriented = apply(&*orient, sample(ct(angle)));
        let oriented = oriented.image("image").unwrap();
        for mm in [1.5, 3.0, 6.0] {
            let spacing = build("Spacingd", &[("keys", "image".into()), ("pixdim", mm.into())]);
            group.bench_function(format!("{kind}/spacing_{mm}mm"), |b| {
                b.iter(|| apply(&*spacing, sample(oriented.clone())))
            });
            let resampled = apply(&*spacing, sample(oriented.clone()));
            let volume = resampled.image("image").unwrap();
            let inverse = Inverse::new(&volume.trace).unwrap();
            let labels: Vec<u8> =
                (0..volume.layout.shape.iter().product::<usize>()).map(|i| (i / 97 % 105) as u8).collect();
            group.bench_function(format!("{kind}/inverse_nearest_{mm}mm"), |b| b.iter(|| inverse.nearest(&labels, 0)));
            if mm > 1.5 && angle == 0.0 {
                let values = blocks([volume.layout.shape[1], volume.layout.shape[2], volume.layout.shape[3]], 20);
                group.bench_function(format!("inverse_linear_argmax_{mm}mm_20_channels"), |b| {
                    b.iter(|| inverse.linear_argmax(&values, || Ok(())).unwrap())
                });
            }
            if mm == 1.5 && angle == 0.0 {
                // A uniquely owned buffer, as in a run.
                let fresh = || sample(volume.clone().map_f32(|_, _| {}).unwrap());
                group.bench_function("normalize_and_scale", |b| {
                    b.iter_batched(fresh, |sample| apply(&*scale, apply(&*normalize, sample)), BatchSize::PerIteration)
                });
            }
        }
    }
    group.finish();
}

/// Resamples a compressed file to 3 mm: while it is read, as in a run, and after it has been read.
fn from_file(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ct.nii.gz");
    let image = ct(0.0);
    nifti::write(&path, &image.voxels, &image.layout, &image.affine, DType::I16, nifti::Options::default()).unwrap();
    drop(image);
    let steps = [
        build("LoadImaged", &[("keys", "image".into())]),
        build("EnsureChannelFirstd", &[("keys", "image".into())]),
        build("Orientationd", &[("keys", "image".into()), ("axcodes", "RAS".into())]),
        build("Spacingd", &[("keys", "image".into()), ("pixdim", 3.0.into())]),
    ];
    let name = || {
        let mut sample = Sample::default();
        sample.set("image", Item::Value(path.to_str().unwrap().into()));
        sample
    };
    let mut group = c.benchmark_group("file_512x512x397_to_3mm");
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    group.bench_function("while_it_is_read", |b| {
        let case = CaseContext::quiet();
        b.iter(|| {
            apply_all(
                &steps,
                vec![name()],
                &mut TransformContext { case: &case, writes: &mut vec![], rng: &mut Default::default() },
            )
            .unwrap()
        })
    });
    group.bench_function("read_first", |b| b.iter(|| steps.iter().fold(name(), |sample, step| apply(&**step, sample))));
    group.finish();
}

criterion_group!(all, benches, from_file);
criterion_main!(all);
