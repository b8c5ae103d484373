//! Vertebrae C1 to L5 with discs and spinal canal, and the sacrum.

use super::frame;
use super::geometry::{Axes, Point, add, on_side, out_of_axes, unit};
use super::solid::{Solid, ellipsoid, rod, tube, union};
use super::structure::Atlas;
use super::tissue::plain;

/// Dimensions of a vertebra in mm: half width and half depth of the body, height including the disc below, height of
/// that disc, lateral reach of the transverse processes, length and descent of the spinous process.
struct Level {
    name: &'static str,
    half_width: f32,
    half_depth: f32,
    height: f32,
    disc: f32,
    reach: f32,
    spine: f32,
    fall: f32,
}

#[rustfmt::skip]
const fn level(name: &'static str, [half_width, half_depth]: [f32; 2], [height, disc]: [f32; 2], reach: f32, [spine, fall]: [f32; 2]) -> Level {
    Level { name, half_width, half_depth, height, disc, reach, spine, fall }
}

/// Vertebrae from bottom to top; L5 starts at z = 0.
const LEVELS: [Level; 23] = [
    level("vertebrae_L5", [26.0, 17.5], [36.0, 8.0], 43.0, [22.0, 6.0]),
    level("vertebrae_L4", [25.0, 17.5], [36.0, 8.5], 43.0, [28.0, 6.0]),
    level("vertebrae_L3", [24.0, 17.0], [36.0, 8.0], 46.0, [31.0, 6.0]),
    level("vertebrae_L2", [23.0, 17.0], [35.0, 7.5], 43.0, [31.0, 7.0]),
    level("vertebrae_L1", [22.0, 16.5], [34.0, 7.0], 39.0, [30.0, 8.0]),
    level("vertebrae_T12", [21.0, 16.0], [32.0, 6.0], 26.0, [27.0, 9.0]),
    level("vertebrae_T11", [20.0, 16.0], [30.0, 5.0], 28.0, [27.0, 12.0]),
    level("vertebrae_T10", [18.5, 16.0], [28.0, 4.5], 31.0, [28.0, 16.0]),
    level("vertebrae_T9", [17.5, 16.0], [27.0, 4.5], 32.0, [28.0, 18.0]),
    level("vertebrae_T8", [17.0, 15.5], [26.0, 4.0], 33.0, [28.0, 20.0]),
    level("vertebrae_T7", [16.5, 15.0], [25.5, 4.0], 34.0, [28.0, 21.0]),
    level("vertebrae_T6", [16.0, 14.5], [25.0, 4.0], 34.0, [28.0, 21.0]),
    level("vertebrae_T5", [15.0, 14.0], [24.5, 4.0], 34.0, [28.0, 20.0]),
    level("vertebrae_T4", [14.5, 13.0], [24.0, 4.0], 34.0, [28.0, 18.0]),
    level("vertebrae_T3", [14.5, 12.5], [23.0, 4.0], 34.0, [28.0, 16.0]),
    level("vertebrae_T2", [15.0, 12.0], [22.0, 4.0], 35.0, [28.0, 14.0]),
    level("vertebrae_T1", [15.5, 11.5], [21.0, 4.0], 37.0, [30.0, 10.0]),
    level("vertebrae_C7", [14.5, 10.0], [18.0, 4.5], 33.0, [30.0, 8.0]),
    level("vertebrae_C6", [13.5, 9.5], [17.0, 4.5], 28.0, [20.0, 6.0]),
    level("vertebrae_C5", [12.5, 9.0], [16.5, 4.5], 27.0, [15.0, 4.0]),
    level("vertebrae_C4", [12.0, 8.5], [16.5, 4.5], 26.0, [14.0, 4.0]),
    level("vertebrae_C3", [11.5, 8.5], [17.0, 4.5], 26.0, [13.0, 4.0]),
    level("vertebrae_C2", [11.0, 8.5], [21.0, 4.5], 27.0, [17.0, 5.0]),
];

