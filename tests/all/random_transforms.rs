//! Random transforms against MONAI with seeded random states, bit for bit: data/make_random.py says how they were made.

use crate::npz;
use crate::transform_parameters::value;
use crate::transforms::{affine, build, case_context};
use segbundle::component::Value;
use segbundle::contracts::{Item, RngStates, Sample, Transform, TransformContext};
use segbundle::image::{Affine, Layout, Volume, Voxels};
use std::sync::Arc;

const SHAPE: [usize; 3] = [9, 8, 7];

/// The same values in memory as a NIfTI reader leaves them (X fastest) or in C order.
fn image(values: Voxels, channels: usize) -> Volume {
    let affine = Affine([[1.5, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.5, 0.0], [0.0, 0.0, 0.0, 1.0]]);
    let layout = Layout::contiguous([channels, SHAPE[0], SHAPE[1], SHAPE[2]]);
    Volume::new("case.nii.gz", values, layout, affine)
}

fn sample() -> Sample {
    let voxels: i64 = SHAPE.iter().product::<usize>() as i64;
    let values: Vec<f32> = (0..2 * voxels).map(|i| ((i * 7919) % 2003 - 1001) as f32 / 250.0).collect();
    let labels: Vec<u8> = (0..voxels).map(|i| u8::from(i * 31 / 17 % 5 == 2)).collect();
    let mut sample = Sample::default();
    sample.set("image", Item::Image(image(Voxels::F32(values.into()), 2)));
    sample.set("label", Item::Image(image(Voxels::U8(labels.into()), 1)));
    sample
}

fn compose(steps: &serde_json::Value) -> Arc<dyn Transform> {
    let step = |step: &serde_json::Value| {
        let args: Vec<(&str, Value)> =
            step[1].as_object().unwrap().iter().map(|(key, json)| (key.as_str(), value(json))).collect();
        Value::object(segbundle::contracts::TransformHandle(build(step[0].as_str().unwrap(), &args).unwrap()))
    };
    build("Compose", &[("transforms", Value::list(steps.as_array().unwrap().iter().map(step)))]).unwrap()
}

