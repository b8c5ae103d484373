//! What a transform plans from headers is what it makes of the voxels, for every transform.

use crate::transform_parameters::{Below, value};
use crate::transforms::{build, case_context};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use segbundle::component::Value;
use segbundle::contracts::{Certainty, Item, Plan, Sample, Transform, TransformContext, VoxelLocation};
use segbundle::formats::nifti;
use segbundle::image::{Affine, DType, Grid, ImageHeader, Layout, Volume, Voxels};
use segbundle::random::RngStates;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Sets of arguments for a transform of [`segbundle::transforms::COMPONENTS`], without `keys`.
fn argument_sets(name: &str, folder: &Path) -> Vec<Json> {
    let set = |sets: Json| sets.as_array().unwrap().clone();
    let output = folder.join("out").to_str().unwrap().to_owned();
    match name {
        "EnsureChannelFirstd" => set(json!([{}, {"channel_dim": "no_channel"}, {"channel_dim": 0}])),
        "Orientationd" => set(json!([{"axcodes": "RAS"}, {"axcodes": "PIL"}, {"as_closest_canonical": true}])),
        "Spacingd" => set(json!([
            {"pixdim": 1.5}, {"pixdim": [0.8, -1, 2], "mode": "nearest"}, {"pixdim": 0.7, "align_corners": true},
            {"pixdim": 2.1, "diagonal": true}, {"pixdim": 1.3, "recompute_affine": true, "padding_mode": "zeros"}
        ])),
        "NormalizeIntensityd" => set(json!([{}, {"nonzero": true, "channel_wise": true}, {"dtype": "int16"}])),
        "ScaleIntensityd" => set(json!([{}, {"minv": 0, "maxv": 200, "dtype": "uint8"}])),
        "ScaleIntensityRanged" => set(json!([{"a_min": -20, "a_max": 90, "b_min": 0, "b_max": 1, "clip": true}])),
        "ScaleIntensityRangePercentilesd" => set(json!([
            {"lower": 5, "upper": 95, "b_min": 0, "b_max": 1},
            {"lower": 5, "upper": 95, "b_min": 0, "b_max": 9, "dtype": "int32"}
        ])),
        "GaussianSmoothd" => set(json!([{"sigma": 0.7}, {"sigma": [0.5, 1, 2]}])),
        "SpatialPadd" => set(json!([
            {"spatial_size": [9, -1, 12]}, {"spatial_size": 8, "method": "end"},
            {"spatial_size": [4, 9, 4], "mode": "constant", "value": 1.5}
        ])),
        "DivisiblePadd" => set(json!([{"k": 4}, {"k": [3, -1, 5], "mode": "edge"}])),
        "BorderPadd" => set(json!([{"spatial_border": 2}, {"spatial_border": [1, 0, 2], "value": -3}])),
        "CenterSpatialCropd" => set(json!([{"roi_size": [4, -1, 3]}, {"roi_size": 20}])),
        "CropForegroundd" => set(json!([
            {"source_key": "image"}, {"source_key": "image", "margin": 2, "allow_smaller": false},
            {"source_key": "image", "margin": [0, 1, 2], "k_divisible": 4, "start_coord_key": "from", "end_coord_key": "to"}
        ])),
        "CastToTyped" => set(json!([{"dtype": "uint8"}, {"dtype": "float32"}, {"dtype": "float64"}])),
        "EnsureTyped" => set(json!([{}, {"dtype": "float32"}, {"dtype": "int16"}])),
        "ToTensord" => set(json!([{}, {"dtype": "int32"}])),
        "CopyItemsd" => set(json!([{"names": ["copy"]}, {"times": 2}])),
        "SelectItemsd" | "DeleteItemsd" => set(json!([{}])),
        "Activationsd" => set(json!([{}, {"softmax": true}, {"sigmoid": true}])),
        "AsDiscreted" => set(json!([
            {}, {"argmax": true}, {"argmax": true, "to_onehot": 5}, {"threshold": 30}, {"rounding": "torchrounding"}
        ])),
        "KeepLargestConnectedComponentd" => set(json!([{}, {"applied_labels": [0], "is_onehot": true}])),
        "KeepLargestStructuresd" => set(json!([{"names": {"1": "liver"}, "structures": "liver"}])),
        "RemoveSmallObjectsd" => {
            set(json!([{"independent_channels": false}, {"min_size": 9, "independent_channels": false}]))
        }
        "FillHolesd" => set(json!([{}, {"connectivity": 1}])),
        "LabelToMaskd" => set(json!([{"select_labels": 0}, {"select_labels": [0, 0], "merge_channels": true}])),
        "MapLabelValued" => set(json!([
            {"orig_labels": [1], "target_labels": [7]}, {"orig_labels": [1], "target_labels": [-7]},
            {"orig_labels": [1], "target_labels": [300]}, {"orig_labels": [1], "target_labels": [2], "dtype": "int16"}
        ])),
        "SaveImaged" | "SavePreviewd" | "SaveLabelsd" | "SaveStatisticsd" => {
            let mut args = json!({"output_dir": output});
            if name != "SaveImaged" {
                args["names"] = json!({"1": "liver"});
            }
            vec![args]
        }
        "RandFlipd" => set(json!([{"prob": 1}, {"prob": 0.5, "spatial_axis": [0, 2]}])),
        "RandAxisFlipd" => set(json!([{"prob": 1}])),
        "RandRotate90d" => set(json!([{"prob": 1}, {"prob": 0.5, "spatial_axes": [1, 2]}])),
        "RandGaussianNoised" | "RandScaleIntensityd" | "RandShiftIntensityd" | "RandGaussianSmoothd" => {
            let mut args = json!({"prob": 0.7});
            match name {
                "RandScaleIntensityd" => args["factors"] = json!(0.2),
                "RandShiftIntensityd" => args["offsets"] = json!(3),
                _ => {}
            }
            vec![args]
        }
        "RandSpatialCropd" => set(json!([
            {"roi_size": [4, -1, 3], "random_size": false},
            {"roi_size": [2, 2, 2], "random_size": true, "max_roi_size": [3, 9, -1]},
            {"roi_size": 2, "random_size": true, "random_center": false}
        ])),
        "RandCropByPosNegLabeld" => set(json!([
            {"label_key": "label", "spatial_size": [3, 3, 2], "num_samples": 2},
            {"label_key": "label", "spatial_size": [2, -1, 20], "allow_smaller": true}
        ])),
        other => panic!("this test has no arguments for {other}"),
    }
}

