//! Transforms of label maps against MONAI: tests/data/make_label_maps.py says how the arrays were made.

use crate::npz::{self, Array};
use crate::transform_parameters::value;
use crate::transforms::{apply, build, case_context};
use segbundle::component::{FromValue, Value};
use segbundle::contracts::{CaseContext, Item, Sample, Transform, TransformContext};
use segbundle::image::{Affine, DType, Grid, ImageHeader, Layout, Volume, Voxels};
use segbundle::prediction::{LabelVolume, Prediction, PredictionState};
use serde_json::json;
use std::sync::Arc;

const AFFINE: Affine = Affine([[0.8, 0.0, 0.0, 0.0], [0.0, 1.5, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]]);

/// An image `[C,X,Y,Z]` or `[C,X,Y]`, stored in C or Fortran order.
fn image(array: &Array, dtype: DType, fortran: bool) -> Volume {
    let [c, x, y] = [0, 1, 2].map(|axis| array.shape[axis]);
    let shape = [c, x, y, array.shape.get(3).copied().unwrap_or(1)];
    let header = Arc::new(ImageHeader {
        path: "case.nii.gz".into(),
        grid: Grid { shape: [shape[1], shape[2], shape[3]], affine: AFFINE },
        spatial_dims: array.shape.len() - 1,
        channels: None,
        space: None,
        series: None,
    });
    let volume = Volume {
        voxels: Voxels::F32(array.f32().into()).cast(dtype).unwrap(),
        layout: Layout::contiguous(shape),
        affine: AFFINE,
        channel_first: true,
        integer_type: None,
        header,
        trace: vec![],
    };
    if !fortran {
        return volume;
    }
    let layout = Layout::fortran(shape);
    let values = volume.to_f32_vec().unwrap();
    let mut turned = vec![0f32; values.len()];
    let positions = (0..shape[0]).flat_map(|c| {
        (0..shape[1]).flat_map(move |x| (0..shape[2]).flat_map(move |y| (0..shape[3]).map(move |z| [c, x, y, z])))
    });
    positions.zip(values).for_each(|(at, value)| turned[layout.position(at)] = value);
    Volume { voxels: Voxels::F32(turned.into()).cast(dtype).unwrap(), layout, ..volume }
}

fn applied(transform: &dyn Transform, item: Item) -> Volume {
    let mut sample = Sample::default();
    sample.set("image", item);
    match apply(transform, sample).unwrap().take("image").unwrap() {
        Item::Image(volume) => volume,
        Item::Prediction(prediction) => prediction.into_volume(&case_context()).unwrap(),
        Item::Value(value) => panic!("{value:?}"),
    }
}

/// The label map that is equivalent to one-hot channels, if there is one.
fn as_labels(channels: &Volume) -> Option<Volume> {
    let values = channels.to_f32_vec().unwrap();
    let [classes, x, y, z] = channels.layout.shape;
    let label = |at: usize| {
        let mut set = (0..classes).filter(|class| values[class * x * y * z + at] == 1.0);
        set.next().filter(|_| set.next().is_none()).map(|class| class as u8)
    };
    let labels: Option<Vec<u8>> = (0..x * y * z).map(label).collect();
    Some(Volume { voxels: Voxels::U8(labels?.into()), layout: Layout::contiguous([1, x, y, z]), ..channels.clone() })
}

