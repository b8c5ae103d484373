//! Preprocessing against MONAI: tests/data/make_transforms.py says how the numbers were made.

use crate::common::folder_of;
use crate::npz::{self, Npz};
use segbundle::component::{Args, BuildContext, FromValue, Value};
use segbundle::contracts::{
    CaseContext, Item, Plan, Sample, Transform, TransformContext, VoxelLocation, apply_all, apply_to_predictions,
};
use segbundle::formats::nifti;
use segbundle::image::{Affine, DType, Layout, Volume, Voxels};
use segbundle::registry::table;
use std::io::Read;
use std::sync::Arc;

/// A transform by its MONAI name, arguments as a config gives them.
pub fn build(name: &str, args: &[(&str, Value)]) -> Result<Arc<dyn Transform>, segbundle::error::Error> {
    let args = Args::named(args.iter().map(|(key, value)| ((*key).into(), value.clone())));
    let component = table().component(name).unwrap_or_else(|| panic!("no component {name}"));
    Ok(Arc::from_value(&(component.build)(args, &mut BuildContext::default())?).unwrap())
}

pub fn case_context() -> CaseContext {
    CaseContext::quiet()
}

pub fn apply(transform: &dyn Transform, sample: Sample) -> Result<Sample, segbundle::error::Error> {
    let mut samples = transform.apply(
        sample,
        &mut TransformContext { case: &case_context(), writes: &mut vec![], rng: &mut Default::default() },
    )?;
    assert_eq!(samples.len(), 1);
    Ok(samples.remove(0))
}

pub fn on_image(transform: &dyn Transform, volume: Volume) -> Result<Volume, segbundle::error::Error> {
    let mut sample = Sample::default();
    sample.set("image", Item::Image(volume));
    Ok(apply(transform, sample)?.image("image")?.clone())
}

/// A volume as the reader makes it: X fastest. `values` are in C order [C,X,Y,Z].
pub fn volume(values: &[i16], shape: [usize; 4], affine: Affine) -> Volume {
    let layout = Layout::fortran(shape);
    let mut voxels = vec![0i16; values.len()];
    let mut next = values.iter();
    for c in 0..shape[0] {
        for x in 0..shape[1] {
            for y in 0..shape[2] {
                for z in 0..shape[3] {
                    voxels[layout.position([c, x, y, z])] = *next.next().unwrap();
                }
            }
        }
    }
    Volume::new("case.nii.gz", Voxels::I16(voxels.into()), layout, affine)
}

pub fn affine(values: &[f64]) -> Affine {
    Affine(std::array::from_fn(|row| std::array::from_fn(|column| values[4 * row + column])))
}