/// All transforms with all their argument sets.
fn transforms(folder: &Path) -> Vec<(String, Arc<dyn Transform>)> {
    let mut out = vec![];
    let mut add = |name: &str, args: &[(&str, Value)], shown: String| {
        let built = build(name, args).unwrap_or_else(|error| panic!("{name} {shown}: {error}"));
        out.push((format!("{name} {shown}"), built));
    };
    let spacing = Value::object(segbundle::contracts::TransformHandle(
        build("Spacingd", &[("keys", "image".into()), ("pixdim", 1.5.into())]).unwrap(),
    ));
    for component in segbundle::transforms::COMPONENTS {
        match component.name {
            // Reads files: below.
            "LoadImaged" => {}
            "Compose" => {
                add("Compose", &[("transforms", Value::list([spacing.clone(), spacing.clone()]))], String::new())
            }
            "Invertd" => add("Invertd", &[("keys", "image".into()), ("transform", spacing.clone())], String::new()),
            "Lambdad" => {
                let args = [("keys", "image".into()), ("func", Value::object(Below(1.0)))];
                add("Lambdad", &args, String::new());
            }
            name => {
                for set in argument_sets(name, folder) {
                    for keys in [Value::from("image"), Value::from(vec!["image", "label"])] {
                        // One function for several keys wants several names; labels have no colors of their own.
                        if set.get("names").is_some() && keys.as_str().is_none() {
                            continue;
                        }
                        let mut args = vec![("keys", keys)];
                        args.extend(set.as_object().unwrap().iter().map(|(key, json)| (key.as_str(), value(json))));
                        add(name, &args, set.to_string());
                    }
                }
            }
        }
    }
    out
}

