//! Bones of shoulders, hips and limbs.

use super::geometry::{Point, on_side};
use super::solid::{Solid, ellipsoid, rod, tube, union};
use super::structure::Atlas;

pub fn shoulders(atlas: &mut Atlas) {
    let shades = atlas.shades;
    for (name, side) in [("right", 1.0), ("left", -1.0)] {
        let at = |p: Point| on_side(side, p);
        let (inner_top, lower, glenoid) =
            (at([74.0, -94.0, 462.0]), at([101.0, -103.0, 318.0]), at([128.0, -42.0, 436.0]));
        let inner_middle = at([77.0, -104.0, 400.0]);
        let scapula = union(
            4.0,
            vec![
                Solid::Plate {
                    triangles: vec![[inner_top, inner_middle, glenoid], [inner_middle, lower, glenoid]],
                    half_thickness: 2.6,
                },
                // Lateral border, spine with acromion, coracoid process.
                rod(lower, glenoid, 4.5),
                rod(inner_top, inner_middle, 3.2),
                tube(&[
                    (at([80.0, -99.0, 428.0]), 3.5),
                    (at([112.0, -88.0, 452.0]), 4.5),
                    (at([150.0, -50.0, 474.0]), 6.0),
                    (at([154.0, -30.0, 474.0]), 6.0),
                ]),
                Solid::Plate {
                    triangles: vec![[at([80.0, -98.0, 428.0]), at([118.0, -66.0, 440.0]), at([128.0, -78.0, 462.0])]],
                    half_thickness: 2.6,
                },
                ellipsoid(glenoid, [10.0, 15.0, 18.0]),
                tube(&[
                    (at([122.0, -36.0, 450.0]), 7.0),
                    (at([124.0, -14.0, 462.0]), 5.5),
                    (at([132.0, 2.0, 454.0]), 5.0),
                ]),
            ],
        );
        atlas.put(&format!("scapula_{name}"), scapula, shades.bone(1.8));
        let clavicle = tube(&[
            (at([19.0, 42.0, 456.0]), 10.0),
            (at([44.0, 46.0, 462.0]), 7.0),
            (at([82.0, 32.0, 474.0]), 6.5),
            (at([118.0, -4.0, 482.0]), 6.5),
            (at([142.0, -26.0, 480.0]), 7.5),
        ]);
        atlas.put(&format!("clavicula_{name}"), clavicle, shades.bone(2.2));
        let head = at([154.0, -30.0, 440.0]);
        let shaft = match atlas.person.arms_raised {
            true => [
                (head, 18.0),
                (at([172.0, -20.0, 484.0]), 15.0),
                (at([190.0, -10.0, 545.0]), 11.5),
                (at([208.0, 2.0, 680.0]), 11.0),
                (at([212.0, 6.0, 780.0]), 13.0),
            ],
            false => [
                (head, 18.0),
                (at([170.0, -28.0, 410.0]), 15.0),
                (at([192.0, -26.0, 350.0]), 11.5),
                (at([216.0, -22.0, 220.0]), 11.0),
                (at([226.0, -12.0, 120.0]), 13.0),
            ],
        };
        let humerus = union(6.0, vec![ellipsoid(head, [23.0, 23.0, 23.0]), tube(&shaft)]);
        atlas.put(&format!("humerus_{name}"), humerus, shades.long_bone().rind(4.0, 900.0 * shades.bone));
    }
}

/// Center of the hip joint.
const HIP_JOINT: Point = [88.0, -8.0, -84.0];

pub fn pelvis(atlas: &mut Atlas) {
    let shades = atlas.shades;
    for (name, side) in [("right", 1.0), ("left", -1.0)] {
        let at = |p: Point| on_side(side, p);
        let joint = at(HIP_JOINT);
        let rim = at([92.0, -16.0, -62.0]);
        // Wing of the ilium: a fan from above the joint to the crest.
        let crest = [
            [116.0, 46.0, -28.0],
            [128.0, 40.0, -4.0],
            [134.0, 18.0, 18.0],
            [129.0, -14.0, 33.0],
            [112.0, -46.0, 32.0],
            [84.0, -72.0, 16.0],
            [58.0, -88.0, -8.0],
            [52.0, -90.0, -30.0],
            [54.0, -74.0, -52.0],
        ]
        .map(at);
        let blade = crest.windows(2).map(|ends| [rim, ends[0], ends[1]]).collect();
        let border: Vec<(Point, f32)> = crest[..8].iter().map(|p| (*p, 6.0)).collect();
        let socket = ellipsoid(joint, [35.0, 33.0, 34.0])
            .without(
                0.0,
                Solid::Half {
                    normal: at([0.72, 0.30, -0.62]),
                    offset: 0.72 * 88.0 + 0.30 * -8.0 - 0.62 * -84.0 + 12.0,
                },
            )
            .without(2.0, ellipsoid(joint, [26.0, 26.0, 26.0]));
        let hip = union(
            5.0,
            vec![
                Solid::Plate { triangles: blade, half_thickness: 5.2 },
                tube(&border),
                socket,
                rod(rim, at([84.0, -26.0, -70.0]), 12.0),
                // Ischium, pubis, and the ramus between them.
                tube(&[
                    (at([80.0, -28.0, -92.0]), 14.0),
                    (at([72.0, -42.0, -118.0]), 12.0),
                    (at([64.0, -42.0, -142.0]), 14.0),
                ]),
                tube(&[
                    (at([68.0, 14.0, -80.0]), 11.0),
                    (at([42.0, 40.0, -92.0]), 8.0),
                    (at([15.0, 50.0, -106.0]), 9.5),
                ]),
                tube(&[
                    (at([13.0, 48.0, -112.0]), 8.5),
                    (at([24.0, 26.0, -132.0]), 6.0),
                    (at([54.0, -28.0, -150.0]), 8.0),
                ]),
            ],
        );
        atlas.put(&format!("hip_{name}"), hip, shades.bone(2.2));
        let femur = union(
            7.0,
            vec![
                ellipsoid(joint, [23.5, 23.5, 23.5]),
                tube(&[(joint, 16.0), (at([112.0, -14.0, -100.0]), 14.5), (at([132.0, -20.0, -114.0]), 17.0)]),
                ellipsoid(at([138.0, -24.0, -106.0]), [14.0, 18.0, 22.0]),
                ellipsoid(at([114.0, -30.0, -146.0]), [10.0, 10.0, 13.0]),
                tube(&[
                    (at([130.0, -18.0, -125.0]), 17.0),
                    (at([124.0, -10.0, -175.0]), 14.5),
                    (at([112.0, 2.0, -280.0]), 14.0),
                    (at([100.0, 6.0, -460.0]), 15.0),
                ]),
            ],
        );
        atlas.put(&format!("femur_{name}"), femur, shades.long_bone().rind(4.5, 1050.0 * shades.bone));
    }
    // Pubic symphysis.
    atlas.put_unnamed(rod([0.0, 48.0, -100.0], [0.0, 44.0, -116.0], 4.0), shades.cartilage());
}
