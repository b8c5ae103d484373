//! SegResNet against MONAI.
//!
//! tests/data/segresnet.npz and segresnet_names.txt were made with MONAI 1.6.1 on torch 2.11.0 (CPU, AVX2):
//!
//! ```python
//! import numpy as np, torch
//! from monai.networks.nets import SegResNet
//! base = dict(init_filters=8, in_channels=2, out_channels=3, blocks_down=(1, 2), blocks_up=(1,), dropout_prob=0.5)
//! variants = {
//!     "plain": {},
//!     "deconv": dict(upsample_mode="deconv"),
//!     "pixelshuffle": dict(upsample_mode="pixelshuffle"),
//!     "prelu_instance": dict(act="PRELU", norm=("INSTANCE", {"affine": True})),
//!     "elu_batch": dict(act=("ELU", {"alpha": 0.7}), norm="BATCH"),
//!     "leaky_two_groups": dict(act=("leakyrelu", {"negative_slope": 0.1, "inplace": True}), norm=("group", {"num_groups": 2})),
//!     "gelu_no_norm": dict(act="gelu", norm=""),
//!     "open_end": dict(use_conv_final=False, norm_name="GROUP", num_groups=4),
//! }
//! for name, changes in variants.items():
//!     torch.manual_seed(11)
//!     net = SegResNet(**{**base, **changes})
//!     x = torch.randn(2, 2, 8, 8, 8)
//!     with torch.no_grad():
//!         arrays[name + "/train"] = net.train()(x).numpy()
//!         arrays[name + "/eval"] = net.eval()(x).numpy()
//!     names += [f"{name} {k} {list(v.shape)}\n" for k, v in net.state_dict().items()]
//! ```
//!
//! Weights come from the seed, so equal outputs also show that the initial weights are Python's. On the processor that
//! made them the outputs are equal to the last bit; 1e-5 leaves room for other instruction sets.

use segbundle::component::{Args, Declared, Dict, Key, Value};
use segbundle::contracts::{Mode, Network};
use segbundle::networks::{SegResNet, SegResNetArgs};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use tch::{Kind, Tensor};

/// torch's generator is global: one test at a time draws from it.
pub static GENERATOR: Mutex<()> = Mutex::new(());

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn pair(name: &str, key: &str, value: impl Into<Value>) -> Value {
    Value::tuple([Value::str(name), Value::Dict(Dict::new([(Key::str(key), value.into())]))])
}

pub fn build(args: &[(&str, Value)]) -> segbundle::error::Result<SegResNet> {
    let named = Args::named(args.iter().map(|(name, value)| ((*name).into(), value.clone())));
    SegResNet::new(SegResNetArgs::parse("SegResNet", named)?)
}

fn largest(x: &Tensor) -> f64 {
    x.abs().max().double_value(&[])
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    largest(&(a.to_kind(Kind::Double) - b.to_kind(Kind::Double)))
}

fn variants() -> Vec<(&'static str, Vec<(&'static str, Value)>)> {
    let base = [
        ("init_filters", 8.into()),
        ("in_channels", 2.into()),
        ("out_channels", 3.into()),
        ("blocks_down", Value::from([1, 2])),
        ("blocks_up", Value::from([1])),
        ("dropout_prob", 0.5.into()),
    ];
    let changes: [(&str, Vec<(&str, Value)>); 8] = [
        ("plain", vec![]),
        ("deconv", vec![("upsample_mode", "deconv".into())]),
        ("pixelshuffle", vec![("upsample_mode", "pixelshuffle".into())]),
        ("prelu_instance", vec![("act", "PRELU".into()), ("norm", pair("INSTANCE", "affine", true))]),
        ("elu_batch", vec![("act", pair("ELU", "alpha", 0.7)), ("norm", "BATCH".into())]),
        (
            "leaky_two_groups",
            vec![
                (
                    "act",
                    Value::tuple([
                        Value::str("leakyrelu"),
                        Value::Dict(Dict::new([
                            (Key::str("negative_slope"), 0.1.into()),
                            (Key::str("inplace"), true.into()),
                        ])),
                    ]),
                ),
                ("norm", pair("group", "num_groups", 2)),
            ],
        ),
        ("gelu_no_norm", vec![("act", "gelu".into()), ("norm", "".into())]),
        ("open_end", vec![("use_conv_final", false.into()), ("norm_name", "GROUP".into()), ("num_groups", 4.into())]),
    ];
    changes.into_iter().map(|(name, more)| (name, base.iter().cloned().chain(more).collect())).collect()
}

const TRAIN: Mode = Mode { train: true, autocast: None };