/// Compare what was planned with what `apply` made.
fn check(id: &str, planned: &Sample, certainty: Certainty, applied: &Sample) {
    if certainty == Certainty::Unknown {
        // Nothing is known before a function of the config runs, or before Invertd knows what it undoes.
        assert!(["Lambdad", "Invertd"].iter().any(|name| id.starts_with(name)), "{id}: nothing is planned");
        return;
    }
    let keys = |sample: &Sample| sample.items.keys().map(|key| key.to_string()).collect::<Vec<_>>();
    assert_eq!(keys(planned), keys(applied), "{id}");
    for (key, item) in &applied.items {
        let (made, planned) = match (item, planned.get(key)) {
            (Item::Image(made), Some(Item::Image(planned))) => (made, planned),
            (Item::Value(_), Some(Item::Value(_))) => continue,
            _ => panic!("{id}: `{key}` is planned to be another kind of item"),
        };
        assert!(planned.is_header_only(), "{id}: `{key}` has voxels");
        if certainty == Certainty::UpperBound {
            let within = made.layout.shape.iter().zip(planned.layout.shape).all(|(made, planned)| *made <= planned);
            assert!(within, "{id}: `{key}` is {:?}, planned at most {:?}", made.layout.shape, planned.layout.shape);
            continue;
        }
        let seen = |volume: &Volume| {
            let header = &volume.header;
            format!(
                "{:?} {:?} {:?} {} {:?} {:?} {:?} {:?}",
                volume.layout.shape,
                volume.affine,
                volume.voxels.dtype(),
                volume.channel_first,
                volume.trace,
                header.grid,
                header.channels,
                header.spatial_dims
            )
        };
        assert_eq!(seen(planned), seen(made), "{id}: `{key}`");
    }
}

fn header_only(sample: &Sample) -> Sample {
    let mut out = sample.duplicate().unwrap();
    for item in out.items.values_mut() {
        if let Item::Image(volume) = item {
            volume.voxels = Voxels::empty(volume.voxels.dtype());
        }
    }
    out
}

#[derive(Debug, Clone)]
struct Image {
    shape: [usize; 4],
    dtype: DType,
    affine: Affine,
    fortran: bool,
    channel_first: bool,
    seed: u64,
}

fn images() -> impl Strategy<Value = Image> {
    const DTYPES: [DType; 6] = [DType::U8, DType::I16, DType::U16, DType::I32, DType::F32, DType::F64];
    const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    (
        (1usize..4, [3usize..9, 3usize..9, 3usize..9]),
        proptest::sample::select(&DTYPES[..]),
        (proptest::sample::select(&ORDERS[..]), [any::<bool>(), any::<bool>(), any::<bool>()]),
        [0.6f64..3.0, 0.6f64..3.0, 0.6f64..3.0],
        (any::<bool>(), any::<bool>(), any::<u64>(), any::<bool>()),
    )
        .prop_map(|((channels, [x, y, z]), dtype, (order, flips), spacing, (fortran, first, seed, oblique))| {
            let mut rows = [[0.0; 4]; 4];
            rows[3][3] = 1.0;
            for axis in 0..3 {
                rows[order[axis]][axis] = if flips[axis] { -spacing[axis] } else { spacing[axis] };
                rows[axis][3] = 10.0 * axis as f64 - 5.0;
            }
            if oblique {
                rows[order[0]][1] += 0.1;
            }
            Image {
                shape: [channels, x, y, z],
                dtype,
                affine: Affine(rows),
                fortran,
                channel_first: first || channels > 1,
                seed,
            }
        })
}

impl Image {
    fn volume(&self, channels: usize, dtype: DType, values: impl Fn(u64) -> f32) -> Volume {
        let shape = [channels, self.shape[1], self.shape[2], self.shape[3]];
        let count = shape.iter().product::<usize>() as u64;
        let voxels = Voxels::F32((0..count).map(|i| values((i + self.seed % 1000) * 7919 % 120)).collect());
        let header = Arc::new(ImageHeader {
            path: "case.nii.gz".into(),
            grid: Grid { shape: [shape[1], shape[2], shape[3]], affine: self.affine },
            spatial_dims: 3,
            channels: (channels > 1).then_some(channels),
            space: None,
            series: None,
        });
        let layout = if self.fortran { Layout::fortran(shape) } else { Layout::contiguous(shape) };
        // Through an integer type where it is one: a float type keeps what it is given.
        Volume {
            voxels: voxels.cast(dtype).unwrap(),
            layout,
            affine: self.affine,
            channel_first: self.channel_first,
            integer_type: (!dtype.is_float()).then_some(dtype),
            header,
            trace: vec![],
        }
    }
    fn sample(&self) -> Sample {
        let mut sample = Sample::default();
        sample.set("image", Item::Image(self.volume(self.shape[0], self.dtype, |i| i as f32 - 30.0)));
        sample.set("label", Item::Image(self.volume(1, DType::U8, |i| (i % 3) as f32)));
        sample.set("note", Item::Value("text".into()));
        sample
    }
}

