//! Metrics of overlaps and surfaces against MONAI's values (data/make_surfaces.py), on label maps and on channels.

use crate::common::build;
use segbundle::component::{FromValue, Value};
use segbundle::contracts::{Attached, Score, Segmentation};
use segbundle::image::{DistanceMetric, distances, voxel_surfaces};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

const SHAPE: [i64; 3] = [9, 8, 7];

struct Golden(BTreeMap<String, Vec<f64>>);

impl Golden {
    fn new() -> Golden {
        let text = include_str!("../data/surfaces.txt");
        let parsed = |line: &str| {
            let mut words = line.split('\t');
            let name = words.next().unwrap().to_owned();
            (name, words.map(|word| word.parse().unwrap()).collect())
        };
        Golden(text.lines().map(parsed).collect())
    }
    /// Predictions and targets `[channels, X, Y, Z]` by case; for `maps` in each form.
    fn inputs(&self, kind: &str) -> Vec<Vec<[Segmentation; 2]>> {
        let tensor = |name: &str| Tensor::from_slice(&self.0[name]);
        if kind == "maps" {
            let maps = tensor("maps").reshape([3, 2, 9, 8, 7]);
            let map = |case, side| maps.get(case).get(side).to_kind(Kind::Uint8);
            let labels = |case, side| Segmentation::Labels { map: map(case, side), classes: 6, unassigned: false };
            let one_hot = |case, side| {
                let channels: Vec<Tensor> = (0..6i64).map(|class| map(case, side).eq(class)).collect();
                Segmentation::Channels(Tensor::stack(&channels, 0).to_kind(Kind::Float))
            };
            return vec![
                (0..3).map(|case| [labels(case, 0), labels(case, 1)]).collect(),
                (0..3).map(|case| [one_hot(case, 0), labels(case, 1)]).collect(),
            ];
        }
        let channels = tensor("channels").reshape([3, 2, 3, 9, 8, 7]).to_kind(Kind::Float);
        let count = if kind == "one" { 1 } else { 3 };
        let of = |case, side| Segmentation::Channels(channels.get(case).get(side).narrow(0, 0, count));
        vec![(0..3).map(|case| [of(case, 0), of(case, 1)]).collect()]
    }
}

fn equal(found: &[f64], expected: &[f64]) -> bool {
    // Up to 18 f32 values are added in another order; distances are rounded once.
    let close = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-5 * b.abs().max(1.0);
    found.len() == expected.len() && found.iter().zip(expected).all(close)
}

