//! Benchmarks of one 96³ window with the SegResNet of the whole-body bundle and the UNet of the spleen bundle (random
//! weights), and of the operations around it.
//!
//! Run with `cargo bench --bench network`. Absolute times vary between machines and with their load: measure MONAI
//! directly before or after.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use criterion::{Criterion, criterion_group, criterion_main};
use segbundle::component::{Args, Declared};
use segbundle::contracts::{Mode, Network, parameters};
use segbundle::networks::{SegResNet, SegResNetArgs, UNet, UNetArgs};
use segbundle_native::training::{NormRelu, residual_block};
use segbundle_native::{self as native, Conv3, GroupNorm, LabelsMut};
use std::hint::black_box;
use std::time::Duration;
use tch::{Device, Kind, Tensor};

const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

fn network() -> SegResNet {
    let args = [("init_filters", 32.into()), ("out_channels", 105.into()), ("dropout_prob", 0.2.into())];
    let args = Args::named(args.map(|(name, value): (&str, segbundle::component::Value)| (name.into(), value)));
    SegResNet::new(SegResNetArgs::parse("SegResNet", args).unwrap()).unwrap()
}

/// The UNet of the spleen bundle: five levels of residual units with batch norm, 4.8 million parameters.
fn unet() -> UNet {
    let args: [(&str, segbundle::component::Value); 7] = [
        ("spatial_dims", 3.into()),
        ("in_channels", 1.into()),
        ("out_channels", 2.into()),
        ("channels", [16, 32, 64, 128, 256].into()),
        ("strides", [2, 2, 2, 2].into()),
        ("num_res_units", 2.into()),
        ("norm", "batch".into()),
    ];
    let args = Args::named(args.map(|(name, value)| (name.into(), value)));
    UNet::new(UNetArgs::parse("UNet", args).unwrap()).unwrap()
}

/// Computes the labels of a finished box; features [1,F,x,y,z] are used in place of blended ones.
fn labels(net: &SegResNet, features: &Tensor) -> Vec<u8> {
    let rows = features.to_kind(Kind::Float).permute([0, 2, 3, 4, 1]).squeeze_dim(0);
    let head = net.head().unwrap();
    let mut map = vec![0; 96 * 96 * 96];
    let total = Tensor::ones([96, 96, 96], F32);
    native::head_argmax(&rows, &total, &head.weight, head.bias.as_ref(), LabelsMut::U8(&mut map), [96; 3], [0; 3])
        .unwrap();
    map
}

fn window(c: &mut Criterion) {
    native::install_allocator();
    tch::manual_seed(0);
    let net = network();
    let x = Tensor::rand([1, 1, 96, 96, 96], F32) * 2 - 1;
    let bf16 = Mode { train: false, autocast: Some(Kind::BFloat16) };
    let mut group = c.benchmark_group("window 96");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(10));
    group.bench_function("features and labels, f32", |b| {
        b.iter(|| labels(&net, &net.features(black_box(&x), Mode::EVAL).unwrap()))
    });
    group.bench_function("plain forward, f32", |b| b.iter(|| net.forward(black_box(&x), Mode::EVAL).unwrap()));
    let unet = unet();
    group.bench_function("UNet's forward, f32", |b| b.iter(|| unet.forward(black_box(&x), Mode::EVAL).unwrap()));
    if native::cpu().avx512_bf16 {
        group.bench_function("features and labels, bf16", |b| {
            b.iter(|| labels(&net, &net.features(black_box(&x), bf16).unwrap()))
        });
    }
    group.finish();
}