const CASES: u32 = 40;

/// Each set of arguments must work on at least one image.
#[test]
fn every_transform_makes_of_the_voxels_what_it_plans_from_headers() {
    let folder = tempfile::tempdir().unwrap();
    let succeeded = Mutex::new(BTreeSet::new());
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&images(), |image| {
        for (at, (name, transform)) in transforms(folder.path()).into_iter().enumerate() {
            let id = format!("{name} on {image:?}");
            let planned = transform.plan(header_only(&image.sample()));
            let mut rng = RngStates::default();
            transform.seed(image.seed as u32, &mut rng);
            let case = case_context();
            let mut cx = TransformContext { case: &case, writes: &mut vec![], rng: &mut rng };
            match (planned, transform.apply(image.sample(), &mut cx)) {
                (Ok(planned), Ok(samples)) => {
                    prop_assert!(
                        !transform.is_random() || planned.certainty != Certainty::Exact || name.starts_with("Compose"),
                        "{}",
                        id
                    );
                    samples.iter().for_each(|applied| check(&id, &planned.sample, planned.certainty, applied));
                    succeeded.lock().unwrap().insert(at);
                }
                // Voxels can be wrong in ways that no header tells.
                (Ok(planned), Err(error)) => prop_assert!(
                    planned.certainty != Certainty::Exact
                        || name.starts_with("AsDiscreted")
                        || name.starts_with("Save"),
                    "{}: {}",
                    id,
                    error
                ),
                (Err(error), Ok(_)) => prop_assert!(false, "{}: planning fails: {}", id, error),
                (Err(_), Err(_)) => {}
            }
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let succeeded = succeeded.into_inner().unwrap();
    let all = transforms(folder.path()).into_iter().enumerate();
    let never: Vec<String> = all.filter(|(at, _)| !succeeded.contains(at)).map(|(_, (name, _))| name).collect();
    assert!(never.is_empty(), "these never succeeded: {never:?}");
}

#[test]
fn a_file_is_streamed_where_its_plan_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.nii.gz");
    let voxels = Voxels::I16((0..20 * 18 * 16).map(|i: i32| (i * 7919 % 1201) as i16).collect());
    let layout = Layout::contiguous([1, 20, 18, 16]);
    nifti::write(&path, &voxels, &layout, &Affine::IDENTITY, DType::I16, nifti::Options::default()).unwrap();
    // Without its end the file fails, by the name of the transform that loads it.
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 12]).unwrap();
    let load = |args: &[(&str, Value)]| build("LoadImaged", &[&[("keys", "image".into())], args].concat()).unwrap();
    let spacing = |mode: &str| {
        let args = [("keys", "image".into()), ("pixdim", 1.4.into()), ("mode", mode.into())];
        build("Spacingd", &args).unwrap()
    };
    let first = build("EnsureChannelFirstd", &[("keys", "image".into())]).unwrap();
    let smooth = build("GaussianSmoothd", &[("keys", "image".into()), ("sigma", 1.0.into())]).unwrap();
    for (steps, streamed) in [
        (vec![load(&[]), first.clone(), spacing("bilinear")], true),
        (vec![load(&[]), first.clone(), spacing("nearest")], true),
        (vec![load(&[]), first.clone(), smooth, spacing("bilinear")], false),
        (vec![load(&[]), first], false),
    ] {
        let mut sample = Sample::default();
        sample.set("image", Item::Value(path.to_str().unwrap().into()));
        let plan = Plan::new(&steps, sample).unwrap();
        let at = plan.steps.iter().find(|step| step.voxels == VoxelLocation::Streamed).map(|step| step.name);
        assert_eq!(at, streamed.then_some("Spacingd"));
        let case = case_context();
        let mut cx = TransformContext { case: &case, writes: &mut vec![], rng: &mut RngStates::default() };
        let Err(error) = plan.apply(&mut cx) else { panic!("a damaged file was read") };
        assert!(error.message().starts_with("LoadImaged"), "{error}");
    }
}

