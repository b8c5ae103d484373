//! Inversion against MONAI: not one label may differ.

use crate::npz::Npz;
use crate::transforms::{cases, chain, golden, large};
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

fn nearest(data: &Npz) {
    for case in cases(data) {
        let inverse = Inverse::new(&chain(data, &case).trace).unwrap();
        let expected = data[&format!("{case}/label_inverse")].u8();
        let back = inverse.nearest(&data[&format!("{case}/label")].u8(), 0);
        assert_eq!(back.len(), expected.len(), "{case}");
        let differing = back.iter().zip(&expected).filter(|(a, b)| a != b).count();
        println!("{case}: {differing} of {} labels differ", back.len());
        assert_eq!(differing, 0, "{case}");
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
