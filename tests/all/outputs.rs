//! What people use of a label map: named labels, masks, statistics, pictures; as functions and as transforms.

use crate::common::build;
use segbundle::component::{Args, BuildContext, Component, Dict, Key, Value};
use segbundle::contracts::{CaseContext, Item, Sample, TransformContext, TransformHandle};
use segbundle::formats::nifti;
use segbundle::image::{Affine, DType, Grid, ImageHeader, Layout, Volume, Voxels};
use segbundle::registry;
use segbundle::tools::structures::Structures;
use segbundle::tools::{label_names, preview, split_labels, statistics};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// 2 × 3 × 4 mm voxels; x runs to the left (LAS), as many CTs have it.
const AFFINE: Affine =
    Affine([[-2.0, 0.0, 0.0, 30.0], [0.0, 3.0, 0.0, -20.0], [0.0, 0.0, 4.0, 7.0], [0.0, 0.0, 0.0, 1.0]]);
const SHAPE: [usize; 4] = [1, 12, 10, 8];

fn volume(path: &Path, value: impl Fn([usize; 3]) -> i16) -> Volume {
    let layout = Layout::fortran(SHAPE);
    let mut voxels = vec![0; layout.len()];
    for x in 0..SHAPE[1] {
        for y in 0..SHAPE[2] {
            for z in 0..SHAPE[3] {
                voxels[layout.position([0, x, y, z])] = value([x, y, z]);
            }
        }
    }
    Volume::new(path, Voxels::I16(voxels.into()), layout, AFFINE)
}

/// A box of label 2 inside, a plate of label 5 at the lower end of z, one voxel without a name.
fn label([x, y, z]: [usize; 3]) -> i16 {
    match (x, y, z) {
        (3..6, 2..7, 2..5) => 2,
        (_, _, 0) => 5,
        (11, 9, 7) => 9,
        _ => 0,
    }
}

fn hu([x, y, z]: [usize; 3]) -> i16 {
    (x * 10 + y * 3 + z) as i16 - 50
}

fn names() -> Structures {
    Structures::new([(2, "liver".into()), (5, "table".into())]).unwrap()
}

#[test]
fn statistics_equal_sums_over_the_voxels() {
    let (labels, image) = (volume(Path::new("a"), label), volume(Path::new("a"), hu));
    let rows = statistics::statistics(&labels, Some(&image), &names()).unwrap();
    assert_eq!(
        rows.iter().map(|row| (row.id, &*row.name)).collect::<Vec<_>>(),
        [(2, "liver"), (5, "table"), (9, "label_9")]
    );
    let liver = &rows[0];
    // 3·5·3 voxels of 24 mm³, centerd on index (4, 4, 3).
    assert_eq!((liver.voxels, liver.touches_border), (45, false));
    assert!((liver.volume_ml - 1.08).abs() < 1e-12);
    assert_eq!(liver.centroid_mm, [30.0 - 8.0, -20.0 + 12.0, 7.0 + 12.0]);
    let mut values: Vec<f64> = vec![];
    for x in 3..6 {
        for y in 2..7 {
            values.extend((2..5).map(|z| f64::from(hu([x, y, z]))));
        }
    }
    values.sort_by(f64::total_cmp);
    let found = liver.hu.as_ref().unwrap();
    assert_eq!((found.mean, found.min, found.max), (values.iter().sum::<f64>() / 45.0, values[0], values[44]));
    // numpy.percentile: place p/100·44, so 2.2, 11, 22, 33 and 41.8.
    let between = |low: usize, part: f64| values[low] + (values[low + 1] - values[low]) * part;
    let expected = [between(2, 0.2), values[11], values[22], values[33], between(41, 0.8)];
    for (found, expected) in found.percentiles.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }
    assert!(rows[1].touches_border && rows[2].touches_border);
    assert_eq!(statistics::statistics(&labels, None, &names()).unwrap()[0].hu, None);

    // Halves are no whole numbers: the list instead of the counts.
    let halves = Volume {
        voxels: Voxels::F32(match &image.voxels {
            Voxels::I16(values) => values.iter().map(|value| f32::from(*value) + 0.5).collect(),
            _ => panic!("made as i16"),
        }),
        ..image.clone()
    };
    let found = statistics::statistics(&labels, Some(&halves), &names()).unwrap()[0].hu.clone().unwrap();
    let whole = rows[0].hu.as_ref().unwrap();
    assert!((found.mean - whole.mean - 0.5).abs() < 1e-9 && (found.std - whole.std).abs() < 1e-9);
    assert_eq!(
        (found.min, found.max, found.percentiles[2]),
        (whole.min + 0.5, whole.max + 0.5, whole.percentiles[2] + 0.5)
    );

    // The same map in another memory order.
    let mut turned = labels.clone();
    let layout = Layout::contiguous(SHAPE);
    let mut voxels = vec![0; layout.len()];
    for x in 0..SHAPE[1] {
        for y in 0..SHAPE[2] {
            (0..SHAPE[3]).for_each(|z| voxels[layout.position([0, x, y, z])] = label([x, y, z]) as u8);
        }
    }
    (turned.layout, turned.voxels) = (layout, Voxels::U8(voxels.into()));
    assert_eq!(statistics::statistics(&turned, Some(&image), &names()).unwrap(), rows);
}