fn affine_error(a: &Affine, b: &Affine) -> f64 {
    a.0.iter().flatten().zip(b.0.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Largest difference, and how many values differ at all.
fn difference(a: &[f32], b: &[f32]) -> (f32, usize) {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold((0.0, 0), |(most, n), (a, b)| ((a - b).abs().max(most), n + usize::from(a != b)))
}

/// Arrays of MONAI, made by make_transforms.py.
pub fn golden() -> Npz {
    npz::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/transforms.npz")).unwrap()
}

/// A larger set of the same kind.
pub fn large() -> Npz {
    npz::read(std::env::var_os("SEGBUNDLE_LARGE_TRANSFORMS").expect("SEGBUNDLE_LARGE_TRANSFORMS names the .npz"))
        .unwrap()
}

/// The image of a case through the transforms of make_transforms.py.
pub fn chain(data: &Npz, case: &str) -> Volume {
    let image = &data[&format!("{case}/image")];
    let [x, y, z] = image.shape[..] else { panic!() };
    let values: Vec<i16> = image.f64().into_iter().map(|x| x as i16).collect();
    let mut out = volume(&values, [1, x, y, z], affine(&data[&format!("{case}/affine")].f64()));
    let triple = |v: [f64; 3]| Value::from(v);
    let (pixdim, more): (Value, Vec<(&str, Value)>) = match case {
        "axis_1.5" | "rotated" | "sheared" | "one_slice" | "unchanged" => (1.5.into(), vec![]),
        "axis_3" | "rotated_3" => (3.0.into(), vec![]),
        "pir" => (triple([1.5, 1.5, 2.0]), vec![]),
        "diagonal" => (1.6.into(), vec![("diagonal", true.into())]),
        "corners" => (1.5.into(), vec![("align_corners", true.into()), ("scale_extent", true.into())]),
        "zeros" => (0.7.into(), vec![("padding_mode", "zeros".into())]),
        "reflection" => (0.9.into(), vec![("padding_mode", "reflection".into())]),
        "nearest" => (1.5.into(), vec![("mode", "nearest".into())]),
        "kept" => {
            let low = Value::tuple([0.5.into(), 1.0.into(), Value::None]);
            (triple([1.5, 1.5, 2.0]), vec![("min_pixdim", low), ("max_pixdim", 2.0.into())])
        }
        // Real images, named after what they are resampled to.
        other => (other.rsplit('_').next().unwrap().parse::<f64>().unwrap().into(), vec![]),
    };
    let mut steps = vec![build("Orientationd", &[("keys", "image".into()), ("axcodes", "RAS".into())]).unwrap()];
    steps.push(
        build("SpacingD", &[vec![("keys", Value::from(vec!["image"])), ("pixdim", pixdim)], more].concat()).unwrap(),
    );
    if case == "pir" {
        steps.push(
            build("SpatialPadd", &[("keys", "image".into()), ("spatial_size", Value::from([24i64, 16, 20]))]).unwrap(),
        );
        steps.push(
            build("CenterSpatialCropd", &[("keys", "image".into()), ("roi_size", Value::from([20i64, 0, 12]))])
                .unwrap(),
        );
    }
    for step in steps {
        out = on_image(&*step, out).unwrap();
    }
    out
}

pub fn cases(data: &Npz) -> Vec<String> {
    data.keys().filter_map(|key| key.strip_suffix("/image")).map(str::to_owned).collect()
}

/// Trilinear values are sums of products up to 1500: one unit in the last place of f32 is 1.2e-4.
#[test]
fn resampling_agrees_with_monai() {
    resampling(&golden());
}

#[test]
#[ignore = "needs a larger set of arrays of MONAI: SEGBUNDLE_LARGE_TRANSFORMS=FILE"]
fn resampling_agrees_with_monai_on_the_large_set() {
    resampling(&large());
}

fn resampling(data: &Npz) {
    for case in cases(data) {
        let out = chain(data, &case);
        let expected = &data[&format!("{case}/out")];
        assert_eq!(out.layout.shape.to_vec(), expected.shape, "{case}");
        let (most, differing) = difference(&out.to_f32_vec().unwrap(), &expected.f32());
        let error = affine_error(&out.affine, &affine(&data[&format!("{case}/out_affine")].f64()));
        println!(
            "{case}: voxels differ by at most {most:e} ({differing} of {} at all), affine by {error:e}",
            out.layout.len()
        );
        assert!(most <= 1.3e-4, "{case}");
        assert!(error <= 1e-12, "{case}");
    }
}

/// The arrays that MONAI gave after each step of a chain, compared one by one: SEGBUNDLE_REFERENCE names their folder.
#[test]
#[ignore = "needs arrays of MONAI made from a CT: SEGBUNDLE_REFERENCE=FOLDER"]
fn every_step_of_the_whole_body_configs_agrees_with_monai() {
    let folder = folder_of("SEGBUNDLE_REFERENCE").display().to_string();
    let data = npz::read(format!("{folder}/transforms.npz")).unwrap();
    let index: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{folder}/index.json")).unwrap()).unwrap();
    let steps = &index["transforms"]["steps"];
    let mut compared = 0;
    for (chain, file, pixdim) in [
        ("infer1.5", "crop_ct", 1.5),
        ("axis_ct_infer1.5", "axis_ct", 1.5),
        ("infer3.0", "crop_ct", 3.0),
        ("axis_ct_infer3.0", "axis_ct", 3.0),
        ("train1.5", "crop_ct", 1.5),
        ("train3.0", "crop_ct", 3.0),
    ] {
        let both = chain.starts_with("train");
        let keys = if both { Value::from(vec!["image", "label"]) } else { "image".into() };
        let mut sample = Sample::default();
        sample.set("image", Item::Value(format!("{folder}/{file}.nii.gz").into()));
        if both {
            sample.set("label", Item::Value(format!("{folder}/crop_seg.nii.gz").into()));
        }
        let mode = if both { Value::from(vec!["bilinear", "nearest"]) } else { "bilinear".into() };
        let image: Value = "image".into();
        let all = [
            ("LoadImaged", vec![("keys", keys.clone())]),
            ("EnsureTyped", vec![("keys", keys.clone())]),
            ("EnsureChannelFirstd", vec![("keys", keys.clone())]),
            ("Orientationd", vec![("keys", keys.clone()), ("axcodes", "RAS".into())]),
            ("Spacingd", vec![("keys", keys.clone()), ("pixdim", Value::from(vec![pixdim; 3])), ("mode", mode)]),
            ("NormalizeIntensityd", vec![("keys", image.clone()), ("nonzero", true.into())]),
            (
                "CropForegroundd",
                vec![
                    ("keys", keys.clone()),
                    ("source_key", image.clone()),
                    ("margin", 10.into()),
                    ("k_divisible", Value::from([96i64; 3])),
                ],
            ),
            ("GaussianSmoothd", vec![("keys", image.clone()), ("sigma", 0.4.into())]),
            ("ScaleIntensityd", vec![("keys", image.clone()), ("minv", (-1.0).into()), ("maxv", 1.0.into())]),
        ];
        for (name, args) in all {
            if !both && matches!(name, "CropForegroundd" | "GaussianSmoothd") {
                continue;
            }
            sample = apply(&*build(name, &args).unwrap(), sample).unwrap();
            for key in ["image", "label"] {
                let wanted = |id: &&String| id.starts_with(chain) && id.ends_with(&format!("_{name}/{key}"));
                let Some(id) = steps.as_object().unwrap().keys().find(wanted) else { continue };
                let stored = steps[id]["same_as"].as_str().unwrap_or(id);
                let expected = &data[stored];
                let out = sample.image(key).unwrap();
                let shape = &out.layout.shape[4 - expected.shape.len()..];
                assert_eq!(shape, expected.shape, "{id}");
                let (most, differing) = difference(&out.to_f32_vec().unwrap(), &expected.f32());
                println!("{id}: at most {most:e} apart, {differing} of {} differ", out.layout.len());
                // One unit in the last place of the raw values (up to 3000), 1e-6 of normalized ones (up to 5).
                let tolerance = match name {
                    "LoadImaged" | "EnsureTyped" | "EnsureChannelFirstd" | "Orientationd" => 0.0,
                    "Spacingd" if key == "image" => 2.5e-4,
                    _ if key == "label" => 0.0,
                    _ => 5e-6,
                };
                assert!(most <= tolerance, "{id}");
                if let Some(rows) = steps[id]["affine"].as_array() {
                    let flat: Vec<f64> =
                        rows.iter().flat_map(|row| row.as_array().unwrap()).map(|x| x.as_f64().unwrap()).collect();
                    assert!(affine_error(&out.affine, &affine(&flat)) < 1e-10, "{id}");
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 40, "{compared}");
}

/// A file that is resampled while it is read gives the bits of one that is read first, whatever its type and axes.
#[test]
fn resampling_while_reading_changes_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let shape = [1, 23, 18, 41];
    let turned = Affine([[0.0, -1.1, 0.0, 20.0], [0.0, 0.0, 0.9, -10.0], [-2.0, 0.0, 0.0, 5.0], [0.0, 0.0, 0.0, 1.0]]);
    let oblique = Affine([[1.0, 0.1, 0.0, 20.0], [-0.1, 1.0, 0.0, -10.0], [0.0, 0.2, 2.0, 5.0], [0.0, 0.0, 0.0, 1.0]]);
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| ((i * 7919) % 120) as f32).collect();
    for (name, dtype, affine, scaled) in [
        ("a.nii", DType::I16, turned, false),
        ("b.nii.gz", DType::I16, turned, false),
        ("c.nii.gz", DType::U8, turned, true),
        ("d.nii", DType::F64, turned, false),
        ("e.nii.gz", DType::I32, turned, false),
        ("f.nii.gz", DType::F32, oblique, false),
    ] {
        let path = folder.path().join(name);
        let layout = Layout::contiguous(shape);
        nifti::write(&path, &Voxels::F32(values.clone().into()), &layout, &affine, dtype, nifti::Options::default())
            .unwrap();
        if scaled {
            let packed = std::fs::read(&path).unwrap();
            let mut bytes = vec![];
            flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
            bytes[112..116].copy_from_slice(&1.7f32.to_le_bytes());
            bytes[116..120].copy_from_slice(&(-20.3f32).to_le_bytes());
            std::fs::write(&path, bytes).unwrap();
        }
        let keys: Value = vec!["image", "label"].into();
        // An oblique affine needs voxels from everywhere; where nothing is resampled, voxels stay as they are.
        for (pixdim, mode, streams) in [
            (1.5, "bilinear", affine == turned),
            (3.0, "bilinear", affine == turned),
            (3.0, "nearest", affine == turned),
            (-1.0, "bilinear", false),
        ] {
            let steps = [
                build("LoadImaged", &[("keys", keys.clone())]).unwrap(),
                build("EnsureTyped", &[("keys", keys.clone())]).unwrap(),
                build("EnsureChannelFirstd", &[("keys", keys.clone())]).unwrap(),
                build("Orientationd", &[("keys", keys.clone()), ("axcodes", "RAS".into())]).unwrap(),
                build(
                    "Spacingd",
                    &[("keys", keys.clone()), ("pixdim", pixdim.into()), ("mode", vec!["bilinear", mode].into())],
                )
                .unwrap(),
                build("ScaleIntensityd", &[("keys", "image".into())]).unwrap(),
            ];
            let mut sample = Sample::default();
            sample.set("image", Item::Value(path.to_str().unwrap().into()));
            sample.set("label", Item::Value(path.to_str().unwrap().into()));
            let plan = Plan::new(&steps, sample.duplicate().unwrap()).unwrap();
            let reader = plan.steps.iter().position(|step| step.voxels == VoxelLocation::Streamed);
            assert_eq!(reader, streams.then_some(4), "{name} {pixdim} {mode}");
            let mut cx = TransformContext { case: &case_context(), writes: &mut vec![], rng: &mut Default::default() };
            let together = apply_all(&steps, vec![sample.duplicate().unwrap()], &mut cx).unwrap().remove(0);
            let apart = steps.iter().try_fold(sample, |sample, step| apply(&**step, sample)).unwrap();
            for key in ["image", "label"] {
                let (a, b) = (together.image(key).unwrap(), apart.image(key).unwrap());
                assert_eq!(
                    (a.grid(), a.voxels.dtype(), a.trace.len()),
                    (b.grid(), b.voxels.dtype(), b.trace.len()),
                    "{name} {key}"
                );
                let (a, b) = (a.to_f32_vec().unwrap(), b.to_f32_vec().unwrap());
                assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()), "{name} {key} {pixdim} {mode}");
            }
        }
    }
}

#[test]
fn an_interrupt_between_the_steps_of_a_postprocessing_loses_no_prediction() {
    let steps = [build("EnsureTyped", &[("keys", "pred".into())]).unwrap()];
    let case = case_context();
    case.cancel.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut cx = TransformContext { case: &case, writes: &mut vec![], rng: &mut Default::default() };
    let mut sample = Sample::default();
    sample.set("pred", Item::Image(volume(&[0; 8], [1, 2, 2, 2], Affine::IDENTITY)));
    let before = apply_all(&steps, vec![sample.duplicate().unwrap()], &mut cx).err().unwrap();
    assert_eq!(before.get_kind(), segbundle::error::Kind::Cancelled);
    assert_eq!(apply_to_predictions(&steps, vec![sample], &mut cx).unwrap().len(), 1);
}
