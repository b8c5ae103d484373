//! The losses against MONAI's and torch's values and gradients (data/make_losses.py), and the fused sums' memory.

use crate::common::{build, golden};
use segbundle::component::{FromValue, Value};
use segbundle::contracts::Loss;
use segbundle_native as native;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// As data/make_losses.py makes them.
fn logits(shape: &[i64]) -> Tensor {
    let n = shape.iter().product::<i64>();
    let x: Tensor = (Tensor::arange(n, (Kind::Int64, Device::Cpu)) * 7919).remainder(2003) - 1001;
    (x.to_kind(Kind::Float) / 250.0).reshape(shape)
}
fn labels(shape: &[i64], classes: i64) -> Tensor {
    let n = shape.iter().product::<i64>();
    (Tensor::arange(n, (Kind::Int64, Device::Cpu)) * 31).floor_divide_scalar(17).remainder(classes).reshape(shape)
}

fn loss(name: &str, args: &[(&str, Value)]) -> Arc<dyn Loss> {
    Arc::from_value(&build(name, args).unwrap()).unwrap()
}

const SMALL: [i64; 5] = [2, 5, 9, 8, 7];
const LARGE: [i64; 5] = [2, 6, 33, 32, 31];

fn weights() -> Value {
    vec![0.5, 1.0, 2.0, 0.25, 3.0].into()
}

fn one_per_voxel(shape: &[i64]) -> [i64; 5] {
    [shape[0], 1, shape[2], shape[3], shape[4]]
}

