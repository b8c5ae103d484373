//! Values and gradients of training's fused parts against torch's operations in f64, and of the network against its
//! own plain form.

use crate::network::{build, pair};
use segbundle::component::Value;
use segbundle::contracts::{Mode, Network, parameters};
use segbundle_native::training::{NormRelu, norm_head, residual_block, upsample_sum};
use tch::{Device, Kind, Tensor};

/// Reproducible values: a sine of the index, roughly uniform in ±scale.
fn values(shape: &[i64], scale: f64) -> Tensor {
    let n = shape.iter().product::<i64>();
    ((Tensor::arange(n, (Kind::Double, Device::Cpu)) * 12.9898).sin() * 43758.5453).frac().reshape(shape) * scale
}

/// The result of `f` for the inputs as `kind`, and the gradients of a weighted sum of it.
fn run(inputs: &[Tensor], kind: Kind, f: &dyn Fn(&[Tensor]) -> Tensor) -> Vec<Tensor> {
    let leaves: Vec<Tensor> = inputs.iter().map(|x| x.to_kind(kind).copy().set_requires_grad(true)).collect();
    let out = f(&leaves);
    (&out * values(&out.size(), 1.0).to_kind(kind)).sum(kind).backward();
    std::iter::once(out.detach()).chain(leaves.iter().map(Tensor::grad)).collect()
}

/// Largest difference as a part of the largest value.
fn relative(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let largest = |x: &Tensor| x.abs().max().double_value(&[]);
    largest(&(found.to_kind(Kind::Double) - expected.to_kind(Kind::Double))) / largest(&expected.to_kind(Kind::Double))
}

fn compare(what: &str, inputs: &[Tensor], ours: &dyn Fn(&[Tensor]) -> Tensor, torch: &dyn Fn(&[Tensor]) -> Tensor) {
    let (found, expected) = (run(inputs, Kind::Float, ours), run(inputs, Kind::Double, torch));
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let error = relative(found, expected);
        assert!(error < 1e-5, "{what}, {i}: {error}");
    }
}

fn norm_relu<'a>(weight: &'a Tensor, bias: &'a Tensor, groups: usize) -> NormRelu<'a> {
    NormRelu { weight, bias, groups, eps: 1e-5 }
}

fn plain_norm_relu(x: &Tensor, weight: &Tensor, bias: &Tensor, groups: i64) -> Tensor {
    x.group_norm(groups, Some(weight), Some(bias), 1e-5, false).relu()
}

#[test]
fn a_residual_block_has_torch_s_gradients() {
    for ([n, c, x, y, z], k, groups) in [
        ([2, 32, 6, 8, 10], 32, [8, 8]),
        ([1, 16, 5, 3, 7], 48, [4, 3]),
        ([3, 64, 2, 1, 1], 32, [8, 1]),
        ([1, 16, 1, 4, 61], 16, [16, 2]),
        ([2, 128, 3, 3, 3], 128, [8, 8]),
        ([2, 8, 6, 5, 9], 8, [8, 8]),
        ([1, 24, 4, 3, 5], 40, [8, 8]),
        ([2, 12, 3, 4, 6], 4, [3, 2]),
    ] {
        let spread = |channels: i64| (2.0 / (27 * channels) as f64).sqrt();
        let inputs = [
            values(&[n, c, x, y, z], 2.0) + 0.5,
            values(&[c], 0.5) + 1.0,
            values(&[c], 0.3),
            values(&[k, c, 3, 3, 3], spread(c)),
            values(&[k], 0.5) + 1.0,
            values(&[k], 0.3),
            values(&[c, k, 3, 3, 3], spread(k)),
        ];
        let ours = |t: &[Tensor]| {
            let norms = [norm_relu(&t[1], &t[2], groups[0]), norm_relu(&t[4], &t[5], groups[1])];
            residual_block(&t[0], norms, [&t[3], &t[6]]).unwrap()
        };
        let torch = |t: &[Tensor]| {
            let conv = |x: &Tensor, weight: &Tensor| x.conv3d(weight, None::<&Tensor>, 1, 1, 1, 1);
            let y = conv(&plain_norm_relu(&t[0], &t[1], &t[2], groups[0] as i64), &t[3]);
            &t[0] + conv(&plain_norm_relu(&y, &t[4], &t[5], groups[1] as i64), &t[6])
        };
        compare(&format!("{n}×{c}×{x}×{y}×{z}"), &inputs, &ours, &torch);
    }
}

#[test]
fn a_doubled_sum_has_torch_s_gradients() {
    for [n, c, x, y, z] in [[2, 32, 4, 3, 5], [1, 16, 1, 1, 1], [1, 16, 2, 1, 6], [2, 8, 3, 2, 4], [1, 12, 2, 3, 1]] {
        let inputs = [values(&[n, c, x, y, z], 1.0), values(&[n, c, 2 * x, 2 * y, 2 * z], 1.0)];
        let torch = |t: &[Tensor]| t[0].upsample_trilinear3d_vec(None::<&[i64]>, false, &[2.0, 2.0, 2.0][..]) + &t[1];
        compare(&format!("{n}×{c}×{x}×{y}×{z}"), &inputs, &|t| upsample_sum(&t[0], &t[1]).unwrap(), &torch);
    }
}