/// Height of the center of a vertebral body without its disc.
fn middle_z(index: usize) -> f32 {
    let below: f32 = LEVELS[..index].iter().map(|level| level.height).sum();
    below + (LEVELS[index].height + LEVELS[index].disc) / 2.0
}

/// Height at which rib `number` (1 to 12) meets the spine: the upper edge of its vertebra.
pub fn rib_z(number: usize) -> f32 {
    // T12 is the sixth from the bottom.
    let index = 5 + (12 - number);
    middle_z(index) + LEVELS[index].height * 0.3
}

/// Local axes of a vertebra: right, anterior, upwards along the spine.
struct Place {
    origin: Point,
    axes: Axes,
}

impl Place {
    fn at(z: f32) -> Place {
        let slope = frame::spine_slope(z);
        let axes = [[1.0, 0.0, 0.0], unit([0.0, 1.0, -slope]), unit([0.0, slope, 1.0])];
        Place { origin: [0.0, frame::spine_y(z), z], axes }
    }
    fn point(&self, p: Point) -> Point {
        add(self.origin, out_of_axes(&self.axes, p))
    }
}

/// The parts behind the vertebral body: arch, processes, joints.
fn arch(level: &Level, place: &Place) -> Vec<Solid> {
    let Level { half_width, half_depth, height, reach, spine, fall, .. } = *level;
    let (half_body, lumbar) = ((height - level.disc) / 2.0, level.half_width > 21.5);
    let (root, thick) = (
        0.72 * half_width,
        if lumbar {
            5.0
        } else if half_width < 14.0 {
            3.4
        } else {
            4.0
        },
    );
    let back = -half_depth - 10.0;
    let cervical = half_width <= 14.5 && height < 22.0;
    // Thoracic transverse processes point backwards, cervical ones forwards.
    let sweep = if cervical {
        8.0
    } else if lumbar {
        -1.0
    } else {
        -10.0
    };
    let mut parts = Vec::new();
    for side in [1.0, -1.0] {
        let at = |x: f32, y: f32, z: f32| place.point(on_side(side, [x, y, z]));
        parts.push(rod(
            at(root, -0.6 * half_depth, 0.35 * half_body),
            at(root + 1.0, back + 2.0, 0.25 * half_body),
            thick + 0.5,
        ));
        parts.push(rod(at(root, back, 0.1 * half_body), at(2.0, back - 11.0, -0.25 * half_body), thick));
        parts.push(rod(at(root, back + 1.0, 0.2 * half_body), at(reach, back + sweep, 0.3 * half_body), thick));
        parts.push(rod(
            at(root + 1.0, back - 3.0, 0.85 * half_body),
            at(root, back - 5.0, -0.95 * half_body),
            thick + 0.6,
        ));
    }
    let from = place.point([0.0, back - 10.0, -0.2 * half_body]);
    let to = place.point([0.0, back - 8.0 - spine, -0.3 * half_body - fall]);
    parts.push(rod(from, to, thick));
    if lumbar {
        // A tall plate.
        parts.push(rod(
            place.point([0.0, back - 12.0, -0.9 * half_body]),
            place.point([0.0, back - 6.0 - spine, -0.8 * half_body - fall]),
            3.6,
        ));
    }
    parts
}

fn atlas_c1() -> (Solid, f32) {
    let z = middle_z(LEVELS.len() - 1) + 21.0;
    let middle = [0.0, frame::spine_y(z) - 10.0, z];
    let ring: Vec<(Point, f32)> = (0..=16)
        .map(|step| {
            let angle = step as f32 * std::f32::consts::TAU / 16.0;
            (add(middle, [20.0 * libm::sinf(angle), 19.0 * libm::cosf(angle), 0.0]), 4.0)
        })
        .collect();
    let mut parts = vec![tube(&ring)];
    for side in [1.0, -1.0] {
        let at = |p: Point| add(middle, on_side(side, p));
        parts.push(ellipsoid(at([20.0, 6.0, 0.0]), [8.0, 10.0, 8.5]));
        parts.push(rod(at([20.0, 2.0, 0.0]), at([38.0, 0.0, -2.0]), 4.0));
    }
    (union(3.0, parts), z)
}