#[test]
fn statistics_of_what_does_not_fit_are_errors() {
    let labels = volume(Path::new("a"), label);
    let mut moved = volume(Path::new("a"), hu);
    moved.affine.0[0][3] += 1.0;
    let error = statistics::statistics(&labels, Some(&moved), &names()).unwrap_err().to_string();
    assert!(error.contains("lie 1.00 mm apart"), "{error}");
    let negative = volume(Path::new("a"), |_| -1);
    let error = statistics::statistics(&negative, None, &names()).unwrap_err().to_string();
    assert!(error.contains("whole numbers from 0, found -1"), "{error}");
}

#[test]
fn labels_are_whole_numbers_from_0() {
    let labels = volume(Path::new("a"), label);
    assert_eq!(label_names::labels_in(&labels).unwrap().into_iter().collect::<Vec<_>>(), [2, 5, 9]);
    let floats = |values: Vec<f32>| {
        let layout = Layout::contiguous([1, 1, 1, values.len()]);
        Volume::new(Path::new("a"), Voxels::F32(values.into()), layout, AFFINE)
    };
    for (values, found) in [([0.0, -782.0], "-782"), ([1.0, 0.5], "0.5"), ([0.0, f32::NAN], "NaN")] {
        let error = label_names::labels_in(&floats(values.to_vec())).unwrap_err().to_string();
        assert!(error.contains(&format!("whole numbers from 0, found {found}")), "{error}");
    }
    let many = floats((0..=label_names::MAX_LABELS + 1).map(|id| id as f32).collect());
    for error in
        [label_names::labels_in(&many).unwrap_err(), statistics::statistics(&many, None, &names()).unwrap_err()]
    {
        assert_eq!(error.to_string(), label_names::too_many_labels().to_string());
    }
}

#[test]
fn names_in_a_file_are_found_and_masks_are_split() {
    let folder = tempfile::tempdir().unwrap();
    let labels = volume(Path::new("a"), label);
    for extension in [".nii", ".nii.gz"] {
        let path = folder.path().join(format!("named{extension}"));
        let xml = label_names::to_xml(&names());
        let options = nifti::Options { extension: xml.as_bytes(), ..nifti::Options::default() };
        nifti::write(&path, &labels.voxels, &labels.layout, &labels.affine, DType::U8, options).unwrap();
        assert_eq!(label_names::read(&path).unwrap(), Some(names()));
        let back = nifti::read(&path).unwrap();
        assert_eq!(
            statistics::statistics(&back, None, &names()).unwrap(),
            statistics::statistics(&labels, None, &names()).unwrap()
        );
    }
    let masks = folder.path().join("masks");
    let subset = names().subset(&["liver".into()]).unwrap();
    assert_eq!(split_labels::split_labels(&labels, &subset, &masks, ".nii.gz").unwrap(), [masks.join("liver.nii.gz")]);
    let mask = nifti::read(masks.join("liver.nii.gz")).unwrap();
    let rows = statistics::statistics(&mask, None, &Structures::default()).unwrap();
    assert_eq!((rows.len(), rows[0].id, rows[0].voxels), (1, 1, 45));
    let kept = split_labels::keep_only(&labels, &subset).unwrap();
    assert_eq!(
        statistics::statistics(&kept, None, &names()).unwrap().iter().map(|row| row.id).collect::<Vec<_>>(),
        [2]
    );
}