/// LoadImaged, and a chain that is read slice by slice where the format allows it: what is planned, and the error of a
/// file that cannot be read, are those of the application. Returns whether the file could be read.
fn compare_file(path: &Path, id: &str) -> bool {
    let mut sample = Sample::default();
    sample.set("image", Item::Value(path.to_str().unwrap().into()));
    let mut readable = true;
    for args in [
        json!({}),
        json!({"dtype": "int16"}),
        json!({"dtype": null}),
        json!({"ensure_channel_first": true}),
        json!({"as_closest_canonical": true}),
    ] {
        let mut steps = vec![];
        let set = args.as_object().unwrap().iter().map(|(key, json)| (key.as_str(), value(json)));
        steps.push(build("LoadImaged", &[vec![("keys", "image".into())], set.collect()].concat()).unwrap());
        steps.push(build("EnsureChannelFirstd", &[("keys", "image".into())]).unwrap());
        steps.push(build("Orientationd", &[("keys", "image".into()), ("axcodes", "LPI".into())]).unwrap());
        steps.push(build("Spacingd", &[("keys", "image".into()), ("pixdim", 1.4.into())]).unwrap());
        let id = format!("{args} of {id}");
        let plan = Plan::new(&steps, sample.duplicate().unwrap()).unwrap();
        let mut one_by_one = sample.duplicate().unwrap();
        let mut planned = sample.duplicate().unwrap();
        let case = case_context();
        let mut failed = None;
        for (at, step) in steps.iter().enumerate() {
            let mut cx = TransformContext { case: &case, writes: &mut vec![], rng: &mut RngStates::default() };
            match step.apply(std::mem::take(&mut one_by_one), &mut cx) {
                Ok(mut samples) => one_by_one = samples.remove(0),
                Err(error) => {
                    failed = Some((at, error.context(step.name())));
                    break;
                }
            }
            planned = step.plan(planned).unwrap_or_else(|error| panic!("{id}: {error}")).sample;
            check(&id, &planned, Certainty::Exact, &one_by_one);
            assert_eq!(plan.steps[at].certainty, Certainty::Exact, "{id}");
        }
        if let Some((at, error)) = failed {
            readable = false;
            // Voxels can be damaged in ways that no header tells.
            if let Some(planned) = &plan.error {
                assert_eq!((plan.steps.len(), planned.to_string()), (at, error.to_string()), "{id}");
            }
            assert!(plan.error.is_some() || path.to_str().unwrap().contains("compressed"), "{id}: {error}");
            continue;
        }
        assert!(plan.is_complete() && plan.error.is_none(), "{id}");
        let streams = plan.steps.iter().any(|step| step.voxels == VoxelLocation::Streamed);
        let mut cx = TransformContext { case: &case, writes: &mut vec![], rng: &mut RngStates::default() };
        let read = plan.apply(&mut cx).unwrap().remove(0);
        let (a, b) = (read.image("image").unwrap(), one_by_one.image("image").unwrap());
        assert_eq!(a.grid(), b.grid());
        let (a, b) = (a.to_f32_vec().unwrap(), b.to_f32_vec().unwrap());
        assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()), "{id} streamed: {streams}");
    }
    readable
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_file_is_planned_as_it_is_read(image in images()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.nii.gz");
        let volume = image.volume(image.shape[0], DType::F32, |i| i as f32);
        nifti::write(&path, &volume.voxels, &volume.layout, &volume.affine, image.dtype, nifti::Options::default()).unwrap();
        let id = format!("{:?}", image);
        prop_assert!(compare_file(&path, &id));
    }
}

/// NRRD, MetaImage and DICOM, as files and as folders of slices.
#[test]
fn files_of_other_formats_are_planned_as_they_are_read() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut read = 0;
    for folder in ["images", "dicom", "dicom/compressed"] {
        let folder = data.join(folder);
        let expected: Json = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
        for name in expected.as_object().unwrap().keys() {
            read += usize::from(compare_file(&folder.join(name), name));
        }
    }
    assert!(read > 50, "{read}");
}
