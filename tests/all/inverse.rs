//! Inversion against MONAI.

use crate::npz::Npz;
use crate::transforms::{affine, cases, chain, golden, large};
use segbundle::case_context::CaseContext;
use segbundle::image::Inverse;
use segbundle::prediction::{Prediction, PredictionState};
use std::sync::Arc;
use tch::{Kind, Tensor};

#[test]
fn nearest_inversion_has_monais_labels() {
    nearest(&golden());
}

#[test]
#[ignore = "needs a larger set of arrays of MONAI: SEGBUNDLE_LARGE_TRANSFORMS=FILE"]
fn inversion_agrees_with_monai_on_the_large_set() {
    nearest(&large());
    linear(&large());
}

/// A label of an oblique image may differ where its position is halfway between two voxels of the prediction: rounding
/// noise decides such a tie in MONAI, and it comes from matrix products that depend on the processor.
fn nearest(data: &Npz) {
    for case in cases(data) {
        let inverse = Inverse::new(&chain(data, &case).trace).unwrap();
        let array = |name: &str| &data[&format!("{case}/{name}")];
        let [from, to] = ["affine", "out_affine"].map(|name| affine(&array(name).f64()));
        let to_prediction = to.solve(&from).unwrap();
        let expected = array("label_inverse").u8();
        let [_, y, z] = array("image").shape[..] else { panic!("{case}") };
        let back = inverse.nearest(&array("label").u8(), 0);
        assert_eq!(back.len(), expected.len(), "{case}");
        let differing: Vec<usize> = (0..back.len()).filter(|&at| back[at] != expected[at]).collect();
        println!("{case}: {} of {} labels differ", differing.len(), back.len());
        let oblique = from.0[..3].iter().any(|row| row[..3].iter().filter(|x| x.abs() > 1e-6).count() > 1);
        assert!(differing.len() <= if oblique { 10 } else { 0 }, "{case}");
        for at in differing {
            let voxel = [at / (y * z), at / z % y, at % z].map(|index| index as f64);
            let position = to_prediction.at(voxel);
            let tie = position.iter().any(|p| (p - p.floor() - 0.5).abs() < 1e-9);
            assert!(tie, "{case}: voxel {voxel:?} is at {position:?} of the prediction");
        }
    }
}

#[test]
fn linear_inversion_has_monais_values() {
    linear(&golden());
}

/// Values up to 5: one unit in the last place is 5e-7.
fn linear(data: &Npz) {
    for case in cases(data) {
        let inverse = Inverse::new(&chain(data, &case).trace).unwrap();
        let expected = data[&format!("{case}/channel_inverse")].f32();
        let back = inverse.linear(&data[&format!("{case}/channel")].f32()).unwrap();
        assert_eq!(back.len(), expected.len(), "{case}");
        let most = back.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{case}: at most {most:e} apart");
        assert!(most <= 5e-7, "{case}: {most}");
    }
}

#[test]
fn a_channel_of_another_size_is_an_error() {
    let data = golden();
    let inverse = Inverse::new(&chain(&data, "axis_3").trace).unwrap();
    assert!(inverse.linear(&[0.0; 7]).unwrap_err().message().contains("expected a channel of"));
}

#[test]
fn argmax_and_thresholds_of_interpolated_channels_equal_those_of_all_channels() {
    let (data, cx) = (golden(), CaseContext::quiet());
    for case in cases(&data) {
        let image = chain(&data, &case);
        let inverse = Arc::new(Inverse::new(&image.trace).unwrap());
        let with = |state| Prediction { state, header: image.header.clone(), trace: vec![] };
        let [x, y, z] = inverse.from_grid().shape.map(|n| n as i64);
        tch::manual_seed(3);
        // Values with ties, some of them NaN.
        let values = (Tensor::rand([5, x, y, z], (Kind::Float, tch::Device::Cpu)) * 8).round() / 8;
        let values = values.where_scalarother(&values.not_equal(0.875), f64::NAN);
        let inverted = || {
            let state = PredictionState::Dense(values.shallow_clone(), inverse.from_grid());
            with(state).invert(&inverse, false, &cx).unwrap()
        };
        let all = || {
            let (values, grid) = inverted().dense(&cx).unwrap();
            with(PredictionState::Dense(values, grid))
        };
        let voxels = |prediction: Prediction| prediction.into_volume(&cx).unwrap().to_f32_vec().unwrap();
        // Channels are summed in another order than in `dense` if the grids are parallel: values that are equal but for
        // rounding may change places.
        let channels = voxels(all());
        let (found, expected) = (voxels(inverted().argmax(&cx).unwrap()), voxels(all().argmax(&cx).unwrap()));
        let value = |label: f32, at: usize| channels[label as usize * found.len() + at];
        for at in (0..found.len()).filter(|&at| found[at] != expected[at]) {
            let (a, b) = (value(found[at], at), value(expected[at], at));
            assert!((a - b).abs() <= f32::EPSILON || (a.is_nan() && b.is_nan()), "{case}: {a} and {b} at {at}");
        }
        let threshold = 0.5;
        let masks = |prediction: Prediction| voxels(prediction.threshold(threshold, &cx).unwrap());
        assert!(masks(inverted()) == masks(all()), "{case}");
    }
}
