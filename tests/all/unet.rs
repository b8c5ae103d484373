//! UNet, its layers, and one inference against MONAI: tests/data/make_unet.py made the files in tests/data/unet.
//!
//! Initial weights come from the seed, so equal outputs also show that they are Python's. On the processor that made the
//! files the outputs in f32 are equal to the last bit; 1e-5 of the largest value leaves room for other instruction sets.

use crate::common::{build, golden};
use crate::network::{GENERATOR, pair};
use segbundle::component::{Args, Declared, Dict, Key, Value};
use segbundle::contracts::{Mode, Network, NetworkHandle, Strictness, parameters, restore};
use segbundle::error::Result;
use segbundle::formats::nifti;
use segbundle::networks::layers::{Act, Norm};
use segbundle::networks::params::Builder;
use segbundle::networks::{UNet, UNetArgs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/unet").join(name)
}

fn unet(args: &[(&str, Value)]) -> Result<UNet> {
    let named = Args::named(args.iter().map(|(name, value)| ((*name).into(), value.clone())));
    UNet::new(UNetArgs::parse("UNet", named)?)
}

fn dict(items: &[(&str, Value)]) -> Value {
    Value::Dict(Dict::new(items.iter().map(|(key, value)| (Key::str(key), value.clone()))))
}

fn ints(values: &[i64]) -> Value {
    Value::from(values.to_vec())
}

/// VARIANTS of make_unet.py.
fn variants() -> Vec<(&'static str, Vec<(&'static str, Value)>)> {
    let base = [
        ("spatial_dims", 3.into()),
        ("in_channels", 2.into()),
        ("out_channels", 3.into()),
        ("channels", ints(&[4, 8, 16])),
        ("strides", ints(&[2, 2])),
    ];
    let changes: [(&str, Vec<(&str, Value)>); 8] = [
        ("plain", vec![]),
        ("residual_batch", vec![("num_res_units", 2.into()), ("norm", "batch".into())]),
        ("dropout", vec![("num_res_units", 3.into()), ("norm", "BATCH".into()), ("dropout", 0.15.into())]),
        (
            "anisotropic",
            vec![
                ("strides", Value::list([ints(&[1, 2, 2]), ints(&[2, 2, 1])])),
                ("kernel_size", ints(&[1, 3, 3])),
                ("up_kernel_size", ints(&[3, 3, 1])),
                ("num_res_units", 1.into()),
                ("bias", false.into()),
                (
                    "act",
                    Value::tuple([
                        "leakyrelu".into(),
                        dict(&[("negative_slope", 0.1.into()), ("inplace", true.into())]),
                    ]),
                ),
                ("norm", pair("group", "num_groups", 1)),
            ],
        ),
        (
            "flat",
            vec![
                ("spatial_dims", 2.into()),
                ("num_res_units", 2.into()),
                ("norm", pair("instance", "affine", true)),
                ("act", pair("prelu", "init", 0.1)),
            ],
        ),
        (
            "ordering",
            vec![
                ("adn_ordering", "AND".into()),
                ("act", pair("elu", "alpha", 0.7)),
                ("dropout", pair("alphadropout", "p", 0.2)),
                ("norm", Value::tuple(["batch".into(), dict(&[("affine", false.into()), ("momentum", Value::None)])])),
            ],
        ),
        (
            "strides_of_one",
            vec![
                ("channels", ints(&[4, 4, 4])),
                ("strides", ints(&[1, 2])),
                ("num_res_units", 2.into()),
                ("norm", pair("instance", "track_running_stats", true)),
                ("act", "gelu".into()),
            ],
        ),
        (
            "no_norm",
            vec![
                ("adn_ordering", "A".into()),
                ("act", "mish".into()),
                ("channels", ints(&[4, 8])),
                ("strides", ints(&[2, 3])),
            ],
        ),
    ];
    let with = |more: Vec<(&'static str, Value)>| {
        let kept = base.iter().filter(|(name, _)| more.iter().all(|(changed, _)| changed != name)).cloned();
        kept.chain(more.clone()).collect()
    };
    changes.into_iter().map(|(name, more)| (name, with(more))).collect()
}

fn assert_near(what: &str, found: &Tensor, expected: &Tensor) {
    assert_eq!(found.size(), expected.size(), "{what}");
    if found.numel() == 0 {
        return;
    }
    let largest = |x: &Tensor| x.abs().max().double_value(&[]);
    let error = largest(&(found - expected));
    println!("{what}: {error:e}{}", if found.equal(expected) { ", equal bit for bit" } else { "" });
    assert!(error <= 1e-5 * largest(expected).max(1.0), "{what}: {error:e}");
}