fn parts(c: &mut Criterion) {
    native::install_allocator();
    let net = network();
    let x = native::channels_last(&Tensor::rand([1, 32, 96, 96, 96], F32)).unwrap();
    let affine = native::Affine { weight: vec![1.0; 32], bias: vec![0.0; 32] };
    let moments = native::moments(&x).unwrap();
    let mut y = x.copy();
    let mut group = c.benchmark_group("parts 96");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.bench_function("moments", |b| b.iter(|| native::moments(&x).unwrap()));
    let norm = GroupNorm { moments: &moments, groups: 8, affine: &affine, eps: 1e-5 };
    group.bench_function("norm and ReLU in place", |b| b.iter(|| norm.apply_(&mut y, true).unwrap()));
    group.bench_function("norm and ReLU into new", |b| b.iter(|| norm.apply(&x, true).unwrap()));
    let weight = Tensor::rand([32, 32, 3, 3, 3], F32) - 0.5;
    let conv = Conv3::new(&weight).unwrap().unwrap();
    group.bench_function("norm, ReLU and 3×3×3 convolution, 32 channels", |b| {
        b.iter(|| conv.forward(&x, &norm).unwrap())
    });
    let direct = native::channels_last(&weight).unwrap();
    group.bench_function("libtorch's 3×3×3 convolution, 32 channels", |b| {
        b.iter(|| x.conv3d(&direct, None::<&Tensor>, 1, 1, 1, 1))
    });
    group.bench_function("add with moments", |b| b.iter(|| native::add_moments(&mut y, &x).unwrap()));
    let low = native::channels_last(&Tensor::rand([1, 32, 48, 48, 48], F32)).unwrap();
    group.bench_function("upsample and add", |b| b.iter(|| native::upsample_add(&low, &mut y).unwrap()));
    group.bench_function("head and argmax, 105 classes", |b| b.iter(|| labels(&net, &x)));
    let (mut acc, mut total) = (Tensor::zeros([96, 144, 199, 32], F32), Tensor::zeros([96, 144, 199], F32));
    let map = Tensor::ones([96, 96, 96], F32);
    group.bench_function("blend a window", |b| {
        b.iter(|| native::blend(&mut acc, &mut total, &x, &map, [0, 24, 80]).unwrap())
    });
    let logits = Tensor::rand([105, 96, 96, 96], F32);
    let mut out = vec![0; 96 * 96 * 96];
    group.bench_function("argmax of 105 channels", |b| {
        b.iter(|| native::argmax(&logits, LabelsMut::U8(&mut out), [96; 3], [0; 3]).unwrap())
    });
    group.finish();
}

/// Forward and backward passes: a residual block compared with libtorch's operations, and the whole network.
fn training(c: &mut Criterion) {
    native::install_allocator();
    tch::manual_seed(0);
    let x = native::channels_last(&Tensor::rand([1, 32, 96, 96, 96], F32)).unwrap().set_requires_grad(true);
    let [gain, shift] =
        [Tensor::ones([32], F32), Tensor::zeros([32], F32)].map(|tensor| tensor.set_requires_grad(true));
    let weights = [0, 1].map(|_| (Tensor::rand([32, 32, 3, 3, 3], F32) * 0.1 - 0.05).set_requires_grad(true));
    let norm = NormRelu { weight: &gain, bias: &shift, groups: 8, eps: 1e-5 };
    let mut group = c.benchmark_group("training 96");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(8));
    let gradient =
        |y: &Tensor| Tensor::run_backward(&[y.sum(Kind::Float)], &[&x, &weights[0], &weights[1]], false, false);
    group.bench_function("residual block, 32 channels", |b| {
        b.iter(|| gradient(&residual_block(&x, [norm, norm], weights.each_ref()).unwrap()))
    });
    group.bench_function("libtorch's residual block, 32 channels", |b| {
        b.iter(|| {
            let half = |x: &Tensor, weight: &Tensor| {
                let normed = x.group_norm(8, Some(&gain), Some(&shift), 1e-5, false).relu();
                normed.conv3d(weight, None::<&Tensor>, 1, 1, 1, 1)
            };
            gradient(&(half(&half(&x, &weights[0]), &weights[1]) + &x))
        })
    });
    let net = network();
    let x = Tensor::rand([1, 1, 96, 96, 96], F32) * 2 - 1;
    let trained: Vec<Tensor> = parameters(&net).into_iter().map(|(_, tensor)| tensor).collect();
    let bf16 = native::cpu().avx512_bf16.then_some(("network, bf16", Some(Kind::BFloat16)));
    for (name, autocast) in [("network, f32", None)].into_iter().chain(bf16) {
        let mode = Mode { train: true, autocast };
        group.bench_function(name, |b| {
            b.iter(|| {
                let y = net.forward(&x, mode).unwrap();
                Tensor::run_backward(&[y.sum(Kind::Float)], &trained, false, false)
            })
        });
    }
    group.finish();
}

criterion_group!(benches, window, parts, training);
criterion_main!(benches);