#[test]
fn a_preview_shows_the_patient_s_right_on_the_left() {
    // Right half: x runs to the left, so low indices are right.
    let labels = volume(Path::new("a"), |[x, _, _]| if x < 4 { 2 } else { 0 });
    let image = volume(Path::new("a"), |_| 40);
    let options = preview::Options { height_px: 96, opacity: 1.0, ..preview::Options::default() };
    let picture = preview::preview(&labels, &image, &names(), "a.nii.gz", options).unwrap();
    let liver = names().get(2).color();
    let labeled = |x: usize, y: usize| match picture.pixels[y * picture.width + x] {
        pixel if pixel == liver => true,
        [a, b, c] if a == b && b == c => false,
        other => panic!("{other:?} is neither a label nor gray"),
    };
    // The axial slice is the first: 24 mm of 32 mm, which are 96 pixels, wide; left of its middle is labeled.
    let row = picture.height / 3;
    assert!(labeled(8 + 12, row) && !labeled(8 + 60, row));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("preview.png");
    picture.write(&path).unwrap();
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
    let reader = decoder.read_info().unwrap();
    assert_eq!((reader.info().width as usize, reader.info().height as usize), (picture.width, picture.height));
}

fn component(name: &str) -> &'static Component {
    registry::table().component(name).unwrap()
}

/// Apply a transform to a sample whose `pred` is the label map; returns the files that it wrote.
fn apply(name: &str, args: Vec<(&str, Value)>, pred: &Volume) -> Result<Vec<PathBuf>, String> {
    let args = Args::named(args.into_iter().map(|(name, value): (&str, Value)| (Arc::<str>::from(name), value)));
    let built = (component(name).build)(args, &mut BuildContext::default()).map_err(|error| error.to_string())?;
    let transform = built.downcast::<TransformHandle>().unwrap();
    let mut sample = Sample::default();
    sample.set("pred", Item::Image(pred.clone()));
    let (case, mut writes) = (CaseContext::quiet(), vec![]);
    transform
        .0
        .apply(sample, &mut TransformContext { case: &case, writes: &mut writes, rng: &mut Default::default() })
        .map_err(|error| error.to_string())?;
    writes.into_iter().map(|job| (job.write)().map(|_| job.path).map_err(|error| error.to_string())).collect()
}

#[test]
fn transforms_write_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("s0037.nii.gz");
    let image = volume(&input, hu);
    nifti::write(&input, &image.voxels, &image.layout, &image.affine, DType::I16, nifti::Options::default()).unwrap();
    let pred = volume(&input, label);
    let out = folder.path().join("eval");
    let names = || Value::list(["background", "-", "liver", "c", "d", "table"].map(Value::from));
    let common =
        || vec![("keys", Value::from("pred")), ("names", names()), ("output_dir", Value::from(out.to_str().unwrap()))];

    let mut args = common();
    args.extend([("separate", true.into()), ("structures", Value::list([Value::from("liver"), Value::from("table")]))]);
    // Files, not folders: a run records the hash of each.
    let written = apply("segbundle.transforms.SaveLabelsd", args, &pred).unwrap();
    assert!(written.len() == 5 && written.iter().all(|path| path.is_file()), "{written:?}");
    let map = out.join("s0037/s0037_trans.nii.gz");
    assert_eq!(label_names::read(&map).unwrap().unwrap().len(), 2);
    let kept = statistics::statistics(&nifti::read(&map).unwrap(), None, &Structures::default()).unwrap();
    assert_eq!(kept.iter().map(|row| row.id).collect::<Vec<_>>(), [2, 5]);
    for file in
        ["s0037/segmentations/liver.nii.gz", "s0037/segmentations/table.nii.gz", "labels.ctbl", "labels.itksnap.txt"]
    {
        assert!(out.join(file).is_file(), "{file}");
    }

    apply("segbundle.transforms.SaveStatisticsd", common(), &pred).unwrap();
    let csv = std::fs::read_to_string(out.join("s0037/s0037_statistics.csv")).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0][..4], ["id", "name", "voxels", "volume_ml"]);
    assert_eq!(rows[1][..4], ["2", "liver", "45", "1.08"]);
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("s0037/s0037_statistics.json")).unwrap()).unwrap();
    assert_eq!(json["structures"][0]["name"], "liver");
    assert_eq!(json["structures"][0]["hu_mean"].as_f64(), rows[1][8].parse().ok());

    apply("segbundle.transforms.SavePreviewd", common(), &pred).unwrap();
    assert!(out.join("s0037/s0037_preview.png").is_file());

    let mut args = common();
    args.push(("structures", Value::list([Value::from("livre")])));
    let error = apply("segbundle.transforms.SaveLabelsd", args, &pred).unwrap_err();
    assert!(error.contains("unknown structure `livre`") && error.contains("liver"), "{error}");
}