#[test]
fn tensors_have_monai_names_in_pytorch_order() {
    let _one = GENERATOR.lock();
    let mut found = String::new();
    for (variant, args) in variants() {
        for (name, tensor) in &unet(&args).unwrap().state().tensors {
            found += &format!("{variant} {name} {:?}\n", tensor.size());
        }
    }
    assert_eq!(found, std::fs::read_to_string(file("names.txt")).unwrap());
}

/// One training pass: weights, dropout, gradients, running statistics; then evaluation with these statistics.
#[test]
fn seeded_networks_equal_monai_in_outputs_gradients_and_statistics() {
    let _one = GENERATOR.lock();
    let golden = golden("unet/golden.pt");
    for (name, args) in variants() {
        tch::manual_seed(11);
        let net = unet(&args).unwrap();
        let size = [&[2, 2], &[8, 8, 4][..net.spatial_dims()]].concat();
        let x = Tensor::randn(&size, (Kind::Float, Device::Cpu));
        let y = net.forward(&x, Mode { train: true, autocast: None }).unwrap();
        y.square().mean(Kind::Float).backward();
        assert_near(&format!("{name}, train"), &y.detach(), &golden[&format!("{name}/train")]);
        let gradients: Vec<Tensor> = parameters(&net)
            .iter()
            .flat_map(|(_, tensor)| {
                let gradient = tensor.grad().view(-1);
                [gradient.norm().view(1), gradient.narrow(0, 0, gradient.size()[0].min(4))]
            })
            .collect();
        assert_near(&format!("{name}, gradients"), &Tensor::cat(&gradients, 0), &golden[&format!("{name}/gradients")]);
        let buffers = net.state().tensors.values().filter(|tensor| !tensor.requires_grad());
        let buffers: Vec<Tensor> = buffers.map(|tensor| tensor.to_kind(Kind::Float).view(-1)).collect();
        let empty = Tensor::zeros([0], (Kind::Float, Device::Cpu));
        let buffers = if buffers.is_empty() { empty } else { Tensor::cat(&buffers, 0) };
        assert_near(&format!("{name}, buffers"), &buffers, &golden[&format!("{name}/buffers")]);
        let y = net.forward(&x, Mode::EVAL).unwrap();
        assert!(!y.requires_grad());
        assert_near(&format!("{name}, eval"), &y, &golden[&format!("{name}/eval")]);
    }
}

/// Every name of MONAI's factories, in evaluation mode.
#[test]
fn layers_equal_those_of_monai_s_factories() {
    let golden = golden("unet/golden.pt");
    let x = || ((Tensor::arange(96, (Kind::Float, Device::Cpu)) * 0.37).sin() * 3.0).reshape([2, 4, 1, 3, 4]);
    let mut names: Vec<&str> = golden.keys().filter(|name| !name.ends_with("/gradient")).map(|name| &**name).collect();
    names.retain(|name| name.starts_with("act/") || name.starts_with("norm/"));
    names.sort_unstable();
    assert_eq!(names.len(), 23);
    for key in names {
        let (kind, name) = key.split_once('/').unwrap();
        let spec = match name {
            "softmax" | "logsoftmax" => pair(name, "dim", 1),
            "swish" => pair(name, "alpha", 1.5),
            "group" => pair(name, "num_groups", 2),
            "layer" => pair(name, "normalized_shape", ints(&[3, 4])),
            "localresponse" => Value::tuple([name.into(), dict(&[("size", 3.into()), ("alpha", 0.1.into())])]),
            name => Value::from(name),
        };
        let mut builder = Builder::default();
        let x = x().set_requires_grad(true);
        let y = if kind == "act" {
            let act = Act::new(&spec, &mut builder, "a").unwrap();
            act.forward(x.shallow_clone(), &builder.finish(&[]).0)
        } else {
            let norm = Norm::new(&spec, 4, &mut builder, "n").unwrap();
            norm.forward(&x, &builder.finish(&[]).0, false).unwrap()
        };
        (&y * Tensor::arange(y.numel() as i64, (Kind::Float, Device::Cpu)).reshape(y.size()))
            .sum(Kind::Float)
            .backward();
        assert_near(key, &y.detach(), &golden[key]);
        assert_near(&format!("{key}, gradient"), &x.grad(), &golden[&format!("{key}/gradient")]);
    }
}

