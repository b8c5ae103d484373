//! Arguments of the transforms, one by one, against MONAI: tests/data/make_parameters.py says how the numbers were made.

use crate::npz;
use crate::transforms::{affine, apply, build, on_image, volume};
use segbundle::component::{Args, BuildContext, Dict, Key, Object, Value};
use segbundle::contracts::{Item, Sample};
use segbundle::image::{Volume, Voxels, orient::default_labels};
use segbundle::python::array::{Array, Flavor, Type};
use std::sync::{Arc, Mutex};

pub fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(b) => (*b).into(),
        serde_json::Value::Number(n) => n.as_i64().map_or_else(|| n.as_f64().unwrap().into(), Value::Int),
        serde_json::Value::String(s) => s.as_str().into(),
        serde_json::Value::Array(items) => Value::list(items.iter().map(value)),
        serde_json::Value::Object(items) => Value::Dict(Dict::new(items.iter().map(|(k, v)| (Key::str(k), value(v))))),
    }
}

/// Tolerance 2e-6 of the largest value: sums in f32 (MONAI's mean, deviation and convolutions) against ours; exact where
/// values are only moved.
#[test]
fn arguments_do_what_monais_do() {
    let data = npz::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/parameters.npz")).unwrap();
    let values: Vec<i16> = data["image"].f64().into_iter().map(|x| x as i16).collect();
    let mut compared = 0;
    for case in data.keys().filter_map(|key| key.strip_suffix("/json")) {
        let json: serde_json::Value = serde_json::from_slice(&data[&format!("{case}/json")].u8()).unwrap();
        let name = json[0].as_str().unwrap();
        let mut args = vec![("keys", Value::from("image"))];
        args.extend(json[1].as_object().unwrap().iter().map(|(key, json)| (key.as_str(), value(json))));
        let mut image = volume(&values, [2, 7, 8, 9], affine(&data["affine"].f64()));
        if name == "CastToTyped" {
            image = image.map_f32(|voxels, _| voxels.iter_mut().for_each(|x| *x = x.abs() + 0.5)).unwrap();
        }
        let out = on_image(&*build(name, &args).unwrap(), image).unwrap();
        let expected = &data[&format!("{case}/out")];
        assert_eq!(out.layout.shape.to_vec(), expected.shape, "{case} {json}");
        let (ours, theirs) = (out.to_f32_vec().unwrap(), expected.f32());
        let most = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let moved = matches!(
            name,
            "Orientationd"
                | "CenterSpatialCropd"
                | "SpatialPadd"
                | "DivisiblePadd"
                | "BorderPadd"
                | "CropForegroundd"
                | "CastToTyped"
        );
        let largest = theirs.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        println!("{case}: {json}: at most {most:e} apart");
        assert!(most <= if moved { 0.0 } else { 2e-6 * largest }, "{case} {json}: {most}");
        let expected = affine(&data[&format!("{case}/affine")].f64());
        let error = out
            .affine
            .0
            .iter()
            .flatten()
            .zip(expected.0.iter().flatten())
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        assert!(error < 1e-12, "{case} {json}: affine differs by {error}");
        compared += 1;
    }
    assert!(compared > 80, "{compared}");
}

#[test]
fn voxels_keep_the_files_type_until_something_computes() {
    let image = volume(&[1, 2, 3, 4], [1, 1, 2, 2], segbundle::image::Affine::IDENTITY);
    let mut sample = Sample::default();
    sample.set("image", Item::Image(image));
    for (name, more) in
        [("EnsureTyped", vec![("dtype", Value::from("float32"))]), ("Orientationd", vec![("axcodes", "LPS".into())])]
    {
        sample = apply(&*build(name, &[vec![("keys", "image".into())], more].concat()).unwrap(), sample).unwrap();
    }
    let volume = sample.image("image").unwrap();
    assert!(matches!(volume.voxels, Voxels::I16(_)));
    assert_eq!(volume.to_f32_vec().unwrap(), [3.0, 4.0, 1.0, 2.0]);
    assert_eq!(default_labels()[1][0], "P");
}

fn message(name: &str, args: &[(&str, Value)]) -> String {
    build(name, args).err().unwrap_or_else(|| panic!("{name} was built")).to_string()
}

