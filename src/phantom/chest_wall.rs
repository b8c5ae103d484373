//! Ribs with costal cartilages, and the sternum.

use super::frame;
use super::geometry::{Knot, Point, add, curve, mix, on_side};
use super::solid::{Solid, tube, union};
use super::spine;
use super::structure::Atlas;

/// Per rib: angle from the back at which the bony part ends (degrees), descent until there (mm), and radius (mm).
const RIBS: [(f32, f32, f32); 12] = [
    (152.0, 26.0, 5.2),
    (152.0, 42.0, 4.6),
    (151.0, 56.0, 4.7),
    (150.0, 64.0, 4.8),
    (148.0, 70.0, 4.9),
    (143.0, 74.0, 5.0),
    (136.0, 77.0, 5.0),
    (128.0, 76.0, 4.9),
    (119.0, 72.0, 4.8),
    (108.0, 66.0, 4.6),
    (82.0, 50.0, 4.3),
    (56.0, 36.0, 3.9),
];
/// Distance from the inner surface of the chest wall to the centerline of the ribs.
const OUTSIDE_MM: f32 = 5.5;

/// Returns a point on the centerline of a rib.
fn on_chest(angle: f32, z: f32) -> Point {
    let p = frame::chest_point(angle, z);
    add(p, [OUTSIDE_MM * libm::sinf(angle), -OUTSIDE_MM * libm::cosf(angle), 0.0])
}

fn rib(number: usize, side: f32) -> Vec<Knot> {
    let (end_degrees, fall, radius) = RIBS[number - 1];
    let (head_z, end) = (spine::rib_z(number), end_degrees.to_radians());
    // The head at the vertebral body, then the neck in front of the transverse process.
    let body = match number {
        1..=4 => 15.0,
        5..=9 => 17.0,
        _ => 20.0,
    };
    let spine_y = frame::spine_y(head_z);
    let mut knots = vec![
        (on_side(side, [body + 1.0, spine_y - 9.0, head_z]), radius - 0.4),
        (on_side(side, [body + 16.0, spine_y - 19.0, head_z - 2.0]), radius),
    ];
    let start = if number == 1 { 44.0f32 } else { 32.0 }.to_radians();
    let steps = ((end - start) / 0.16).ceil().max(2.0) as usize;
    for step in 0..=steps {
        let share = step as f32 / steps as f32;
        // Descends most steeply at the side.
        let z = head_z - 4.0 - fall * (0.35 * share + 0.65 * share * share * (3.0 - 2.0 * share));
        knots.push((on_side(side, on_chest(mix(start, end, share), z)), radius));
    }
    knots
}

fn sternum_point(z: f32, x: f32) -> Point {
    [x, frame::chest_front(z) + 7.0, z]
}

pub fn breastbone(atlas: &mut Atlas) {
    let shades = atlas.shades;
    let flat = |x: f32, low: f32, high: f32, radius: f32| -> Solid {
        let knots: Vec<Knot> =
            (0..=4).map(|step| (sternum_point(mix(low, high, step as f32 / 4.0), x), radius)).collect();
        tube(&knots)
    };
    let parts = vec![
        flat(0.0, 300.0, 412.0, 6.5),
        flat(9.0, 312.0, 405.0, 6.0),
        flat(-9.0, 312.0, 405.0, 6.0),
        flat(0.0, 415.0, 452.0, 7.5),
        flat(13.0, 425.0, 450.0, 7.0),
        flat(-13.0, 425.0, 450.0, 7.0),
        flat(0.0, 272.0, 300.0, 4.0),
    ];
    atlas.put_unnamed(union(6.0, parts), shades.bone(1.3));
}

pub fn ribs(atlas: &mut Atlas) {
    let shades = atlas.shades;
    for (name, side) in [("right", 1.0), ("left", -1.0)] {
        let mut last_cartilage = None;
        for number in 1..=12 {
            let knots = rib(number, side);
            if let Some((end, _)) = knots.last().copied().filter(|_| number <= 10) {
                // To the sternum; from the eighth rib on, to the cartilage above.
                let joint = match (number, last_cartilage) {
                    (8.., Some(above)) => above,
                    _ => sternum_point(
                        [440.0, 418.0, 394.0, 370.0, 346.0, 326.0, 308.0][(number - 1).min(6)],
                        17.0 * side,
                    ),
                };
                let middle = add(
                    std::array::from_fn(|axis| mix(end[axis], joint[axis], 0.5)),
                    [6.0 * side, 3.0, if number > 4 { -9.0 } else { 0.0 }],
                );
                last_cartilage = Some(middle);
                atlas.put_unnamed(tube(&[(end, 5.2), (middle, 5.2), (joint, 5.0)]), shades.cartilage());
            }
            // Ribs are taller than thick: two tubes, one above the other.
            let points = curve(&knots, 8.0);
            let strand = |up: f32| -> Solid {
                let moved: Vec<Knot> =
                    points.iter().map(|(p, radius)| (add(*p, [0.0, 0.0, up]), radius - 0.6)).collect();
                Solid::Tube(moved.windows(2).map(|ends| [ends[0], ends[1]]).collect())
            };
            let parts = vec![strand(1.8), strand(-1.8)];
            atlas.put(&format!("rib_{name}_{number}"), union(0.0, parts), shades.bone(1.5));
        }
    }
}