#[test]
fn random_transforms_equal_monai() {
    let data = npz::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/random.npz")).unwrap();
    let (mut compared, mut wrong) = (0, vec![]);
    for case in data.keys().filter_map(|key| key.strip_suffix("/json")) {
        let json: serde_json::Value = serde_json::from_slice(&data[&format!("{case}/json")].u8()).unwrap();
        let transform = compose(&json[0]);
        let mut rng = RngStates::default();
        transform.seed(json[1].as_u64().unwrap() as u32, &mut rng);
        for run in 0..5 {
            // A clone of the random states draws the same: what a checkpoint keeps.
            let mut snapshot = rng.clone();
            let apply = |rng: &mut RngStates| {
                transform
                    .apply(sample(), &mut TransformContext { case: &case_context(), writes: &mut vec![], rng })
                    .unwrap()
            };
            let (samples, again) = (apply(&mut rng), apply(&mut snapshot));
            assert_eq!(samples.len(), again.len());
            assert!(!data.contains_key(&format!("{case}/{run}/{}/image", samples.len())), "{case}: too few samples");
            for (at, (one, again)) in samples.iter().zip(&again).enumerate() {
                let place = format!("{case}/{run}/{at}");
                for key in ["image", "label"] {
                    let (ours, expected) = (one.image(key).unwrap(), &data[&format!("{place}/{key}")]);
                    let (values, theirs) = (ours.to_f32_vec().unwrap(), expected.f32());
                    assert_eq!(values, again.image(key).unwrap().to_f32_vec().unwrap(), "{place}");
                    if ours.layout.shape.to_vec() != expected.shape {
                        wrong.push(format!(
                            "{place}/{key}: shape {:?}, expected {:?}",
                            ours.layout.shape, expected.shape
                        ));
                        continue;
                    }
                    let most = values.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    // Convolutions add in another order.
                    if most > if case == "smooth" { 2e-6 } else { 0.0 } {
                        wrong.push(format!("{place}/{key}: {most:e}"));
                    }
                    compared += 1;
                }
                let expected = affine(&data[&format!("{place}/affine")].f64());
                let found = one.image("image").unwrap().affine;
                let error = found
                    .0
                    .iter()
                    .flatten()
                    .zip(expected.0.iter().flatten())
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f64::max);
                if error > 1e-12 {
                    wrong.push(format!("{place}: affine {error:e}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 200, "{compared}");
}

#[test]
fn a_compose_inside_draws_a_seed_of_its_own() {
    // mt.Compose([mt.Compose([mt.RandFlipd("image", 0.5)]), mt.RandFlipd("image", 0.5)]).set_random_state(3): the
    // first draw of each RandFlipd's random state, seeded as MONAI does it by hand.
    let flip = |axis: i64| {
        build("RandFlipd", &[("keys", "image".into()), ("prob", 0.5.into()), ("spatial_axis", axis.into())]).unwrap()
    };
    let handle = |transform: Arc<dyn Transform>| Value::object(segbundle::contracts::TransformHandle(transform));
    let inner = build("Compose", &[("transforms", Value::list([handle(flip(0))]))]).unwrap();
    let outer = build("Compose", &[("transforms", Value::list([handle(inner), handle(flip(1))]))]).unwrap();
    let mut rng = RngStates::default();
    outer.seed(3, &mut rng);
    use segbundle::random::RandomState;
    let mut root = RandomState::new(3);
    let (first, second) = (root.next_u32(), root.next_u32());
    let first = RandomState::new(first).next_u32();
    // Two random states each: the chance's, and the one of the transform inside.
    let expected = [first, first, second, second].map(RandomState::new);
    assert!(rng.states().eq(expected.iter()));
    let saved = rng.states().cloned().collect();
    let apply = |rng: &mut RngStates| {
        outer.apply(sample(), &mut TransformContext { case: &case_context(), writes: &mut vec![], rng }).unwrap()
    };
    let _ = apply(&mut rng);
    assert!(!rng.states().eq(expected.iter()) && rng.restore(saved) && rng.states().eq(expected.iter()));
    assert!(!rng.restore(vec![]));
}

#[test]
fn wrong_arguments_and_images_are_errors() {
    let fails = |name: &str, args: &[(&str, Value)], expected: &str| {
        let mut all = vec![("keys", Value::from("image"))];
        all.extend(args.iter().cloned());
        let transform = build(name, &all);
        let error = match transform {
            Err(error) => error,
            Ok(transform) => {
                let mut cx =
                    TransformContext { case: &case_context(), writes: &mut vec![], rng: &mut RngStates::default() };
                transform.apply(sample(), &mut cx).err().unwrap_or_else(|| panic!("{name} {expected}"))
            }
        };
        assert!(error.to_string().contains(expected), "{error}");
    };
    fails("RandFlipd", &[("spatial_axis", 3.into())], "expected an axis from 0 to 2");
    fails("RandRotate90d", &[("spatial_axes", vec![0, 0].into())], "two different axes");
    fails(
        "RandSpatialCropd",
        &[("roi_size", 20.into()), ("random_size", true.into())],
        "is larger than the largest size",
    );
    fails("RandScaleIntensityd", &[("factors", vec![1.0, 2.0, 3.0].into())], "a number or a pair");
    let crop = |more: &[(&'static str, Value)]| {
        let mut args = vec![("label_key", "label".into()), ("spatial_size", 4.into())];
        args.extend(more.iter().cloned());
        args
    };
    fails("RandCropByPosNegLabeld", &crop(&[("pos", 0.into()), ("neg", 0.into())]), "not both 0");
    fails(
        "RandCropByPosNegLabeld",
        &[("label_key", "label".into()), ("spatial_size", 20.into())],
        "is larger than the label image",
    );
    fails("RandCropByPosNegLabeld", &crop(&[("fg_indices_key", "fg".into())]), "not supported");
}

/// `RandShiftIntensityd("image", (90.0, 110.0), prob=1.0, safe=safe)` of MONAI 1.6.1 with `set_random_state(3)`, on
/// `torch.tensor([[[[0, 100, 200, 255]]]], dtype=dtype)`.
#[test]
fn a_shifted_integer_image_keeps_its_type() {
    let cases = [
        ("uint8", false, [104.0, 204.0, 48.0, 103.0]),
        ("int16", false, [104.0, 204.0, 304.0, 359.0]),
        ("uint8", true, [104.0, 204.0, 255.0, 255.0]),
        ("int16", true, [104.0, 204.0, 304.0, 359.0]),
    ];
    for (dtype, safe, expected) in cases {
        let cast = Value::object(segbundle::contracts::TransformHandle(
            build("CastToTyped", &[("keys", "image".into()), ("dtype", dtype.into())]).unwrap(),
        ));
        let offsets = Value::list([90.0.into(), 110.0.into()]);
        let args = [("keys", "image".into()), ("offsets", offsets), ("prob", 1.0.into()), ("safe", safe.into())];
        let shift = build("RandShiftIntensityd", &args).unwrap();
        let mut streams = RngStates::default();
        shift.seed(3, &mut streams);
        let shift = Value::object(segbundle::contracts::TransformHandle(shift));
        let both = build("Compose", &[("transforms", Value::list([cast, shift]))]).unwrap();
        let mut sample = Sample::default();
        let voxels = Voxels::F32(vec![0.0, 100.0, 200.0, 255.0].into());
        let layout = Layout::contiguous([1, 1, 1, 4]);
        sample.set("image", Item::Image(Volume { layout, ..image(voxels, 1) }));
        let mut samples = both
            .apply(sample, &mut TransformContext { case: &case_context(), writes: &mut vec![], rng: &mut streams })
            .unwrap();
        assert_eq!(samples.remove(0).image("image").unwrap().to_f32_vec().unwrap(), expected, "{dtype}, safe {safe}");
    }
}