#[test]
fn statistics_and_previews_read_the_series_and_the_axes_that_the_labels_were_made_of() {
    let two = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dicom/two");
    let mut sample = Sample::default();
    sample.set("image", Item::Value(two.to_str().unwrap().into()));
    let args: [(&str, Value); 3] =
        [("keys", "image".into()), ("series_name", Value::Int(2)), ("as_closest_canonical", true.into())];
    let load: Arc<TransformHandle> = build("LoadImaged", &args).unwrap().downcast().unwrap();
    let (case, mut writes) = (CaseContext::quiet(), vec![]);
    let loaded = load
        .0
        .apply(sample, &mut TransformContext { case: &case, writes: &mut writes, rng: &mut Default::default() })
        .unwrap();
    let image = loaded[0].image("image").unwrap();
    let labels = Volume { voxels: Voxels::U8(vec![1; image.voxels.len()].into()), ..image.clone() };
    let stored = segbundle::formats::reader::read(&two, Some("2")).unwrap();
    assert_ne!(stored.affine, labels.affine);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let args = || {
        vec![
            ("keys", Value::from("pred")),
            ("names", Value::list(["background", "body"].map(Value::from))),
            ("output_dir", out.into()),
        ]
    };
    apply("segbundle.transforms.SaveStatisticsd", args(), &labels).unwrap();
    apply("segbundle.transforms.SavePreviewd", args(), &labels).unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("two/two_statistics.json")).unwrap()).unwrap();
    let most = stored.to_f32_vec().unwrap().into_iter().fold(f32::MIN, f32::max);
    assert_eq!(json["structures"][0]["hu_max"].as_f64(), Some(f64::from(most)));
}

/// Masks that overlap, as a threshold makes them: channel 1 is the box, channel 2 is everything.
fn masks(path: &Path) -> Volume {
    let whole = volume(path, |_| 1);
    let layout = Layout::contiguous([3, SHAPE[1], SHAPE[2], SHAPE[3]]);
    let mut voxels = vec![0_u8; layout.len()];
    for x in 0..SHAPE[1] {
        for y in 0..SHAPE[2] {
            for z in 0..SHAPE[3] {
                voxels[layout.position([1, x, y, z])] = u8::from(label([x, y, z]) == 2);
                voxels[layout.position([2, x, y, z])] = 1;
            }
        }
    }
    Volume { voxels: Voxels::U8(voxels.into()), layout, ..whole }
}

#[test]
fn of_masks_in_channels_the_wanted_channels_are_kept_and_each_is_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("s0037.nii.gz");
    let pred = masks(&input);
    let names = |names: [&'static str; 3]| Value::list(names.map(Value::from));
    let args = |separate: bool, structures: Value| {
        let out = folder.path().join("eval");
        vec![
            ("keys", Value::from("pred")),
            ("names", names(["background", "liver", "body"])),
            ("output_dir", Value::from(out.to_str().unwrap())),
            ("separate", separate.into()),
            ("structures", structures),
        ]
    };
    apply("segbundle.transforms.SaveLabelsd", args(true, Value::None), &pred).unwrap();
    let count = |name: &str| {
        let mask = nifti::read(folder.path().join("eval/s0037").join(name)).unwrap();
        let Voxels::U8(voxels) = &mask.voxels else { panic!("expected u8") };
        (mask.layout.channels(), voxels.iter().map(|&voxel| usize::from(voxel)).sum::<usize>())
    };
    assert_eq!(count("segmentations/liver.nii.gz"), (1, 45));
    assert_eq!(count("segmentations/body.nii.gz"), (1, 960));
    assert_eq!(count("s0037_trans.nii.gz"), (3, 45 + 960));
    apply("segbundle.transforms.SaveLabelsd", args(false, Value::list([Value::from("liver")])), &pred).unwrap();
    assert_eq!(count("s0037_trans.nii.gz"), (3, 45));

    // Names of another network, probabilities, and nothing at all.
    let mut other = args(true, Value::None);
    other[1].1 = Value::Dict(Dict::new([(Key::Int(7), Value::from("spleen"))]));
    let error = apply("segbundle.transforms.SaveLabelsd", other, &pred).unwrap_err();
    assert!(error.contains("`spleen` is channel 7, but the prediction has 3 channels"), "{error}");
    let values = Volume { voxels: pred.voxels.clone().cast(DType::I16).unwrap(), ..pred.clone() };
    let error = apply("segbundle.transforms.SaveLabelsd", args(true, Value::None), &values).unwrap_err();
    assert!(error.contains("found 3 channels of int16"), "{error}");
    let error = apply("segbundle.transforms.SaveLabelsd", args(false, Value::list([])), &pred).unwrap_err();
    assert!(error.contains("expected names, found an empty list"), "{error}");
}