#[test]
fn transforms_of_label_maps_agree_with_monai_on_images_and_predictions() {
    let data = npz::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/label_maps.npz")).unwrap();
    let (mut compared, mut one_hot) = (0, 0);
    for case in data.keys().filter_map(|key| key.strip_suffix("/json")) {
        let json: serde_json::Value = serde_json::from_slice(&data[&format!("{case}/json")].u8()).unwrap();
        let (name, map) = (json[0].as_str().unwrap(), json[1].as_str().unwrap());
        let mut args = vec![("keys", Value::from("image"))];
        args.extend(json[2].as_object().unwrap().iter().map(|(key, json)| (key.as_str(), value(json))));
        let transform = build(name, &args).unwrap();
        let (from, expected) = (&data[&format!("maps/{map}")], &data[&format!("{case}/out")]);
        let dtype = match map {
            "u1" | "masks" | "flat" | "shells" | "shells_onehot" | "constant" | "zeros" => DType::U8,
            "i2" => DType::I16,
            "i4" => DType::I32,
            _ => DType::F32,
        };
        let check = |what: &str, out: &Volume| {
            let dims = out.header.spatial_dims;
            assert_eq!(out.layout.shape[..=dims], expected.shape, "{json} {what}");
            let (found, expected) = (out.to_f32_vec().unwrap(), expected.f32());
            let differing = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
            assert_eq!(differing, 0, "{json} {what}: of {} voxels", found.len());
            assert_eq!(out.affine, AFFINE, "{json} {what}");
        };
        for fortran in [false, true] {
            let out = applied(&*transform, Item::Image(image(from, dtype, fortran)));
            check("image", &out);
            let expected = match json[3].as_str().unwrap() {
                "bool" => "uint8",
                // A float type may be stored as integers.
                "float32" if name == "MapLabelValued" && !out.voxels.dtype().is_float() => out.voxels.dtype().name(),
                dtype => dtype,
            };
            assert_eq!(out.voxels.dtype().name(), expected, "{json}");
        }
        let prediction =
            |volume: Volume, onehot| Prediction::from_label_volume(LabelVolume { volume, onehot }).unwrap();
        check("prediction", &applied(&*transform, Item::Prediction(prediction(image(from, dtype, false), None))));
        compared += 1;
        if let Some(labels) = as_labels(&image(from, dtype, false)).filter(|_| from.shape[0] > 1) {
            let classes = Some(from.shape[0]);
            let wide = labels.clone().cast(DType::U16).unwrap();
            for labels in [labels, wide] {
                let out = applied(&*transform, Item::Prediction(prediction(labels, classes)));
                check("one-hot prediction", &out);
            }
            one_hot += 1;
        }
    }
    assert!(compared > 190 && one_hot > 35, "{compared} {one_hot}");
}

#[test]
fn chains_of_transforms_agree_with_monai_on_images_and_predictions() {
    let data = npz::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/label_maps.npz")).unwrap();
    let mut compared = 0;
    for chain in data.keys().filter_map(|key| key.strip_suffix("/steps")) {
        let json: serde_json::Value = serde_json::from_slice(&data[&format!("{chain}/steps")].u8()).unwrap();
        let steps: Vec<(&str, serde_json::Value)> =
            json[1].as_array().unwrap().iter().map(|step| (step[0].as_str().unwrap(), step[1].clone())).collect();
        let map = image(&data[&format!("maps/{}", json[0].as_str().unwrap())], DType::U8, false);
        let prediction = Prediction::from_label_volume(LabelVolume { volume: map.clone(), onehot: None }).unwrap();
        let expected = &data[&format!("{chain}/out")];
        for item in [Item::Image(map), Item::Prediction(prediction)] {
            let out = match through(&steps, item) {
                Item::Image(volume) => volume,
                Item::Prediction(prediction) => prediction.into_volume(&case_context()).unwrap(),
                Item::Value(value) => panic!("{value:?}"),
            };
            assert_eq!(out.layout.shape[..], expected.shape, "{json}");
            assert!(out.to_f32_vec().unwrap() == expected.f32(), "{json}");
        }
        compared += 1;
    }
    assert_eq!(compared, 3);
}

fn map_of(values: &[u8]) -> Volume {
    Volume::new("case.nii.gz", Voxels::U8(values.into()), Layout::contiguous([1, 1, 1, values.len()]), AFFINE)
}

fn through(steps: &[(&str, serde_json::Value)], mut item: Item) -> Item {
    for (name, args) in steps {
        let mut all = vec![("keys", Value::from("image"))];
        all.extend(args.as_object().unwrap().iter().map(|(key, json)| (key.as_str(), value(json))));
        let mut sample = Sample::default();
        sample.set("image", item);
        item = apply(&*build(name, &all).unwrap(), sample).unwrap().take("image").unwrap();
    }
    item
}

/// 200 mm³ at 0.8·1.5·2.0 mm are 83.3 voxels; 5 mm³ are 2.08, so three voxels stay. The chain is that of inference.json;
/// no step expands the channels: 255 of them do not fit into the budget.
#[test]
fn small_components_of_all_labels_are_removed_without_one_hot_channels() {
    let map = [1u8, 1, 1, 0, 2, 2, 1, 0, 0, 0, 3, 3, 3, 254, 1, 1];
    let volume = map_of(&map);
    let mut sample = Sample::default();
    let labels = LabelVolume { volume, onehot: None };
    sample.set("image", Item::Prediction(Prediction::from_label_volume(labels).unwrap()));
    let case = CaseContext { budget_bytes: 600, ..case_context() };
    let mut cx = TransformContext { case: &case, writes: &mut vec![], rng: &mut Default::default() };
    for (name, args) in [
        ("AsDiscreted", json!({"to_onehot": 255})),
        ("RemoveSmallObjectsd", json!({"min_size": 5, "by_measure": true})),
        ("AsDiscreted", json!({"argmax": true})),
    ] {
        let mut all = vec![("keys", Value::from("image"))];
        all.extend(args.as_object().unwrap().iter().map(|(key, json)| (key.as_str(), value(json))));
        sample = build(name, &all).unwrap().apply(sample, &mut cx).unwrap().remove(0);
    }
    let Item::Prediction(prediction) = sample.take("image").unwrap() else { panic!() };
    assert!(matches!(&prediction.state, PredictionState::Labels { onehot: None, map: Voxels::U8(_), .. }));
    let out = prediction.into_volume(&case).unwrap().to_f32_vec().unwrap();
    assert_eq!(out, [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 3, 3, 3, 0, 0, 0].map(|label| label as f32));
}