struct Case {
    name: &'static str,
    component: &'static str,
    args: Vec<(&'static str, Value)>,
    /// Value in bits, or relative.
    exact: bool,
}

fn softmax_cases() -> Vec<Case> {
    let case = |name, component, more: Vec<(&'static str, Value)>, exact| {
        let mut args = vec![("to_onehot_y", true.into()), ("softmax", true.into())];
        args.extend(more);
        Case { name, component, args, exact }
    };
    vec![
        case("dice_ce", "DiceCELoss", vec![], true),
        case("dice_ce_large", "DiceCELoss", vec![], true),
        case("dice_ce_no_background", "DiceCELoss", vec![("include_background", false.into())], true),
        case("dice_ce_batch", "DiceCELoss", vec![("batch", true.into())], true),
        case("dice_ce_batch_large", "DiceCELoss", vec![("batch", true.into())], true),
        // MONAI sums |p − t|² and halves; here Σp·t is summed itself.
        case("dice_ce_squared", "DiceCELoss", vec![("squared_pred", true.into())], false),
        case(
            "dice_ce_jaccard_sum",
            "DiceCELoss",
            vec![
                ("jaccard", true.into()),
                ("reduction", "sum".into()),
                ("smooth_nr", 0.0.into()),
                ("smooth_dr", 1e-3.into()),
            ],
            true,
        ),
        case(
            "dice_ce_weight",
            "DiceCELoss",
            vec![("weight", weights()), ("lambda_dice", 0.7.into()), ("lambda_ce", 0.2.into())],
            true,
        ),
        case("dice_ce_smoothing", "DiceCELoss", vec![("label_smoothing", 0.1.into())], true),
        case("dice", "DiceLoss", vec![], true),
        case("dice_none", "DiceLoss", vec![("reduction", "none".into())], true),
        case(
            "dice_weight",
            "DiceLoss",
            vec![("weight", vec![1.0, 2.0, 0.5, 3.0].into()), ("include_background", false.into())],
            true,
        ),
        case("dice_ignore", "DiceLoss", vec![("ignore_index", 2.into())], true),
        case("dice_focal", "DiceFocalLoss", vec![], true),
        case(
            "dice_focal_alpha",
            "DiceFocalLoss",
            vec![("alpha", 0.25.into()), ("gamma", 1.5.into()), ("weight", weights()), ("reduction", "sum".into())],
            true,
        ),
    ]
}

fn cases() -> Vec<(Case, Tensor, Tensor)> {
    let mut out: Vec<(Case, Tensor, Tensor)> = softmax_cases()
        .into_iter()
        .map(|case| {
            let shape = if case.name.ends_with("_large") { LARGE } else { SMALL };
            (case, logits(&shape), labels(&one_per_voxel(&shape), shape[1]))
        })
        .collect();
    let plain = |name, component, args| Case { name, component, args, exact: true };
    let onehot = |shape: &[i64]| labels(shape, 2).eq(1).to_kind(Kind::Float);
    let binary = [2, 1, 9, 8, 7];
    let sigmoid = || vec![("sigmoid", true.into())];
    out.push((plain("dice_ce_sigmoid_onehot", "DiceCELoss", sigmoid()), logits(&SMALL), onehot(&SMALL)));
    let soft = labels(&SMALL, 11).to_kind(Kind::Float) / 10.0;
    out.push((
        plain("dice_soft", "DiceLoss", vec![("sigmoid", true.into()), ("soft_label", true.into())]),
        logits(&SMALL),
        soft,
    ));
    out.push((plain("dice_binary", "DiceLoss", sigmoid()), logits(&binary), onehot(&binary)));
    out.push((plain("dice_ce_binary", "DiceCELoss", sigmoid()), logits(&binary), onehot(&binary)));
    let focal = vec![("to_onehot_y", true.into()), ("use_softmax", true.into()), ("alpha", 0.25.into())];
    out.push((plain("focal_softmax", "FocalLoss", focal), logits(&SMALL), labels(&one_per_voxel(&SMALL), 5)));
    for (name, args) in [
        ("ce", vec![]),
        ("ce_weight", vec![("weight", weights())]),
        ("ce_ignore", vec![("ignore_index", 1.into()), ("reduction", "sum".into())]),
        ("ce_smoothing", vec![("label_smoothing", 0.2.into())]),
        ("ce_none", vec![("reduction", "none".into())]),
    ] {
        out.push((
            plain(name, "CrossEntropyLoss", args),
            logits(&SMALL),
            labels(&one_per_voxel(&SMALL), 5).squeeze_dim(1),
        ));
    }
    out
}

fn largest(x: &Tensor) -> f64 {
    x.to_kind(Kind::Double).abs().max().double_value(&[])
}

#[test]
fn losses_equal_monai() {
    let golden = golden("losses.pt");
    let mut wrong = vec![];
    for (case, x, y) in cases() {
        let x = x.set_requires_grad(true);
        let value = loss(case.component, &case.args).forward(&x, &y).unwrap();
        value.sum(Kind::Float).backward();
        let expected = &golden[case.name];
        let off = largest(&(value.detach() - expected)) / largest(expected);
        // Gradients are sums in another order: their own size is 1e-6 to 1e-3.
        let grad = x.grad().flatten(0, -1);
        let some = grad.slice(0, 0, grad.numel() as i64, 1.max(grad.numel() as i64 / 1000));
        let grad_off = largest(&(&some - &golden[&format!("{}.grad", case.name)])) / largest(&some);
        let sum_off = (grad.to_kind(Kind::Double).abs().sum(Kind::Double).double_value(&[])
            / golden[&format!("{}.grad_sum", case.name)].double_value(&[])
            - 1.0)
            .abs();
        // A NaN is in no range.
        let limit = if case.exact { 0.0 } else { 3e-7 };
        let close = (0.0..=limit).contains(&off) && (0.0..1e-6).contains(&grad_off) && (0.0..1e-6).contains(&sum_off);
        if value.size() != expected.size() || !close {
            wrong.push(format!(
                "{}: {:?}, value {off:.1e}, gradient {grad_off:.1e}, its sum {sum_off:.1e}",
                case.name,
                value.size()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn layouts_and_label_types_give_the_same_bits() {
    for case in softmax_cases() {
        let shape = SMALL;
        let y = labels(&one_per_voxel(&shape), 5);
        let loss = loss(case.component, &case.args);
        let run = |x: Tensor, y: &Tensor| {
            let x = x.detach().set_requires_grad(true);
            let value = loss.forward(&x, y).unwrap();
            value.sum(Kind::Float).backward();
            (value.detach(), x.grad())
        };
        let (value, grad) = run(logits(&shape), &y);
        for kind in [Kind::Uint8, Kind::Int16, Kind::Int, Kind::Float] {
            let (other, other_grad) = run(logits(&shape), &y.to_kind(kind));
            assert!(other.equal(&value) && other_grad.equal(&grad), "{} {kind:?}", case.name);
        }
        let (other, other_grad) = run(native::channels_last(&logits(&shape)).unwrap(), &y);
        if ["DiceCELoss", "DiceLoss"].contains(&case.component)
            && case.name != "dice_ignore"
            && case.name != "dice_ce_smoothing"
        {
            assert!(other.equal(&value) && other_grad.equal(&grad), "{} channels last", case.name);
            assert!(native::is_channels_last(&other_grad), "{}", case.name);
        }
        // bf16 logits: the loss is f32, the gradient has their type.
        let (half, half_grad) = run(logits(&shape).to_kind(Kind::BFloat16), &y);
        assert!(half.kind() == Kind::Float && half_grad.kind() == Kind::BFloat16);
        assert!(largest(&(half - &value)) < 0.02 * largest(&value), "{}", case.name);
    }
}

#[test]
fn the_fused_gradient_is_that_of_finite_differences() {
    let y = labels(&[1, 1, 3, 2, 2], 3);
    let args = [
        ("to_onehot_y", true.into()),
        ("softmax", true.into()),
        ("squared_pred", true.into()),
        ("include_background", false.into()),
    ];
    let loss = loss("DiceCELoss", &args);
    let x = logits(&[1, 3, 3, 2, 2]).set_requires_grad(true);
    loss.forward(&x, &y).unwrap().backward();
    let grad = x.grad();
    for at in 0..36i64 {
        let step = |h: f64| {
            let moved = x.detach().copy();
            let _ = moved.view([-1]).get(at).g_add_scalar_(h);
            loss.forward(&moved, &y).unwrap().double_value(&[])
        };
        let expected = (step(1e-2) - step(-1e-2)) / 2e-2;
        assert!((grad.view([-1]).double_value(&[at]) - expected).abs() < 2e-4, "{at}");
    }
}

#[test]
fn fused_memory_does_not_grow_with_the_classes() {
    // 40 classes of 48³ voxels: the logits are 17.7 MB, labels and log-likelihoods 0.9 MB. The counters are the whole
    // process's, so this test leaves room for what others allocate at the same time.
    native::install_allocator();
    let shape = [1, 40, 48, 48, 48];
    let x = logits(&shape).set_requires_grad(true);
    let y = labels(&one_per_voxel(&shape), 40).to_kind(Kind::Uint8);
    let loss = loss("DiceCELoss", &[("to_onehot_y", true.into()), ("softmax", true.into())]);
    let size = x.numel() * 4;
    let smallest = |work: &dyn Fn()| {
        (0..5)
            .map(|_| {
                native::reset_peak();
                let before = native::memory().live;
                work();
                native::memory().peak - before
            })
            .min()
            .unwrap()
    };
    let forward = smallest(&|| drop(tch::no_grad(|| loss.forward(&x, &y).unwrap())));
    let both = smallest(&|| {
        let value = loss.forward(&x, &y).unwrap();
        native::clear_gradients(&[x.shallow_clone()]).unwrap();
        value.backward();
    });
    assert!(forward < size / 2, "forward {forward} of {size}");
    assert!(both < size * 3 / 2, "forward and backward {both} of {size}");
}

#[test]
fn bad_targets_are_named() {
    let dice_ce = loss("DiceCELoss", &[("to_onehot_y", true.into()), ("softmax", true.into())]);
    let x = logits(&SMALL);
    let message = |y: Tensor| dice_ce.forward(&x, &y).unwrap_err().to_string();
    assert!(message(labels(&one_per_voxel(&SMALL), 8)).contains("labels from 0 to 7, expected 0 to 4"));
    assert!(message(labels(&one_per_voxel(&SMALL), 5) - 1).contains("labels from -1 to 3"));
    assert!(message(labels(&one_per_voxel(&SMALL), 5).to_kind(Kind::Float) * f64::NAN).contains("expected 0 to 4"));
    assert!(message(labels(&[2, 1, 9, 8, 6], 5)).contains("[2, 1, 9, 8, 6]"));
    assert!(message(labels(&[2, 9, 8, 7], 5)).contains("and 1 or 5 channels"));
    for (args, expected) in [
        (vec![("softmax", true.into()), ("sigmoid", true.into())], "expected at most one"),
        (vec![("other_act", "tanh".into())], "`other_act`: expected None or False (not supported)"),
        (vec![("reduction", "none".into())], "expected \"mean\" or \"sum\""),
        (vec![("lambda_ce", (-1.0).into())], "at least 0"),
    ] {
        let error = build("DiceCELoss", &args).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// As a training's label image is: whole numbers in float32 with a channel axis.
#[test]
fn cross_entropy_takes_a_label_image() {
    let loss = loss("CrossEntropyLoss", &[]);
    let (prediction, image) = (logits(&SMALL), labels(&one_per_voxel(&SMALL), 5));
    let expected = loss.forward(&prediction, &image.squeeze_dim(1)).unwrap().double_value(&[]);
    assert_eq!(loss.forward(&prediction, &image.to_kind(Kind::Float)).unwrap().double_value(&[]), expected);
}
