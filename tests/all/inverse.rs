//! Inversion against MONAI.

use crate::npz::Npz;
use crate::transforms::{affine, cases, chain, golden, large};
use segbundle::image::Inverse;

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
