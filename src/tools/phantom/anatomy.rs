//! The torso as a table of shapes, from the hips to the shoulders; z = 0 is the lower edge of T12.
//!
//! Positions and sizes are round figures of an average adult. Pairs are written for the right side (x > 0).

use super::shape::Tissue::{Air, Blood, Bone, Fat, Gland, Lung, Marrow, Muscle, Wall, Water};
use super::shape::{Form, HalfSpace, Point, Shape, Tissue};
use crate::err;
use crate::error::Result;
use crate::tools::classes;

/// A form in a table: what [`Form`] is, in constants.
enum Part {
    /// centre, radii
    Ball(Point, Point),
    /// radius, points
    Line(f64, &'static [Point]),
}
use Part::{Ball, Line};

/// What has no class: skin to ribs.
const FRAME: &[(Tissue, Part)] = &[
    (Fat, Ball([0.0, -10.0, 265.0], [195.0, 88.0, 75.0])),
    (Muscle, Ball([0.0, -12.0, 262.0], [182.0, 76.0, 64.0])),
    (Fat, Ball([0.0, -8.0, -250.0], [182.0, 122.0, 130.0])),
];

/// One of a kind, painted from top to bottom.
const SINGLE: &[(&str, Tissue, Part)] = &[
    ("sacrum", Marrow, Ball([0.0, -72.0, -198.0], [44.0, 20.0, 44.0])),
    ("small_bowel", Wall, Ball([0.0, 42.0, -95.0], [70.0, 44.0, 62.0])),
    (
        "colon",
        Wall,
        Line(20.0, &[[96.0, 12.0, -125.0], [98.0, 10.0, -25.0], [40.0, 66.0, -22.0], [-40.0, 66.0, -18.0], [-98.0, 10.0, 12.0]]),
    ),
    (
        "colon",
        Wall,
        Line(17.0, &[[-98.0, 10.0, 12.0], [-100.0, 0.0, -120.0], [-50.0, 10.0, -180.0], [0.0, -20.0, -200.0], [0.0, -35.0, -260.0]]),
    ),
    ("colon", Air, Line(9.0, &[[60.0, 58.0, -18.0], [40.0, 70.0, -16.0], [-40.0, 70.0, -12.0]])),
    ("urinary_bladder", Water, Ball([0.0, 32.0, -238.0], [42.0, 34.0, 32.0])),
    ("heart_myocardium", Muscle, Ball([-26.0, 30.0, 160.0], [50.0, 44.0, 50.0])),
    ("heart_atrium_left", Blood, Ball([-8.0, 4.0, 184.0], [26.0, 18.0, 22.0])),
    ("heart_ventricle_left", Blood, Ball([-44.0, 34.0, 150.0], [20.0, 20.0, 30.0])),
    ("heart_atrium_right", Blood, Ball([16.0, 26.0, 168.0], [20.0, 22.0, 26.0])),
    ("heart_ventricle_right", Blood, Ball([-10.0, 52.0, 152.0], [28.0, 18.0, 28.0])),
    ("liver", Gland, Ball([66.0, 12.0, 56.0], [70.0, 74.0, 62.0])),
    ("liver", Gland, Ball([2.0, 42.0, 74.0], [62.0, 36.0, 34.0])),
    ("stomach", Water, Ball([-58.0, 26.0, 58.0], [42.0, 38.0, 52.0])),
    ("stomach", Air, Ball([-58.0, 42.0, 82.0], [26.0, 16.0, 18.0])),
    ("spleen", Gland, Ball([-98.0, -34.0, 60.0], [26.0, 38.0, 46.0])),
    ("gallbladder", Water, Ball([46.0, 54.0, 14.0], [15.0, 15.0, 26.0])),
    ("duodenum", Wall, Line(13.0, &[[34.0, 30.0, 22.0], [46.0, 8.0, 2.0], [36.0, 2.0, -46.0], [-18.0, 6.0, -44.0]])),
    ("pancreas", Gland, Line(12.0, &[[30.0, 14.0, -12.0], [4.0, 24.0, 8.0], [-40.0, 6.0, 30.0], [-74.0, -14.0, 44.0]])),
    (
        "portal_vein_and_splenic_vein",
        Blood,
        Line(6.5, &[[40.0, 16.0, 48.0], [12.0, 12.0, 10.0], [-30.0, -4.0, 26.0], [-72.0, -26.0, 50.0]]),
    ),
    ("esophagus", Wall, Line(9.0, &[[-4.0, -18.0, 330.0], [-2.0, -24.0, 220.0], [-6.0, -24.0, 140.0], [-28.0, 0.0, 92.0]])),
    ("trachea", Air, Line(9.5, &[[0.0, 4.0, 330.0], [0.0, -4.0, 230.0]])),
    ("trachea", Air, Line(6.5, &[[30.0, -10.0, 205.0], [0.0, -4.0, 230.0], [-34.0, -10.0, 200.0]])),
    ("pulmonary_artery", Blood, Line(13.0, &[[-16.0, 46.0, 188.0], [-20.0, 20.0, 212.0]])),
    ("pulmonary_artery", Blood, Line(10.0, &[[-50.0, -4.0, 206.0], [-20.0, 20.0, 212.0], [40.0, 2.0, 206.0]])),
    (
        "aorta",
        Blood,
        Line(14.0, &[[-8.0, 26.0, 182.0], [12.0, 24.0, 222.0], [2.0, 8.0, 248.0], [-16.0, -18.0, 250.0], [-24.0, -34.0, 232.0]]),
    ),
    ("aorta", Blood, Line(11.5, &[[-24.0, -34.0, 232.0], [-22.0, -38.0, 130.0], [-10.0, -30.0, 30.0], [-8.0, -22.0, -118.0]])),
    ("inferior_vena_cava", Blood, Line(11.5, &[[14.0, -22.0, -120.0], [18.0, -24.0, 0.0], [22.0, -6.0, 90.0], [18.0, 14.0, 150.0]])),
];

/// Left and right.
const PAIRED: &[(&str, Tissue, Part)] = &[
    ("gluteus_maximus", Muscle, Ball([70.0, -84.0, -238.0], [52.0, 26.0, 74.0])),
    ("gluteus_medius", Muscle, Ball([112.0, -36.0, -176.0], [24.0, 44.0, 52.0])),
    ("gluteus_minimus", Muscle, Ball([104.0, -12.0, -200.0], [16.0, 28.0, 36.0])),
    ("iliopsoas", Muscle, Line(18.0, &[[34.0, -40.0, -20.0], [46.0, -26.0, -120.0], [76.0, 22.0, -232.0], [86.0, 0.0, -290.0]])),
    ("autochthon", Muscle, Line(21.0, &[[26.0, -92.0, -190.0], [30.0, -84.0, -60.0], [28.0, -86.0, 90.0], [26.0, -84.0, 300.0]])),
    (
        "hip",
        Marrow,
        Line(15.0, &[[84.0, -48.0, -128.0], [104.0, -6.0, -138.0], [84.0, -6.0, -190.0], [70.0, 4.0, -236.0], [26.0, 44.0, -262.0]]),
    ),
    ("hip", Marrow, Line(16.0, &[[48.0, -62.0, -176.0], [76.0, -30.0, -164.0], [70.0, -10.0, -236.0], [56.0, -28.0, -296.0]])),
    ("femur", Bone, Ball([92.0, 2.0, -240.0], [25.0, 25.0, 25.0])),
    ("femur", Bone, Line(15.0, &[[92.0, 2.0, -240.0], [136.0, -8.0, -262.0], [128.0, 0.0, -420.0]])),
    ("femur", Marrow, Line(7.0, &[[92.0, 2.0, -240.0], [136.0, -8.0, -262.0], [128.0, 0.0, -420.0]])),
    ("scapula", Bone, Ball([104.0, -78.0, 236.0], [34.0, 7.0, 58.0])),
    ("scapula", Bone, Line(9.0, &[[84.0, -84.0, 262.0], [126.0, -62.0, 284.0], [146.0, -22.0, 292.0]])),
    ("clavicula", Bone, Line(7.0, &[[18.0, 46.0, 276.0], [70.0, 40.0, 286.0], [140.0, -6.0, 300.0]])),
    ("humerus", Bone, Ball([160.0, -20.0, 270.0], [23.0, 23.0, 23.0])),
    ("humerus", Bone, Line(11.0, &[[162.0, -20.0, 268.0], [176.0, -16.0, 160.0]])),
    ("kidney", Gland, Ball([60.0, -46.0, -14.0], [28.0, 23.0, 54.0])),
    ("kidney", Water, Ball([44.0, -44.0, -14.0], [9.0, 9.0, 18.0])),
    ("adrenal_gland", Gland, Line(4.5, &[[34.0, -38.0, 40.0], [44.0, -42.0, 54.0], [52.0, -48.0, 42.0]])),
    ("iliac_artery", Blood, Line(6.5, &[[-4.0, -22.0, -118.0], [34.0, -22.0, -160.0], [62.0, 34.0, -236.0]])),
    ("iliac_vena", Blood, Line(7.5, &[[14.0, -24.0, -122.0], [40.0, -34.0, -164.0], [54.0, 26.0, -238.0]])),
];

/// Name, centre's z and y, half the height.
const VERTEBRAE: &[(&str, f64, f64, f64)] = &[
    ("L5", -150.0, -52.0, 14.0),
    ("L4", -116.0, -48.0, 14.0),
    ("L3", -81.0, -47.0, 14.0),
    ("L2", -47.0, -50.0, 14.0),
    ("L1", -14.0, -54.0, 13.5),
    ("T12", 17.0, -57.0, 13.0),
    ("T11", 46.0, -60.0, 12.0),
    ("T10", 73.0, -62.0, 11.5),
    ("T9", 99.0, -63.0, 11.0),
    ("T8", 124.0, -64.0, 10.5),
    ("T7", 148.0, -64.0, 10.0),
    ("T6", 171.0, -63.0, 10.0),
    ("T5", 194.0, -61.0, 9.5),
    ("T4", 216.0, -58.0, 9.5),
    ("T3", 238.0, -54.0, 9.0),
    ("T2", 259.0, -49.0, 9.0),
    ("T1", 279.0, -44.0, 8.5),
    ("C7", 298.0, -39.0, 7.5),
    ("C6", 315.0, -35.0, 7.0),
];

/// The arc of each rib from the spine: half the chest's width and depth there, how far it sinks, and how far it goes
/// round, as tan(angle / 2).
const RIBS: [(f64, f64, f64, f64); 12] = [
    (58.0, 48.0, 22.0, 4.5),
    (88.0, 64.0, 40.0, 4.5),
    (108.0, 76.0, 52.0, 4.5),
    (121.0, 85.0, 62.0, 4.2),
    (130.0, 92.0, 70.0, 4.0),
    (136.0, 96.0, 76.0, 3.8),
    (139.0, 98.0, 82.0, 3.4),
    (141.0, 99.0, 84.0, 2.6),
    (141.0, 99.0, 82.0, 2.2),
    (139.0, 98.0, 74.0, 1.8),
    (136.0, 96.0, 54.0, 1.1),
    (128.0, 92.0, 34.0, 0.7),
];
const CHEST_Y: f64 = -6.0;

/// All shapes, in the order in which they are painted. Errors: a row names a class that there is not.
pub fn shapes() -> Result<Vec<Shape>> {
    let mut out = Vec::new();
    let no_class = |tissue, form| Shape { class: 0, tissue, form, within: Vec::new(), moves: false };
    out.push(no_class(Fat, Form::Cylinder { centre: [0.0, 0.0, 0.0], radii: [168.0, 116.0], half_height: 290.0 }));
    out.extend(FRAME.iter().map(|(tissue, part)| no_class(*tissue, form(part))));
    out.push(no_class(Muscle, Form::Cylinder { centre: [0.0, -4.0, 0.0], radii: [152.0, 104.0], half_height: 260.0 }));
    // The belly's fat, in which organs lie.
    out.push(no_class(Fat, Form::Cylinder { centre: [0.0, 6.0, -80.0], radii: [126.0, 78.0], half_height: 160.0 }));
    // Neck.
    out.push(no_class(Muscle, Form::Cylinder { centre: [0.0, -20.0, 330.0], radii: [64.0, 66.0], half_height: 60.0 }));
    // Between the lungs.
    out.push(no_class(Fat, Form::Cylinder { centre: [0.0, 6.0, 170.0], radii: [60.0, 62.0], half_height: 110.0 }));
    lungs(&mut out)?;
    for (name, tissue, part) in PAIRED {
        for side in [1.0, -1.0] {
            out.push(shape(&sided(name, side), *tissue, mirrored(&form(part), side))?);
        }
    }
    for (name, tissue, part) in SINGLE {
        out.push(shape(name, *tissue, form(part))?);
    }
    for row in VERTEBRAE {
        vertebra(&mut out, row)?;
    }
    ribs(&mut out)?;
    Ok(out)
}

fn shape(name: &str, tissue: Tissue, form: Form) -> Result<Shape> {
    let class = classes::id(name).ok_or_else(|| err!("the anatomy names `{name}`, which is no class"))?;
    Ok(Shape { class, tissue, form, within: Vec::new(), moves: !matches!(tissue, Bone | Marrow) })
}

fn sided(name: &str, side: f64) -> String {
    format!("{name}_{}", if side > 0.0 { "right" } else { "left" })
}

fn form(part: &Part) -> Form {
    match part {
        Ball(centre, radii) => Form::Ellipsoid { centre: *centre, radii: *radii },
        Line(radius, points) => Form::Tube { points: points.to_vec(), radius: *radius },
    }
}

fn mirrored(form: &Form, side: f64) -> Form {
    form.changed(|[x, y, z]| [x * side, y, z], [1.0; 3])
}

/// Each lung is one form, cut into lobes by its fissures: oblique ones rise to the back, the horizontal one is level.
fn lungs(out: &mut Vec<Shape>) -> Result<()> {
    let above_oblique = HalfSpace { normal: [0.0, 0.55, 0.83], offset: 132.0 };
    let below_level = HalfSpace { normal: [0.0, 0.0, -1.0], offset: -188.0 };
    let right = Form::Ellipsoid { centre: [72.0, -4.0, 178.0], radii: [56.0, 80.0, 112.0] };
    let left = Form::Ellipsoid { centre: [-74.0, -4.0, 178.0], radii: [52.0, 78.0, 108.0] };
    let rows = [
        ("lung_lower_lobe_right", &right, vec![]),
        ("lung_upper_lobe_right", &right, vec![above_oblique]),
        ("lung_middle_lobe_right", &right, vec![above_oblique, below_level]),
        ("lung_lower_lobe_left", &left, vec![]),
        ("lung_upper_lobe_left", &left, vec![above_oblique]),
    ];
    for (name, form, within) in rows {
        // Lobes of one lung must not move apart.
        out.push(Shape { within, moves: false, ..shape(name, Lung, form.clone())? });
    }
    Ok(())
}

/// A body, an arch with its spine behind, and two transverse processes.
fn vertebra(out: &mut Vec<Shape>, &(name, z, y, half_height): &(&str, f64, f64, f64)) -> Result<()> {
    let name = format!("vertebrae_{name}");
    let width = 11.0 + half_height * 0.85;
    let body = Form::Cylinder { centre: [0.0, y, z], radii: [width, width * 0.75], half_height };
    let across = Form::Tube { points: vec![[-34.0, y - 24.0, z], [0.0, y - 22.0, z], [34.0, y - 24.0, z]], radius: 5.5 };
    let spine = Form::Tube { points: vec![[0.0, y - 22.0, z], [0.0, y - 46.0, z - half_height]], radius: 5.0 };
    out.push(shape(&name, Bone, body.clone())?);
    out.push(shape(&name, Marrow, body.changed(|p| p, [0.88, 0.85, 0.82]))?);
    out.push(shape(&name, Bone, across)?);
    out.push(shape(&name, Bone, spine)?);
    Ok(())
}

fn ribs(out: &mut Vec<Shape>) -> Result<()> {
    const STEPS: usize = 24;
    for (at, (width, depth, sinks, end)) in RIBS.iter().enumerate() {
        let Some((_, z, ..)) = VERTEBRAE.iter().find(|row| row.0 == format!("T{}", at + 1)) else {
            return Err(err!("the anatomy has no vertebra for rib {}", at + 1));
        };
        for side in [1.0, -1.0] {
            let points = (0..=STEPS).map(|step| {
                let share = step as f64 / STEPS as f64;
                // Sine and cosine of an angle from the tangent of its half; 0 is straight back.
                let t = 0.24 + (end - 0.24) * share;
                let (sine, cosine) = (2.0 * t / (1.0 + t * t), (1.0 - t * t) / (1.0 + t * t));
                [side * width * sine, CHEST_Y - depth * cosine, z + 4.0 - sinks * share]
            });
            let name = format!("rib_{}_{}", if side > 0.0 { "right" } else { "left" }, at + 1);
            out.push(shape(&name, Bone, Form::Tube { points: points.collect(), radius: 5.5 })?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_the_torso_has_a_shape() {
        let shapes = shapes().unwrap();
        let missing: Vec<&str> =
            (1..105).filter(|id| !shapes.iter().any(|shape| usize::from(shape.class) == *id)).map(|id| classes::NAMES[id]).collect();
        let head = ["vertebrae_C5", "vertebrae_C4", "vertebrae_C3", "vertebrae_C2", "vertebrae_C1", "brain", "face"];
        assert_eq!(missing, head);
    }

    #[test]
    fn right_is_right() {
        for shape in shapes().unwrap() {
            let (low, high) = shape.form.bounds();
            let name = classes::NAMES[usize::from(shape.class)];
            let middle = low[0] + high[0];
            // A heart's right side lies in front of its left one.
            assert!(name.starts_with("heart") || !name.contains("right") || middle > 0.0, "{name}");
            assert!(name.starts_with("heart") || !name.contains("left") || middle < 0.0, "{name}");
        }
    }
}