#[test]
fn seeded_networks_equal_monai_in_weights_and_output() {
    let _one = GENERATOR.lock();
    let golden: HashMap<String, Tensor> =
        Tensor::read_npz(root().join("tests/data/segresnet.npz")).unwrap().into_iter().collect();
    for (name, args) in variants() {
        tch::manual_seed(11);
        let net = build(&args).unwrap();
        let x = Tensor::randn([2, 2, 8, 8, 8], (Kind::Float, tch::Device::Cpu));
        for (mode, which) in [(TRAIN, "train"), (Mode::EVAL, "eval")] {
            let expected = &golden[&format!("{name}/{which}")];
            let found = net.forward(&x, mode).unwrap();
            let error = difference(&found, expected);
            println!("{name} {which}: {error:e}{}", if found.equal(expected) { ", equal bit for bit" } else { "" });
            assert!(error < 1e-5 * largest(expected).max(1.0), "{name} {which}: {error:e}");
        }
        let features = net.features(&x, Mode::EVAL).unwrap();
        let found = match net.head() {
            Some(head) => {
                let bias = head.bias.unwrap().view([1, -1, 1, 1, 1]);
                features.tensordot(&head.weight, [1], [1]).permute([0, 4, 1, 2, 3]) + bias
            }
            None => features,
        };
        let expected = &golden[&format!("{name}/eval")];
        let error = difference(&found, expected);
        assert!(error < 1e-5 * largest(expected).max(1.0), "{name} head ∘ features: {error:e}");
    }
}

#[test]
fn tensors_have_monai_names_in_pytorch_order() {
    let _one = GENERATOR.lock();
    let golden = std::fs::read_to_string(root().join("tests/data/segresnet_names.txt")).unwrap();
    let mut found = String::new();
    for (variant, args) in variants() {
        for (name, tensor) in &build(&args).unwrap().state().tensors {
            found += &format!("{variant} {name} {:?}\n", tensor.size());
        }
    }
    assert_eq!(found, golden);
}

#[test]
fn the_bundle_s_network_has_83_tensors_and_18_799_401_parameters() {
    let _one = GENERATOR.lock();
    let net =
        build(&[("init_filters", 32.into()), ("out_channels", 105.into()), ("dropout_prob", 0.2.into())]).unwrap();
    let sizes: Vec<usize> = net.state().tensors.values().map(Tensor::numel).collect();
    assert_eq!((sizes.len(), sizes.iter().sum::<usize>()), (83, 18_799_401));
    assert!(net.state().tensors.values().all(Tensor::requires_grad));
}

fn medium() -> (SegResNet, Tensor) {
    tch::manual_seed(5);
    let net = build(&[("init_filters", 16.into()), ("out_channels", 5.into())]).unwrap();
    (net, Tensor::randn([2, 1, 24, 16, 32], (Kind::Float, tch::Device::Cpu)))
}

/// bf16 has 8 bits of mantissa (4e-3); a dozen layers may add up to a few per cent of the features' spread.
#[test]
fn features_in_bf16_are_near_those_in_f32() {
    let _one = GENERATOR.lock();
    let (net, x) = medium();
    let exact = net.features(&x, Mode::EVAL).unwrap();
    let found = net.features(&x, Mode { train: false, autocast: Some(Kind::BFloat16) }).unwrap();
    assert_eq!(found.kind(), Kind::BFloat16);
    let spread = exact.std(true).double_value(&[]);
    let error = (found.to_kind(Kind::Float) - &exact).square().mean(Kind::Float).sqrt().double_value(&[]) / spread;
    assert!(error > 1e-5 && error < 0.03, "relative error {error}");
    let autocast = net.forward(&x, Mode { train: false, autocast: Some(Kind::BFloat16) }).unwrap();
    assert_eq!(autocast.kind(), Kind::BFloat16);
    assert_eq!(net.forward(&x, Mode::EVAL).unwrap().kind(), Kind::Float, "the guard has restored autocast");
}

#[test]
fn features_do_not_depend_on_the_number_of_items_and_leave_the_input_alone() {
    let _one = GENERATOR.lock();
    let (net, x) = medium();
    let before = x.copy();
    let both = net.features(&x, Mode::EVAL).unwrap();
    assert!(x.equal(&before));
    let second = net.features(&x.narrow(0, 1, 1), Mode::EVAL).unwrap();
    assert!(difference(&both.narrow(0, 1, 1), &second) < 1e-5);
}