#[test]
fn mistakes_in_arguments_are_named() {
    let keys = ("keys", Value::from("image"));
    assert!(message("Spacingd", std::slice::from_ref(&keys)).contains("needs argument `pixdim`"));
    assert!(message("Spacingd", &[keys.clone(), ("pixdim", 1.0.into()), ("mode", 3.into())]).contains("spline orders"));
    let two = Value::from(vec!["bilinear", "nearest"]);
    assert!(
        message("Spacingd", &[keys.clone(), ("pixdim", 1.0.into()), ("mode", two)])
            .contains("`mode` has 2 values, expected 1 or 1")
    );
    assert!(message("Orientationd", std::slice::from_ref(&keys)).contains("needs `axcodes`"));
    assert!(
        message("Orientationd", &[keys.clone(), ("axcodes", "RAX".into())])
            .contains("expected one of L, R, P, A, I, S, found `X`")
    );
    assert!(message("Orientationd", &[keys.clone(), ("axcodes", "RLS".into())]).contains("twice"));
    assert!(
        message(
            "ScaleIntensityRanged",
            &[keys.clone(), ("a_min", 0.into()), ("a_max", 1.into()), ("clip", true.into())]
        )
        .contains("clip")
    );
    assert!(
        message("GaussianSmoothd", &[keys.clone(), ("sigma", 1.0.into()), ("approx", "box".into())])
            .contains("\"box\"")
    );
    assert!(
        message("SpatialPadd", &[keys.clone(), ("spatial_size", 4.into()), ("mode", "mean".into())]).contains("`mode`")
    );
    assert!(message("NormalizeIntensityd", &[keys, ("nonzeros", true.into())]).contains("did you mean `nonzero`"));
}

#[test]
fn missing_keys_are_errors_unless_allowed() {
    let strict = build("ScaleIntensityd", &[("keys", "image".into())]).unwrap();
    let error = apply(&*strict, Sample::default()).err().unwrap();
    assert!(error.message().contains("no key `image`"), "{error}");
    let lenient = build("ScaleIntensityd", &[("keys", "image".into()), ("allow_missing_keys", true.into())]).unwrap();
    assert!(apply(&*lenient, Sample::default()).is_ok());
}

#[test]
fn an_image_without_foreground_is_an_error() {
    let crop = build("CropForegroundd", &[("keys", "image".into()), ("source_key", "image".into())]).unwrap();
    let error = on_image(&*crop, volume(&[0; 8], [1, 2, 2, 2], segbundle::image::Affine::IDENTITY)).err().unwrap();
    assert!(error.message().contains("no foreground"), "{error}");
}

#[test]
fn a_damaged_affine_is_an_error() {
    let image = volume(&[0; 8], [1, 2, 2, 2], segbundle::image::Affine([[0.0; 4]; 4]));
    for (name, more) in [("Spacingd", ("pixdim", Value::from(1.0))), ("Orientationd", ("axcodes", "RAS".into()))] {
        let error = on_image(&*build(name, &[("keys", "image".into()), more]).unwrap(), image.clone()).err().unwrap();
        assert!(error.message().contains("affine"), "{error}");
    }
    let tiny = volume(&[0; 8], [1, 2, 2, 2], segbundle::image::Affine::IDENTITY);
    let fine = build("Spacingd", &[("keys", "image".into()), ("pixdim", 1e-9.into())]).unwrap();
    assert!(on_image(&*fine, tiny).err().unwrap().message().contains("at most"));
}

#[test]
fn samples_can_be_copied_selected_and_pruned() {
    let mut sample = Sample::default();
    sample.set("a", Item::Value(1.into()));
    sample.set("b", Item::Value(Value::Dict(Dict::new([(Key::str("x"), 1.into()), (Key::str("y"), 2.into())]))));
    let keys = |sample: &Sample| sample.items.keys().map(|key| key.to_string()).collect::<Vec<_>>().join(" ");
    let sample = apply(&*build("CopyItemsd", &[("keys", "a".into()), ("times", 2.into())]).unwrap(), sample).unwrap();
    assert_eq!(keys(&sample), "a b a_0 a_1");
    let sample = apply(
        &*build(
            "DeleteItemsd",
            &[("keys", Value::from(vec!["^a_", "b.x"])), ("use_re", Value::from(vec![true, false]))],
        )
        .unwrap(),
        sample,
    )
    .unwrap();
    assert_eq!(keys(&sample), "a b");
    let Some(Item::Value(Value::Dict(inner))) = sample.get("b") else { panic!() };
    assert_eq!(inner.len(), 1);
    let sample = apply(&*build("SelectItemsd", &[("keys", "b".into())]).unwrap(), sample).unwrap();
    assert_eq!(keys(&sample), "b");
}

/// `lambda x: x < limit` without the interpreter.
pub struct Below(pub f64);

impl Object for Below {
    fn type_name(&self) -> &str {
        "function"
    }
    fn callable(&self) -> bool {
        true
    }
    fn call(&self, args: Args, _call: &mut BuildContext) -> segbundle::error::Result<Value> {
        let array = args.positional[0].downcast::<Array>().unwrap();
        let values = array.values().into_iter().map(|x| f64::from(u8::from(x < self.0))).collect();
        Array::from_values(array.shape(), values, Type::Bool, Flavor::Torch).map(Value::object)
    }
}