/// Name and arguments of a metric in the golden data.
fn described(text: &str) -> (String, Vec<(&'static str, Value)>) {
    let words: Vec<&str> = text.split(',').collect();
    let flag = |word: &str| Value::from(word == "1");
    let number = |word: &str| word.parse().map_or(Value::None, Value::Float);
    let mut name = words[0].to_owned();
    let mut args = vec![];
    match words[1..] {
        [distance, directed, percentile] if name == "HausdorffDistanceMetric" => {
            args.push(("distance_metric", distance.into()));
            args.push(("directed", flag(directed)));
            args.push(("percentile", number(percentile)));
        }
        [rate, sample] if name == "ConfusionMatrixMetric" && rate.len() > 1 => {
            args.push(("metric_name", rate.into()));
            args.push(("compute_sample", flag(sample)));
        }
        [distance] => args.push(("distance_metric", distance.into())),
        [.., background, ignore] => {
            args.push(("include_background", flag(background)));
            args.push(("ignore_index", ignore.parse().map_or(Value::None, |index: i64| index.into())));
            if let [cells, _, _] = words[1..] {
                args.push(("use_subvoxels", flag(cells)));
            }
        }
        _ => panic!("{text}"),
    }
    if let Some(short) = name.strip_suffix(" empty") {
        name = short.to_owned();
        args.push(("ignore_empty", false.into()));
    }
    if name == "SurfaceDistanceMetric" && args.len() > 1 {
        args.push(("symmetric", true.into()));
    }
    (name, args)
}

#[test]
fn every_metric_equals_monai_in_every_reduction() {
    let golden = Golden::new();
    let mut compared = 0;
    for kind in ["maps", "channels", "one"] {
        let inputs = golden.inputs(kind);
        for (key, buffer) in golden.0.iter().filter(|(key, _)| key.starts_with(&format!("{kind}/"))) {
            let [_, metric] = key.split('/').collect::<Vec<_>>()[..] else { continue };
            let (name, mut args) = described(metric);
            if name == "SurfaceDiceMetric" {
                let background = args.contains(&("include_background", true.into()));
                let channels = inputs[0][0][0].channels();
                let thresholds = [0.5, 1.0, 1.5, 0.0, 2.0, 1.0];
                let count = channels - usize::from(!background && channels > 1);
                args.push(("class_thresholds", Value::list(thresholds[..count].iter().map(|&x| x.into()))));
            }
            for cases in &inputs {
                for (reduction, expected) in golden.0.range(format!("{key}/")..format!("{key}0")) {
                    let reduction = reduction.rsplit('/').next().unwrap();
                    let mut args = args.clone();
                    args.push(("reduction", reduction.into()));
                    let metric = Attached::from_value(&build(&name, &args).unwrap()).unwrap();
                    let mut metric = metric.metric.lock();
                    for [prediction, target] in cases {
                        metric.update(prediction, target).unwrap();
                    }
                    let found = match metric.value().unwrap() {
                        Score::Number(x) => vec![x],
                        Score::Numbers(all) => all,
                        Score::Named(_) => panic!(),
                    };
                    assert!(equal(&found, expected), "{key} {reduction}: {found:?}, expected {expected:?}");
                    let rows = match name.as_str() {
                        "ConfusionMatrixMetric" => metric.parts().rows,
                        _ => metric.details().unwrap().rows,
                    };
                    let rows: Vec<f64> = rows.concat().into_iter().map(f64::from).collect();
                    assert!(equal(&rows, buffer), "{key}: {rows:?}, expected {buffer:?}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 1000, "{compared}");
}

#[test]
fn a_spacing_scales_euclidean_distances_as_in_monai() {
    let golden = Golden::new();
    let shape = SHAPE.map(|n| n as usize);
    let spacing: [f64; 3] = golden.0["spacing"].clone().try_into().unwrap();
    let maps: Vec<i16> = golden.0["maps"].iter().map(|&label| label as i16).collect();
    let mut found = vec![];
    for pair in maps.chunks(2 * 9 * 8 * 7) {
        let [prediction, target] = [0, 1].map(|side| voxel_surfaces(&pair[side * 504..][..504], shape, 0..6).unwrap());
        for (prediction, target) in prediction.iter().zip(&target) {
            let farthest = |from: &[u32], to: &[u32]| {
                let all = distances(from, to, shape, DistanceMetric::Euclidean, spacing);
                all.into_iter().fold(f32::NAN, f32::max)
            };
            let both = farthest(&prediction.points, &target.points).max(farthest(&target.points, &prediction.points));
            found.push(f64::from(both));
        }
    }
    assert!(equal(&found, &golden.0["anisotropic"]), "{found:?}, expected {:?}", golden.0["anisotropic"]);
}

#[test]
fn handlers_have_the_values_of_their_metrics_and_say_which_direction_is_better() {
    let golden = Golden::new();
    let surface_dice = build("SurfaceDiceMetric", &[("class_thresholds", Value::list([1.0; 5].map(Value::from)))]);
    let pairs = [
        ("MeanIoUHandler", vec![], build("MeanIoU", &[]), false),
        (
            "HausdorffDistance",
            vec![("percentile", 95.into())],
            build("HausdorffDistanceMetric", &[("percentile", 95.into())]),
            true,
        ),
        (
            "SurfaceDistance",
            vec![("symmetric", true.into())],
            build("SurfaceDistanceMetric", &[("symmetric", true.into())]),
            true,
        ),
        (
            "ConfusionMatrix",
            vec![("metric_name", "Miss rate".into())],
            build("ConfusionMatrixMetric", &[("metric_name", "fnr".into())]),
            true,
        ),
        (
            "IgniteMetricHandler",
            vec![("metric_fn", surface_dice.unwrap())],
            build("SurfaceDiceMetric", &[("class_thresholds", Value::list([1.0; 5].map(Value::from)))]),
            false,
        ),
    ];
    for (name, args, metric, lower_is_better) in pairs {
        let handler = Attached::from_value(&build(name, &args).unwrap()).unwrap();
        let metric = Attached::from_value(&metric.unwrap()).unwrap();
        let [handler, metric] = [handler, metric].map(|attached| {
            let mut metric = attached.metric.lock();
            golden.inputs("maps")[0].iter().for_each(|[a, b]| metric.update(a, b).unwrap());
            (metric.value().unwrap(), metric.details().unwrap(), metric.parts())
        });
        assert_eq!(handler.0, metric.0, "{name}");
        assert_eq!(format!("{:?}", handler.1), format!("{:?}", metric.1), "{name}");
        assert_eq!(handler.1.lower_is_better, lower_is_better, "{name}");
    }
}

#[test]
fn structures_in_only_one_of_prediction_and_label_are_counted() {
    // Label 1 is in both, 2 in the label, 3 in the prediction, 4 in none.
    let map = |values: [i64; 4]| Segmentation::Labels {
        map: Tensor::from_slice(&values).view([4, 1, 1]),
        classes: 5,
        unassigned: false,
    };
    let (prediction, target) = (map([1, 0, 0, 3]), map([1, 0, 2, 2]));
    // MONAI's Hausdorff distances with a percentile are NaN where they are infinite.
    for (name, percentile, absent) in [
        ("HausdorffDistance", Some(95), f32::NAN),
        ("HausdorffDistance", None, f32::INFINITY),
        ("SurfaceDistance", None, f32::INFINITY),
    ] {
        let args: Vec<(&str, Value)> =
            percentile.map(|percentile| ("percentile", percentile.into())).into_iter().collect();
        let metric = Attached::from_value(&build(name, &args).unwrap()).unwrap().metric;
        let mut metric = metric.lock();
        metric.update(&prediction, &target).unwrap();
        metric.update(&target, &target).unwrap();
        let details = metric.details().unwrap();
        assert_eq!((details.infinite, details.unit), (vec![0, 1, 1, 0], Some("voxels")), "{name}");
        let expected = [[0.0, absent, absent, f32::NAN], [0.0, 0.0, f32::NAN, f32::NAN]];
        let [found, expected] = [details.rows.concat(), expected.concat()].map(|row| format!("{row:?}"));
        assert_eq!(found, expected, "{name} {percentile:?}");
    }
    let dice = build("SurfaceDiceMetric", &[("class_thresholds", Value::list([1.0; 4].map(Value::from)))]);
    let dice = Attached::from_value(&dice.unwrap()).unwrap().metric;
    dice.lock().update(&prediction, &target).unwrap();
    let details = dice.lock().details().unwrap();
    assert_eq!((details.infinite, details.unit), (vec![], None));
}

#[test]
fn arguments_out_of_range_are_refused() {
    let thresholds = |values: &[f64]| ("class_thresholds", Value::list(values.iter().map(|&x| x.into())));
    let error = |name, args: &[(&str, Value)]| build(name, args).map(|_| ()).unwrap_err().to_string();
    assert!(error("HausdorffDistance", &[("percentile", 101.into())]).contains("`percentile` is 101, expected"));
    assert!(error("HausdorffDistance", &[("distance_metric", "city".into())]).contains("\"taxicab\""));
    assert!(error("SurfaceDiceMetric", &[thresholds(&[1.0, -1.0])]).contains("contains -1, expected finite"));
    assert!(error("ConfusionMatrix", &[("metric_name", "recal".into())]).contains("\"sensitivity\""));
    assert!(error("IgniteMetricHandler", &[]).contains("expected a metric"));
    let dice = Attached::from_value(&build("SurfaceDiceMetric", &[thresholds(&[1.0, 1.0])]).unwrap()).unwrap();
    let [prediction, target] = &Golden::new().inputs("maps")[0][0];
    let error = dice.metric.lock().update(prediction, target).unwrap_err().to_string();
    assert!(error.contains("`class_thresholds` has 2 values, expected 5"), "{error}");
}

#[test]
fn labels_that_are_not_numbers_are_refused() {
    let map = |values: &[f32]| Segmentation::Labels {
        map: Tensor::from_slice(values).reshape([2, 1, 1]),
        classes: 2,
        unassigned: false,
    };
    for name in ["MeanIoU", "HausdorffDistanceMetric"] {
        let metric = Attached::from_value(&build(name, &[]).unwrap()).unwrap();
        let error = metric.metric.lock().update(&map(&[f32::NAN, 1.0]), &map(&[0.0, 1.0])).unwrap_err().to_string();
        assert!(error.contains("the prediction contains labels from NaN to NaN, expected 0 to 1"), "{error}");
    }
}