/// Voxels of no channel are zero in all channels, as in MONAI, also where the channels are metrics' input.
#[test]
fn removed_voxels_of_one_hot_channels_belong_to_no_channel() {
    let steps = [("AsDiscreted", json!({"to_onehot": 3})), ("KeepLargestConnectedComponentd", json!({}))];
    let out = through(
        &steps,
        Item::Prediction(
            Prediction::from_label_volume(LabelVolume { volume: map_of(&[1, 1, 0, 1, 2]), onehot: None }).unwrap(),
        ),
    );
    let Item::Prediction(prediction) = out else { panic!() };
    let (dense, _) = prediction.dense(&case_context()).unwrap();
    let values: Vec<f32> = Vec::try_from(dense.reshape([-1])).unwrap();
    assert_eq!(values, [0., 0., 1., 0., 0., 1., 1., 0., 0., 0., 0., 0., 0., 0., 1.]);
}

#[test]
fn wrong_arguments_are_named() {
    let on = |name: &str, args: serde_json::Value, values: &[u8], onehot: Option<usize>| {
        let mut all = vec![("keys", Value::from("image"))];
        all.extend(args.as_object().unwrap().iter().map(|(key, json)| (key.as_str(), value(json))));
        let transform = match build(name, &all) {
            Ok(transform) => transform,
            Err(error) => return error.to_string(),
        };
        let mut sample = Sample::default();
        let labels = LabelVolume { volume: map_of(values), onehot };
        sample.set("image", Item::Prediction(Prediction::from_label_volume(labels).unwrap()));
        apply(&*transform, sample).err().map_or(String::new(), |error| error.to_string())
    };
    for (name, args, onehot, expected) in [
        (
            "KeepLargestConnectedComponentd",
            json!({"num_components": 0}),
            None,
            "`num_components` is 0, expected at least 1",
        ),
        ("KeepLargestConnectedComponentd", json!({"connectivity": 4}), None, "`connectivity` is 4, expected 1 to 3"),
        (
            "KeepLargestConnectedComponentd",
            json!({"applied_labels": 3}),
            Some(3),
            "`applied_labels` contains 3, expected numbers of channels from 0 to 2",
        ),
        ("FillHolesd", json!({"applied_labels": [7]}), Some(3), "`applied_labels` contains 7"),
        ("LabelToMaskd", json!({"select_labels": [-1]}), Some(3), "`select_labels` contains -1"),
        ("RemoveSmallObjectsd", json!({"min_size": -1}), None, "`min_size` is -1, expected at least 0"),
        (
            "MapLabelValued",
            json!({"orig_labels": [1], "target_labels": []}),
            None,
            "`orig_labels` has 1 values and `target_labels` 0",
        ),
        (
            "MapLabelValued",
            json!({"orig_labels": [1], "target_labels": [300], "dtype": "uint8"}),
            None,
            "`target_labels` contains 300, which is not a value of uint8",
        ),
    ] {
        let error = on(name, args, &[0, 1, 2], onehot);
        assert!(error.contains(expected), "{name}: {error:?}, expected {expected}");
    }
}

#[test]
fn structures_are_kept_by_name_and_unknown_names_are_suggested() {
    let transform = |structure: &str| {
        let names = value(&json!({"1": "spleen", "2": "liver"}));
        let args = [("keys", "image".into()), ("names", names), ("structures", structure.into())];
        crate::common::build("segbundle.transforms.KeepLargestStructuresd", &args)
    };
    let error = transform("splen").unwrap_err().to_string();
    assert!(error.contains("unknown structure `splen`") && error.contains("`spleen`"), "{error}");
    let transform = Arc::<dyn Transform>::from_value(&transform("spleen").unwrap()).unwrap();
    let map = Voxels::U8(vec![1, 0, 1, 1, 2, 0, 2, 2].into());
    let volume = Volume::new("a.nii.gz", map, Layout::contiguous([1, 8, 1, 1]), AFFINE);
    let kept = applied(&*transform, Item::Image(volume)).to_f32_vec().unwrap();
    assert_eq!(kept, [0.0, 0.0, 1.0, 1.0, 2.0, 0.0, 2.0, 2.0]);
}