#[test]
fn wrong_arguments_and_inputs_are_errors() {
    let _one = GENERATOR.lock();
    let build = |changes: &[(&'static str, Value)]| {
        let (_, mut args) = variants().swap_remove(1);
        args.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        args.extend_from_slice(changes);
        unet(&args)
    };
    let cases: [(&[(&str, Value)], &str); 14] = [
        (&[("spatial_dims", 1.into())], "expected spatial_dims 2 or 3, found 1"),
        (&[("dimensions", 3.into())], "has no argument `dimensions`"),
        (&[("channels", ints(&[4]))], "expected 2 to 32 entries in `channels`, found 1"),
        (&[("channels", ints(&[4, 0, 8]))], "expected `channels` of at least 1"),
        (&[("channels", ints(&[4, 1 << 20, 1 << 20]))], "would have more than"),
        (&[("strides", ints(&[2]))], "expected 2 entries in `strides`"),
        (&[("strides", Value::list([ints(&[2, 2]), ints(&[2, 2])]))], "`strides` has 2 values, expected 1 or 3"),
        (&[("strides", ints(&[1 << 32, 1 << 32]))], "expected `strides` with a product of at most 65536"),
        (&[("kernel_size", 2.into())], "expected an odd `kernel_size`, found 2"),
        (&[("norm", pair("group", "num_groups", 3))], "16 channels cannot be split into 3 groups"),
        (&[("norm", "bacth".into())], "norm `BACTH` is not supported"),
        (&[("act", pair("prelu", "num_parameters", 5))], "expected num_parameters 1 or"),
        (&[("dropout", 1.5.into())], "expected a dropout probability from 0 to 1"),
        (&[("adn_ordering", "NDX".into())], "letters A, D and N, found 'NDX'"),
    ];
    for (changes, expected) in cases {
        let error = build(changes).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "expected {expected}: {error}");
    }
    let x = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
    let anisotropic = unet(&variants()[3].1).unwrap();
    let plain = unet(&variants()[0].1).unwrap();
    for (net, size, expected) in [
        (&anisotropic, &[1, 2, 8, 10, 8][..], "multiples of [2, 4, 2], found [8, 10, 8]"),
        (&plain, &[1, 2, 8, 8], "expected an input of [N,2,X,Y,Z], found [1, 2, 8, 8]"),
        (&plain, &[1, 2, 4, 4, 6], "multiples of 4, found [4, 4, 6]"),
        (&plain, &[1, 2, 4, 4, 4], "instance norm: expected more than one value per channel"),
    ] {
        let error = net.forward(&x(size), Mode::EVAL).unwrap_err().to_string();
        assert!(error.contains(expected), "expected {expected}: {error}");
    }
}

/// The last of the strides belongs to no level: a warning, as in MONAI.
#[test]
fn a_network_is_built_by_the_names_of_its_class() {
    let _one = GENERATOR.lock();
    for name in ["UNet", "Unet", "monai.networks.nets.UNet", "monai.networks.nets.unet.Unet"] {
        let network: Arc<NetworkHandle> = build(name, &variants()[7].1).unwrap().downcast().unwrap();
        let network = network.0.lock();
        assert_eq!((network.name(), network.out_channels()), ("UNet", 3));
    }
}

/// The probabilities are inverted linearly before argmax, so that a voxel near a tie may fall to the other side.
#[test]
fn inference_with_weights_saved_by_monai_gives_monai_s_labels() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["inference.json", "image.nii.gz", "model.pt"] {
        std::fs::copy(file(name), folder.path().join(name)).unwrap();
    }
    let args = ["run", "--config_file", "inference.json", "--meta_file", "None"];
    let output = Command::new(env!("CARGO_BIN_EXE_segbundle")).args(args).current_dir(&folder).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let labels = |path: &Path| nifti::read(path).unwrap();
    let found = labels(&folder.path().join("eval/image/image_trans.nii.gz"));
    let expected = labels(&file("labels.nii.gz"));
    assert_eq!((found.layout.shape, found.affine), (expected.layout.shape, expected.affine));
    let (found, expected) = (found.to_f32_vec().unwrap(), expected.to_f32_vec().unwrap());
    let differ = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
    println!("{differ} of {} voxels differ", found.len());
    assert!(differ <= 1, "{differ} of {} voxels differ", found.len());
}