#[test]
fn features_follow_the_weights_when_these_change() {
    let _one = GENERATOR.lock();
    let (mut net, x) = medium();
    let before = net.features(&x, Mode::EVAL).unwrap();
    let doubled: Vec<(String, Tensor)> = net
        .state()
        .tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), (tensor.detach() * 2.0).to_kind(Kind::Double)))
        .collect();
    net.load(&doubled).unwrap();
    let loaded = net.features(&x, Mode::EVAL).unwrap();
    assert!(difference(&before, &loaded) > 1e-3);

    // What an optimizer does.
    tch::no_grad(|| {
        for tensor in net.state().tensors.values() {
            let _ = tensor.shallow_clone().g_mul_scalar_(0.5);
        }
    });
    assert!(difference(&before, &net.features(&x, Mode::EVAL).unwrap()) == 0.0);
}

#[test]
fn gradients_reach_every_parameter_in_training_only() {
    let _one = GENERATOR.lock();
    let (net, x) = medium();
    assert!(!net.forward(&x, Mode::EVAL).unwrap().requires_grad());
    net.forward(&x, TRAIN).unwrap().square().mean(Kind::Float).backward();
    for (name, tensor) in &net.state().tensors {
        assert!(tensor.grad().defined(), "{name}");
    }
}

#[test]
fn loading_lists_everything_that_does_not_fit_and_changes_nothing() {
    let _one = GENERATOR.lock();
    let (mut net, _) = medium();
    let before = net.state().tensors["convInit.conv.weight"].copy();
    let mut weights: Vec<(String, Tensor)> =
        net.state().tensors.iter().map(|(name, tensor)| (name.clone(), tensor.zeros_like())).collect();
    let last = weights.len() - 1;
    weights[last].0 = "conv_final.2.bias".into();
    weights[1].1 = Tensor::zeros([3], (Kind::Float, tch::Device::Cpu));
    let error = net.load(&weights).unwrap_err().to_string();
    for part in [
        "2 of 83 variables of SegResNet do not fit: ",
        "down_layers.0.1.norm1.weight (shape [16], in the file [3])",
        "conv_final.2.conv.bias (not in the file)",
        "1 of 83 variables of the file are not in SegResNet: conv_final.2.bias",
        "hint: the weights were saved with other arguments of SegResNet",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert!(net.state().tensors["convInit.conv.weight"].equal(&before));
}

#[test]
fn wrong_arguments_and_inputs_are_told() {
    let _one = GENERATOR.lock();
    let cases: [(&[(&str, Value)], &str); 9] = [
        (&[("spatial_dims", 2.into())], "expected spatial_dims 3, found 2"),
        (&[("init_filter", 8.into())], "has no argument `init_filter`"),
        (&[("init_filters", 12.into())], "12 channels cannot be split into 8 groups"),
        (&[("init_filters", 1_000_000.into())], "would have more than"),
        (&[("blocks_up", Value::from([1, 1]))], "one fewer in blocks_up"),
        (&[("act", "RELUU".into())], "act `RELUU` is not supported"),
        (&[("act", pair("RELU", "slope", 1))], "RELU has no argument `slope`"),
        (&[("upsample_mode", "nearest".into())], "expected upsample_mode nontrainable, deconv or pixelshuffle"),
        (&[("dropout_prob", 1.5.into())], "expected dropout_prob from 0 to 1"),
    ];
    for (args, expected) in cases {
        let error = build(args).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{error}");
    }
    let (net, x) = medium();
    for (x, expected) in [
        (x.narrow(2, 0, 12), "multiples of 8, found [12, 16, 32]"),
        (x.repeat([1, 2, 1, 1, 1]), "expected an input of [N,1,X,Y,Z]"),
    ] {
        for error in
            [net.forward(&x, Mode::EVAL), net.features(&x, Mode::EVAL)].map(|result| result.unwrap_err().to_string())
        {
            assert!(error.contains(expected), "{error}");
        }
    }
}

#[test]
fn a_batch_norm_over_one_value_is_an_error_that_names_drop_last() {
    let args = [("init_filters", 8.into()), ("out_channels", 2.into()), ("norm", "BATCH".into())];
    let net = build(&args).unwrap();
    let x = |cases: i64| Tensor::zeros([cases, 1, 8, 8, 8], (Kind::Float, tch::Device::Cpu));
    let error = net.forward(&x(1), TRAIN).unwrap_err();
    assert!(
        error.message().contains("[1, 64, 1, 1, 1]") && error.get_hint().unwrap().contains("`drop_last`"),
        "{error}"
    );
    assert!(net.forward(&x(2), TRAIN).is_ok() && net.forward(&x(1), Mode::EVAL).is_ok());
}
