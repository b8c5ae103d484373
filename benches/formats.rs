//! Benchmarks of reading and writing NIfTI files of the size of a large CT: 512×512×397 voxels.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use criterion::{Criterion, criterion_group, criterion_main};
use segbundle::formats::nifti::{self, Options};
use segbundle::image::{Affine, DType, Layout, Voxels};
use std::hint::black_box;
use std::time::Duration;

const SHAPE: [usize; 4] = [1, 512, 512, 397];

/// Creates a body-like ellipsoid in air with scanner noise (int16, Fortran order). Like a CT, it compresses to about
/// half its size.
fn phantom_ct() -> Vec<i16> {
    let [_, x, y, z] = SHAPE;
    let mut state = 1u64;
    let mut out = Vec::with_capacity(x * y * z);
    for zi in 0..z {
        for yi in 0..y {
            for xi in 0..x {
                let at = |i: usize, n: usize| (i as f32 / n as f32 - 0.5) * 2.0;
                let radius = (at(xi, x) / 0.8).powi(2) + (at(yi, y) / 0.6).powi(2) + (at(zi, z) / 1.2).powi(2);
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let noise = (state >> 59) as i16 - 16;
                out.push(if radius < 1.0 { 40 + 2 * noise } else { -1000 + noise });
            }
        }
    }
    out
}

fn formats(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut group = criterion.benchmark_group("nifti");
    group.sample_size(10).measurement_time(Duration::from_secs(8)).warm_up_time(Duration::from_secs(1));
    let affine = Affine::IDENTITY;

    let ct = Voxels::I16(phantom_ct().into());
    for name in ["ct.nii", "ct.nii.gz"] {
        let path = folder.path().join(name);
        nifti::write(&path, &ct, &Layout::fortran(SHAPE), &affine, DType::I16, Options::default()).expect("written");
        println!("{name}: {} MB", std::fs::metadata(&path).expect("metadata").len() / 1_000_000);
        group.bench_function(format!("read {name} int16"), |bencher| {
            bencher.iter(|| black_box(nifti::read(&path).expect("read")))
        });
    }
    // Optionally reads a real CT: SEGBUNDLE_BENCH_CT=path.
    if let Some(path) = std::env::var_os("SEGBUNDLE_BENCH_CT") {
        group.bench_function("read the given CT", |bencher| {
            bencher.iter(|| black_box(nifti::read(&path).expect("read")))
        });
    }

    // Labels in 32³ blocks; z varies fastest, as in the output of a network.
    let [_, x, y, z] = SHAPE;
    let labels: Vec<u8> =
        (0..x * y * z).map(|i| ((i / (y * z) / 32) * 7 + (i / z % y / 32) * 3 + (i % z / 32)) as u8 % 105).collect();
    let labels = Voxels::U8(labels.into());
    for (dtype, name) in [(DType::U8, "labels.nii.gz"), (DType::F32, "labels_f32.nii.gz"), (DType::U8, "labels.nii")] {
        let path = folder.path().join(name);
        group.bench_function(format!("write {name} {} from C order", dtype.name()), |bencher| {
            bencher.iter(|| {
                nifti::write(&path, &labels, &Layout::contiguous(SHAPE), &affine, dtype, Options::default())
                    .expect("written")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, formats);
criterion_main!(benches);