#[test]
fn a_network_over_slices_is_refused_by_engines() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(file("inference.json"), folder.path().join("inference.json")).unwrap();
    let args = ["run", "--config_file", "inference.json", "--meta_file", "None", "--network_def#spatial_dims", "2"];
    let output = Command::new(env!("CARGO_BIN_EXE_segbundle")).args(args).current_dir(&folder).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{log}");
    assert!(log.contains("expected a network with spatial_dims 3, found UNet with spatial_dims 2"), "{log}");
}

// ---------------------------------------------------------------- weights that fit in part

/// A network with other initial weights than those in `weights`.
fn other() -> UNet {
    let mut args = variants().swap_remove(1).1;
    args.retain(|(name, _)| *name != "channels" && *name != "strides");
    args.extend([("channels", ints(&[4, 8])), ("strides", ints(&[2]))]);
    unet(&args).unwrap()
}

fn weights() -> Vec<(String, Tensor)> {
    let one = |(name, tensor): (&String, &Tensor)| (name.clone(), tensor.detach().full_like(7));
    other().state().tensors.iter().map(one).collect()
}

/// Names of the tensors of a network that are all 7.
fn sevens(network: &UNet) -> Vec<&str> {
    let is_seven = |tensor: &Tensor| tensor.eq(7).all().int64_value(&[]) == 1;
    network.state().tensors.iter().filter(|(_, tensor)| is_seven(tensor)).map(|(name, _)| name.as_str()).collect()
}

const LAX: Strictness = Strictness { names: false, shapes: false };
const STRICT: Strictness = Strictness { names: true, shapes: true };

#[test]
fn a_prefix_of_all_names_is_taken_off_where_the_load_is_then_complete() {
    let _one = GENERATOR.lock();
    for prefix in ["module.", "_orig_mod.", "net.", "_orig_mod.module."] {
        let tensors = weights().into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor));
        let mut network = other();
        let restored = restore(&mut network, tensors.collect(), STRICT).unwrap();
        assert!(restored.is_complete());
        assert_eq!(sevens(&network).len(), network.state().tensors.len(), "{prefix}");
    }
    // Not complete: an error that names the prefix.
    let with = |count: usize| {
        weights().into_iter().take(count).map(|(name, tensor)| (format!("module.{name}"), tensor)).collect()
    };
    for strictness in [STRICT, LAX] {
        let mut network = other();
        let error = restore(&mut network, with(5), strictness).unwrap_err();
        let hint = error.get_hint().unwrap();
        assert!(hint.contains("begin with `module.`; without it 5 of 5 are the network's"), "{error}");
        assert_eq!(sevens(&network), [""; 0]);
    }
}

#[test]
fn without_strict_what_fits_is_loaded_and_nothing_that_fits_is_an_error() {
    let _one = GENERATOR.lock();
    let mut tensors = weights();
    let names: Vec<String> = tensors.iter().map(|(name, _)| name.clone()).collect();
    tensors[0].0 = "head.weight".into();
    tensors[1].1 = Tensor::full([99], 7, (Kind::Float, Device::Cpu));
    let mut network = other();
    let restored = restore(&mut network, tensors, LAX).unwrap();
    assert!(!restored.is_complete());
    assert_eq!(sevens(&network), names[2..].iter().map(String::as_str).collect::<Vec<_>>());
    let text = restored.to_string();
    let total = names.len();
    assert!(text.starts_with(&format!("{} of {total} variables", total - 2)), "{text}");
    let kept = format!("kept as they were: {} (not in the file), {} (shape [4], in the file [99])", names[0], names[1]);
    assert!(text.contains(&kept) && text.contains("not in the network: head.weight"), "{text}");
    // With strict shapes the second one is an error.
    let tensors = vec![(names[1].clone(), Tensor::zeros([99], (Kind::Float, Device::Cpu)))];
    let error = restore(&mut other(), tensors, Strictness { names: false, shapes: true }).unwrap_err();
    assert!(error.message().contains("(shape [4], in the file [99])"), "{error}");
    let tensors = vec![("encoder.weight".to_owned(), Tensor::zeros([9], (Kind::Float, Device::Cpu)))];
    let error = restore(&mut other(), tensors, LAX).unwrap_err();
    assert!(error.message().contains(&format!("none of the {total} variables of UNet can be restored")), "{error}");
    assert!(error.get_hint().unwrap().contains("the file has encoder.weight"), "{error}");
}