#[test]
fn functions_work_on_images() {
    let image = || volume(&[5, -1, 7, -2, 8, 9], [1, 1, 2, 3], segbundle::image::Affine::IDENTITY);
    let below = |limit| Value::object(Below(limit));
    let lambda =
        build("Lambdad", &[("keys", "image".into()), ("func", below(0.0)), ("overwrite", "mask".into())]).unwrap();
    let mut sample = Sample::default();
    sample.set("image", Item::Image(image()));
    let sample = apply(&*lambda, sample).unwrap();
    assert_eq!(sample.image("mask").unwrap().to_f32_vec().unwrap(), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    assert_eq!(sample.image("image").unwrap().to_f32_vec().unwrap()[0], 5.0);
    let crop = |limit| {
        build(
            "CropForegroundd",
            &[("keys", "image".into()), ("source_key", "image".into()), ("select_fn", below(limit))],
        )
        .unwrap()
    };
    assert_eq!(on_image(&*crop(0.0), image()).unwrap().to_f32_vec().unwrap(), [5.0, -1.0, -2.0, 8.0]);
    assert!(on_image(&*crop(-9.0), image()).err().unwrap().message().contains("selected by `select_fn`"));
    assert!(message("Lambdad", &[("keys", "image".into()), ("func", 3.into())]).contains("expected a function"));
}

/// A function of an array's shape: what Lambdad shows it, and an array of another shape with as many ones.
struct Reshape(Arc<Mutex<Vec<usize>>>, &'static [usize]);

impl Object for Reshape {
    fn type_name(&self) -> &str {
        "function"
    }
    fn callable(&self) -> bool {
        true
    }
    fn call(&self, args: Args, _call: &mut BuildContext) -> segbundle::error::Result<Value> {
        *self.0.lock().unwrap() = args.positional[0].downcast::<Array>().unwrap().shape().to_vec();
        let ones = vec![1.0; self.1.iter().product()];
        Array::from_values(self.1, ones, Type::F32, Flavor::Torch).map(Value::object)
    }
}

/// MONAI's function sees the array as it is stored until EnsureChannelFirstd: [X,Y,Z] or [X,Y,Z,C].
#[test]
fn a_function_sees_and_sets_the_rank_that_an_image_has_in_monai() {
    let image = |channel_first: bool, channels: Option<usize>| {
        let c = channels.unwrap_or(1);
        let values: Vec<i16> = (0..c as i16 * 24).collect();
        let mut volume = volume(&values, [c, 2, 3, 4], segbundle::image::Affine::IDENTITY);
        volume.channel_first = channel_first;
        volume.header = Arc::new(segbundle::image::ImageHeader { channels, ..(*volume.header).clone() });
        volume
    };
    let apply = |volume: Volume, made: &'static [usize]| {
        let seen = Arc::new(Mutex::new(vec![]));
        let function = Value::object(Reshape(seen.clone(), made));
        let result = on_image(&*build("Lambdad", &[("keys", "image".into()), ("func", function)]).unwrap(), volume);
        let seen = seen.lock().unwrap().clone();
        (seen, result.map(|volume| (volume.layout.shape, volume.channel_first, volume.header.channels)))
    };
    type Case = (bool, Option<usize>, &'static [usize], &'static [usize], [usize; 4], bool, Option<usize>);
    let cases: [Case; 6] = [
        (true, None, &[1, 2, 3, 4], &[5, 2, 3, 4], [5, 2, 3, 4], true, None),
        (false, None, &[2, 3, 4], &[2, 3, 4], [1, 2, 3, 4], false, None),
        (false, None, &[2, 3, 4], &[1, 2, 3, 4], [1, 2, 3, 4], true, Some(1)),
        (false, Some(6), &[2, 3, 4, 6], &[2, 3, 4, 2], [2, 2, 3, 4], false, Some(2)),
        (false, Some(6), &[2, 3, 4, 6], &[2, 3, 4], [1, 2, 3, 4], false, None),
        (true, Some(6), &[6, 2, 3, 4], &[1, 2, 2, 2], [1, 2, 2, 2], true, Some(6)),
    ];
    for (channel_first, channels, sees, made, shape, after, channels_after) in cases {
        let (seen, result) = apply(image(channel_first, channels), made);
        assert_eq!(seen, sees);
        assert_eq!(result.unwrap(), (shape, after, channels_after), "{made:?}");
    }
    let error = apply(image(true, None), &[2, 3, 4]).1.err().unwrap();
    assert!(error.to_string().contains("x[:1] instead of x[0]"), "{error}");
}