pub fn vertebrae(atlas: &mut Atlas) {
    let shades = atlas.shades;
    // Discs first: a soft column that the vertebral bodies interrupt.
    for (index, level) in LEVELS.iter().enumerate().filter(|(_, level)| level.name != "vertebrae_C2") {
        let place = Place::at(middle_z(index));
        let half = [level.half_width - 1.0, level.half_depth - 1.0, level.height * 0.62];
        let disc = Solid::Column { center: place.origin, half, axes: place.axes, rounding: 4.0 };
        atlas.put_unnamed(disc, shades.disc());
    }
    let (c1, c1_z) = atlas_c1();
    atlas.put("vertebrae_C1", c1, shades.bone(2.2));
    for (index, level) in LEVELS.iter().enumerate().rev() {
        let place = Place::at(middle_z(index));
        let half = [level.half_width, level.half_depth, (level.height - level.disc) / 2.0];
        let mut parts = vec![Solid::Column { center: place.origin, half, axes: place.axes, rounding: 3.5 }];
        parts.extend(arch(level, &place));
        if level.name == "vertebrae_C2" {
            // The dens lies in the ring of C1.
            let tip = [0.0, frame::spine_y(c1_z) + 1.0, c1_z + 7.0];
            parts.push(tube(&[(place.origin, 7.0), (tip, 5.0)]));
        }
        let solid = union(3.5, parts);
        atlas.put(level.name, solid, shades.bone(1.1));
    }
    canal(atlas);
}

/// The spinal canal: cerebrospinal fluid around the cord.
fn canal(atlas: &mut Atlas) {
    let shades = atlas.shades;
    let line = |radius: f32, from: f32| -> Solid {
        let knots: Vec<(Point, f32)> = (0..)
            .map(|step| from + 20.0 * step as f32)
            .take_while(|z| *z < 625.0)
            .map(|z| {
                let index = (0..LEVELS.len())
                    .rev()
                    .find(|&index| middle_z(index) - LEVELS[index].height / 2.0 <= z)
                    .unwrap_or(0);
                ([0.0, frame::spine_y(z) - LEVELS[index].half_depth - 8.5, z], radius)
            })
            .collect();
        tube(&knots)
    };
    atlas.put_unnamed(line(8.0, -50.0), shades.liquor());
    atlas.put_unnamed(line(5.0, 150.0), plain(38.0));
}

pub fn sacrum(atlas: &mut Atlas) {
    let shades = atlas.shades;
    let mut parts = vec![
        ellipsoid([0.0, -48.0, -17.0], [30.0, 20.0, 18.0]),
        ellipsoid([0.0, -66.0, -38.0], [34.0, 17.0, 26.0]),
        ellipsoid([0.0, -82.0, -66.0], [26.0, 12.0, 22.0]),
        tube(&[([0.0, -88.0, -80.0], 13.0), ([0.0, -91.0, -100.0], 9.0), ([0.0, -85.0, -122.0], 5.0)]),
        // Median sacral crest.
        rod([0.0, -86.0, -22.0], [0.0, -102.0, -62.0], 5.0),
    ];
    for side in [1.0, -1.0] {
        let at = |p: Point| on_side(side, p);
        parts.push(ellipsoid(at([36.0, -58.0, -26.0]), [21.0, 19.0, 20.0]));
        parts.push(ellipsoid(at([34.0, -72.0, -48.0]), [16.0, 15.0, 22.0]));
    }
    let solid = union(10.0, parts);
    atlas.put("sacrum", solid, shades.bone(1.3));
}