/// `SaveImaged("p", resample=True, mode=mode)` of MONAI 1.6.1 on a MetaTensor of `i * 37 % 11` with affine
/// diag(3, 2, 2) and translation (1, 2, 3), `original_affine` diag(-2, 2, 3) and translation (4, 2, 3), `spatial_shape`
/// 3×3×3; the file as nibabel reads it. Tolerance: the six digits given.
#[test]
fn a_result_is_resampled_to_the_grid_of_its_file() {
    let third = 1.0 / 3.0;
    let expected: [(&str, [f64; 27]); 2] = [
        (
            "nearest",
            [
                4.0, 1.0, 5.0, 9.0, 6.0, 10.0, 3.0, 0.0, 4.0, 0.0, 8.0, 1.0, 5.0, 2.0, 6.0, 10.0, 7.0, 0.0, 0.0, 8.0,
                1.0, 5.0, 2.0, 6.0, 10.0, 7.0, 0.0,
            ],
        ),
        (
            "bilinear",
            [
                4.0,
                4.5,
                5.0,
                9.0,
                4.0,
                10.0,
                3.0,
                3.5,
                4.0,
                1.0 + third,
                5.5,
                2.0 + third,
                6.0 + third,
                5.0,
                7.0 + third,
                7.0 + 2.0 * third,
                4.5,
                1.0 + third,
                0.0,
                6.0,
                1.0,
                5.0,
                5.5,
                6.0,
                10.0,
                5.0,
                0.0,
            ],
        ),
    ];
    for (mode, expected) in expected {
        let folder = tempfile::tempdir().unwrap();
        let original =
            Affine([[-2.0, 0.0, 0.0, 4.0], [0.0, 2.0, 0.0, 2.0], [0.0, 0.0, 3.0, 3.0], [0.0, 0.0, 0.0, 1.0]]);
        let grid = Grid { shape: [3; 3], affine: original };
        let header =
            ImageHeader { path: "a.nii.gz".into(), grid, spatial_dims: 3, channels: None, space: None, series: None };
        let image = Volume {
            voxels: Voxels::F32((0..24).map(|i| (i * 37 % 11) as f32).collect()),
            layout: Layout::contiguous([1, 2, 3, 4]),
            affine: Affine([[3.0, 0.0, 0.0, 1.0], [0.0, 2.0, 0.0, 2.0], [0.0, 0.0, 2.0, 3.0], [0.0, 0.0, 0.0, 1.0]]),
            channel_first: true,
            integer_type: None,
            header: Arc::new(header),
            trace: vec![],
        };
        let args = [
            ("keys", "p".into()),
            ("output_dir", folder.path().to_str().unwrap().into()),
            ("resample", true.into()),
            ("mode", mode.into()),
            ("separate_folder", false.into()),
        ];
        let save = build("SaveImaged", &args).unwrap().downcast::<TransformHandle>().unwrap();
        let mut sample = Sample::default();
        sample.set("p", Item::Image(image));
        let (case, mut writes) = (CaseContext::quiet(), vec![]);
        save.0
            .apply(sample, &mut TransformContext { case: &case, writes: &mut writes, rng: &mut Default::default() })
            .unwrap();
        writes.into_iter().for_each(|job| drop((job.write)().unwrap()));
        let saved = nifti::read(folder.path().join("a_trans.nii.gz")).unwrap();
        assert_eq!(saved.grid(), grid);
        let found = saved.to_f32_vec().unwrap();
        let most = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        assert!(most < 1e-6, "{mode}: {found:?}");
    }
}