#[test]
fn the_last_layer_has_torch_s_gradients() {
    for ([n, c, x, y, z], k) in [([2, 32, 9, 8, 31], 105), ([1, 16, 1, 2, 3], 2), ([2, 8, 5, 6, 7], 14)] {
        let inputs = [
            values(&[n, c, x, y, z], 2.0) + 0.5,
            values(&[c], 0.5) + 1.0,
            values(&[c], 0.3),
            values(&[k, c, 1, 1, 1], 0.2),
            values(&[k], 0.2),
        ];
        let torch = |t: &[Tensor]| plain_norm_relu(&t[0], &t[1], &t[2], 8).conv3d(&t[3], Some(&t[4]), 1, 0, 1, 1);
        let ours = |t: &[Tensor]| norm_head(&t[0], norm_relu(&t[1], &t[2], 8), &t[3], &t[4]).unwrap();
        compare(&format!("{n}×{c}×{x}×{y}×{z}"), &inputs, &ours, &torch);
        // Sums are split over the threads, of which there may be one.
        let threads = tch::get_num_threads();
        tch::set_num_threads(1);
        compare("one thread", &inputs, &ours, &torch);
        tch::set_num_threads(threads);
    }
}

/// A layout that is not channels last on the way in, frozen weights, and gradients that are wanted for weights alone.
#[test]
fn frozen_weights_get_no_gradient() {
    let x = values(&[1, 16, 4, 4, 4], 1.0).to_kind(Kind::Float);
    let tensor = |shape: &[i64]| values(shape, 0.2).to_kind(Kind::Float) + 0.1;
    let (one, two) = (tensor(&[16]), tensor(&[16]));
    let (first, second) = (tensor(&[16, 16, 3, 3, 3]), tensor(&[16, 16, 3, 3, 3]).set_requires_grad(true));
    let norm = norm_relu(&one, &two, 4);
    residual_block(&x, [norm, norm], [&first, &second]).unwrap().sum(Kind::Float).backward();
    assert!(second.grad().defined() && !first.grad().defined() && !one.grad().defined());
}

#[test]
fn misfits_of_training_parts_are_errors() {
    let f32 = |shape: &[i64]| values(shape, 1.0).to_kind(Kind::Float);
    let (x, gain, weight) = (f32(&[1, 16, 4, 4, 4]), f32(&[16]), f32(&[16, 16, 3, 3, 3]));
    let norm = norm_relu(&gain, &gain, 4);
    assert!(residual_block(&x, [norm, norm], [&weight, &weight]).is_ok());
    assert!(residual_block(&x.to_kind(Kind::Double), [norm, norm], [&weight, &weight]).is_err());
    assert!(
        residual_block(&x.narrow(1, 0, 3), [norm, norm], [&weight, &weight]).is_err(),
        "three channels fill no vector"
    );
    assert!(residual_block(&x, [norm, NormRelu { groups: 3, ..norm }], [&weight, &weight]).is_err());
    assert!(residual_block(&x, [norm, norm], [&weight, &weight.narrow(2, 0, 1)]).is_err());
    assert!(residual_block(&x, [norm, norm], [&weight.transpose(0, 1), &weight]).is_err(), "strides");
    assert!(upsample_sum(&x, &x).is_err());
    assert!(norm_head(&x, norm, &f32(&[5, 16, 1, 1, 1]), &f32(&[4])).is_err());
}

/// The fused path of a network with ReLU is as near to f64 as torch's operations in f32. Those are taken where the
/// activation is called by another name: a leaky ReLU that leaks nothing.
#[test]
fn the_network_has_torch_s_gradients() {
    let network = |act: Value| {
        let args = [
            ("init_filters", 16.into()),
            ("in_channels", 1.into()),
            ("out_channels", 5.into()),
            ("blocks_down", Value::from([1, 2, 1])),
            ("blocks_up", Value::from([1, 1])),
            ("act", act),
        ];
        build(&args).unwrap()
    };
    let leaky = || network(pair("LEAKYRELU", "negative_slope", 0.0));
    let (fused, plain, exact) = (network(Value::str("RELU")), leaky(), leaky());
    for (name, tensor) in &fused.state().tensors {
        let shape = tensor.size();
        let value = match &shape[..] {
            [_] => values(&shape, 0.3) + 1.0,
            [_, inputs, ..] => values(&shape, (2.0 / (27 * inputs) as f64).sqrt()),
            _ => panic!("{name}: {shape:?}"),
        };
        for (net, kind) in [(&fused, Kind::Float), (&plain, Kind::Float), (&exact, Kind::Double)] {
            net.state().tensors[name].shallow_clone().set_data(&value.to_kind(kind));
        }
    }
    let x = values(&[2, 1, 12, 16, 20], 1.0);
    let [fused, plain, exact] =
        [(&fused, Kind::Float), (&plain, Kind::Float), (&exact, Kind::Double)].map(|(net, kind)| {
            let out = net.forward(&x.to_kind(kind), Mode { train: true, autocast: None }).unwrap();
            (&out * values(&out.size(), 1.0).to_kind(kind)).sum(kind).backward();
            let gradients = parameters(net).into_iter().map(|(name, parameter)| (name, parameter.grad()));
            [("output".to_owned(), out.detach())].into_iter().chain(gradients).collect::<Vec<_>>()
        });
    for (((name, fused), (_, plain)), (_, exact)) in fused.iter().zip(&plain).zip(&exact) {
        let (ours, torch) = (relative(fused, exact), relative(plain, exact));
        assert!(ours < 3.0 * torch + 1e-6, "{name}: {ours}, where torch has {torch}");
    }
}
