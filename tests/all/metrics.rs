//! Metrics against MONAI's and ignite's values (data/make_metrics.py), on label maps and on channels.

use crate::common::{build, golden};
use segbundle::component::{FromValue, Value};
use segbundle::contracts::{Attached, Score, Segmentation};
use tch::{Device, Kind, Tensor};

/// As data/make_metrics.py makes them: [6,5,4].
fn labels(case: i64, a: i64, classes: i64) -> Tensor {
    let x: Tensor = Tensor::arange(120, (Kind::Int64, Device::Cpu)) * a + case * 13;
    x.floor_divide_scalar(7).remainder(classes).reshape([6, 5, 4])
}

fn one_hot(map: &Tensor, classes: usize) -> Segmentation {
    let channels: Vec<Tensor> = (0..classes as i64).map(|c| map.eq(c)).collect();
    Segmentation::Channels(Tensor::stack(&channels, 0).to_kind(Kind::Float))
}

fn map(map: &Tensor, classes: usize) -> Segmentation {
    Segmentation::Labels { map: map.to_kind(Kind::Uint8), classes, unassigned: false }
}

fn metric(name: &str, args: &[(&str, Value)]) -> Attached {
    Attached::from_value(&build(name, args).unwrap()).unwrap()
}

/// After the three cases, given in each of the forms.
fn scores(name: &str, args: &[(&str, Value)]) -> Vec<Score> {
    let forms: [fn(&Tensor, usize) -> Segmentation; 2] = [map, one_hot];
    let mut out = vec![];
    for (predictions, targets) in
        [(forms[0], forms[0]), (forms[1], forms[1]), (forms[0], forms[1]), (forms[1], forms[0])]
    {
        let metric = metric(name, args);
        let mut metric = metric.metric.lock();
        metric.reset();
        for case in 0..3 {
            metric.update(&predictions(&labels(case, 5, 7), 7), &targets(&labels(case, 6, 5 + case), 7)).unwrap();
        }
        out.push(metric.value().unwrap());
    }
    out
}

fn numbers(score: &Score) -> Vec<f64> {
    match score {
        Score::Number(x) => vec![*x],
        Score::Numbers(all) => all.clone(),
        Score::Named(all) => all.iter().map(|(_, x)| *x).collect(),
    }
}

#[test]
fn dice_equals_monai_in_every_reduction() {
    let golden = golden("metrics.pt");
    for reduction in ["none", "mean", "sum", "mean_batch", "sum_batch", "mean_channel", "sum_channel"] {
        for (background, empty) in [(true, true), (true, false), (false, true), (false, false)] {
            let args = [
                ("reduction", reduction.into()),
                ("include_background", background.into()),
                ("ignore_empty", empty.into()),
            ];
            let expected = &golden[&format!("{reduction}.{}{}", u8::from(background), u8::from(empty))];
            let expected: Vec<f64> = Vec::try_from(expected.to_kind(Kind::Double).reshape([-1])).unwrap();
            for score in scores("DiceMetric", &args) {
                let found = numbers(&score);
                // A sum of 18 values of at most 1, in another order of f32 additions.
                let close =
                    |(a, b): (&f64, &f64)| (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * b.abs().max(1.0);
                assert!(
                    found.len() == expected.len() && found.iter().zip(&expected).all(close),
                    "{reduction}: {found:?} {expected:?}"
                );
            }
        }
    }
    for score in scores("DiceMetric", &[("reduction", "mean_batch".into()), ("ignore_index", 2.into())]) {
        let expected: Vec<f64> = Vec::try_from(golden["ignore"].to_kind(Kind::Double)).unwrap();
        assert!(numbers(&score).iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{score:?} {expected:?}");
    }
}

#[test]
fn accuracy_equals_ignite() {
    let golden = golden("metrics.pt");
    for multilabel in [false, true] {
        for score in scores("Accuracy", &[("is_multilabel", multilabel.into())]) {
            assert_eq!(numbers(&score), [golden[&format!("accuracy.{}", u8::from(multilabel))].double_value(&[])]);
        }
    }
}

#[test]
fn names_rows_and_errors() {
    let args =
        [("include_background", false.into()), ("reduction", "mean_batch".into()), ("return_with_label", true.into())];
    let Score::Named(named) = &scores("MeanDice", &args)[0] else { panic!() };
    assert_eq!(
        named.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["label_1", "label_2", "label_3", "label_4", "label_5", "label_6"]
    );

    let dice = metric("MeanDice", &[("include_background", false.into())]);
    assert!(dice.save_details && dice.output_transform.is_none());
    let mut dice = dice.metric.lock();
    assert!(dice.value().is_err());
    dice.update(&map(&labels(0, 5, 7), 7), &map(&labels(0, 6, 5), 7)).unwrap();
    let details = dice.details().unwrap();
    assert!(details.first_channel == 1 && details.rows[0].len() == 6 && details.rows[0][5].is_nan());
    let parts = dice.parts();
    dice.reset();
    dice.set_parts(parts);
    let error = dice.update(&map(&labels(0, 5, 7), 6), &map(&labels(0, 6, 5), 6)).unwrap_err().to_string();
    assert!(error.contains("the prediction contains labels from 0 to 6, expected 0 to 5"), "{error}");
    let error =
        dice.update(&map(&labels(0, 5, 7), 7), &map(&labels(0, 6, 5).reshape([5, 6, 4]), 7)).unwrap_err().to_string();
    assert!(error.contains("[6, 5, 4]") && error.contains("[5, 6, 4]"), "{error}");
    assert_eq!(dice.details().unwrap().rows.len(), 1);

    let accuracy = metric("Accuracy", &[]);
    let probabilities = Segmentation::Channels(Tensor::full([2, 3, 3, 3], 0.5, (Kind::Float, Device::Cpu)));
    let error = accuracy.metric.lock().update(&probabilities, &probabilities).unwrap_err().to_string();
    assert!(error.contains("of zeros and ones, found other values"), "{error}");
}

/// Three classes on six voxels; the fourth voxel of the prediction is in none, as a component that was removed. By hand:
/// Dice 2·1/(1+2), 2·2/(2+3), 2·1/(2+1).
#[test]
fn voxels_of_no_channel_count_in_no_class() {
    let of = |values: &[u8], unassigned: bool| {
        let map = Tensor::from_slice(values).reshape([6, 1, 1]);
        Segmentation::Labels { map, classes: 3, unassigned }
    };
    let (prediction, target) = (of(&[0, 1, 1, 255, 2, 2], true), of(&[0, 1, 1, 1, 2, 0], false));
    let channels = |segmentation: &Segmentation| {
        let planes: Vec<Tensor> = (0..3).map(|c| segmentation.channel(c).unwrap()).collect();
        Segmentation::Channels(Tensor::stack(&planes, 0).to_kind(Kind::Uint8))
    };
    for (prediction, target) in [(channels(&prediction), channels(&target)), (prediction, target)] {
        let args = [("include_background", true.into()), ("reduction", "mean_batch".into())];
        let dice = Attached::from_value(&build("MeanDice", &args).unwrap()).unwrap().metric;
        dice.lock().update(&prediction, &target).unwrap();
        let Score::Numbers(values) = dice.lock().value().unwrap() else { panic!() };
        let expected = [2.0 / 3.0, 4.0 / 5.0, 2.0 / 3.0];
        assert!(values.iter().zip(expected).all(|(a, b): (&f64, f64)| (a - b).abs() < 1e-6), "{values:?}");
    }
}
