//! The five lung lobes with their vessels, the trachea and the esophagus.

use super::frame;
use super::geometry::{Knot, Point, add, curve, mix_points, on_side, scale};
use super::heart;
use super::solid::{Solid, rod, tube, union};
use super::structure::Atlas;
use super::tissue::plain;

/// The mediastinum, which the lungs exclude.
fn mediastinum() -> Solid {
    union(
        18.0,
        vec![
            heart::outline().grown(6.0),
            tube(&[
                ([0.0, -8.0, 520.0], 34.0),
                ([0.0, -6.0, 470.0], 32.0),
                ([0.0, 4.0, 425.0], 33.0),
                ([0.0, -4.0, 395.0], 32.0),
            ]),
            tube(&[([-4.0, -30.0, 400.0], 30.0), ([-6.0, -36.0, 340.0], 32.0), ([-6.0, -30.0, 270.0], 36.0)]),
            // Where both lungs meet behind the sternum.
            Solid::Plate {
                triangles: vec![
                    [[0.0, 0.0, 480.0], [0.0, 90.0, 480.0], [-4.0, 90.0, 280.0]],
                    [[0.0, 0.0, 480.0], [-4.0, 90.0, 280.0], [-4.0, 0.0, 280.0]],
                ],
                half_thickness: 5.0,
            },
        ],
    )
}

fn lung(side: f32) -> Solid {
    Solid::Field(frame::room)
        .grown(-1.2)
        .within(
            5.0,
            [Solid::Field(frame::above_diaphragm).grown(-1.6), Solid::Half { normal: [side, 0.0, 0.0], offset: 2.0 }],
        )
        .without(10.0, mediastinum())
}

/// The half-space in front of and above the oblique fissure.
fn above_oblique() -> Solid {
    Solid::Half { normal: [0.0, 0.78, 0.625_78], offset: 208.0 }
}
/// The half-space above the horizontal fissure.
fn above_horizontal() -> Solid {
    Solid::Half { normal: [0.0, -0.08, 0.996_8], offset: 362.0 }
}
fn other_side(half: Solid) -> Solid {
    match half {
        Solid::Half { normal, offset } => Solid::Half { normal: scale(normal, -1.0), offset: -offset },
        other => other,
    }
}

pub fn lungs(atlas: &mut Atlas) {
    let paint = atlas.shades.lung();
    let seed = atlas.stream.bits() as u32;
    // Both sides of a fissure share the same waves, with opposite signs of the distance.
    let wavy = |half: Solid, up: f32| half.rough(9.0 * up, 70.0, seed);
    for (side, lobes) in [
        (
            1.0,
            vec![
                ("lung_lower_lobe_right", vec![wavy(other_side(above_oblique()), -1.0)]),
                (
                    "lung_middle_lobe_right",
                    vec![wavy(above_oblique(), 1.0), wavy(other_side(above_horizontal()), -1.0)],
                ),
                ("lung_upper_lobe_right", vec![wavy(above_oblique(), 1.0), wavy(above_horizontal(), 1.0)]),
            ],
        ),
        (
            -1.0,
            vec![
                ("lung_lower_lobe_left", vec![wavy(other_side(above_oblique()), -1.0)]),
                ("lung_upper_lobe_left", vec![wavy(above_oblique(), 1.0)]),
            ],
        ),
    ] {
        let whole = lung(side);
        for (name, cuts) in lobes {
            atlas.put(name, whole.clone().within(0.0, cuts), paint);
        }
        let vessels = vessels(atlas, &whole, side);
        let blood = 20.0 + 0.6 * (atlas.shades.lung_blood().core_hu - 42.0);
        atlas.put_texture(vessels.within(0.0, [whole.grown(-1.0)]), plain(blood));
    }
}

/// Vessel trees from the hilum into the lobes.
fn vessels(atlas: &mut Atlas, lung: &Solid, side: f32) -> Solid {
    const BRANCHES: usize = 11;
    const TWIGS: usize = 8;
    let root = on_side(side, [36.0, -14.0, 374.0]);
    let stream = &mut atlas.stream;
    let mut inside = |low: Point, high: Point, depth: f32| -> Point {
        let mut p = root;
        for _ in 0..60 {
            p = std::array::from_fn(|axis| stream.uniform(low[axis], high[axis]));
            if lung.distance(p) < -depth {
                break;
            }
        }
        p
    };
    let mut pieces = Vec::new();
    let mut grow = |from: Point, to: Point, radii: [f32; 2], bow: Point| -> Vec<Knot> {
        let middle = add(mix_points(from, to, 0.5), bow);
        let points = curve(&[(from, radii[0]), (middle, (radii[0] + radii[1]) * 0.5), (to, radii[1])], 9.0);
        pieces.extend(points.windows(2).map(|ends| [ends[0], ends[1]]));
        points
    };
    for branch in 0..BRANCHES {
        // Distribute branches over the height.
        let z = 225.0 + 265.0 * branch as f32 / BRANCHES as f32;
        let (low, high) = ([25.0, -88.0, z], [128.0, 80.0, z + 30.0]);
        let (a, b) = (on_side(side, low), on_side(side, high));
        let to = inside([a[0].min(b[0]), low[1], low[2]], [a[0].max(b[0]), high[1], high[2]], 9.0);
        let path = grow(root, to, [4.4, 1.3], [0.0, -6.0, (z - 360.0) * 0.08]);
        for twig in 0..TWIGS {
            let from = path[path.len() * (twig + 3) / (TWIGS + 4)].0;
            let reach = 40.0;
            let end = inside(from.map(|value| value - reach), from.map(|value| value + reach), 3.0);
            grow(from, end, [1.9, 0.6], [0.0, 0.0, 4.0]);
        }
    }
    Solid::Tube(pieces)
}

pub fn windpipe_and_gullet(atlas: &mut Atlas) {
    let shades = atlas.shades;
    let gullet: [Knot; 8] = [
        ([-2.0, -10.0, 525.0], 5.5),
        ([-3.0, -20.0, 475.0], 6.0),
        ([-5.0, -29.0, 430.0], 6.0),
        ([-6.0, -37.0, 390.0], 6.5),
        ([-7.0, -40.0, 340.0], 6.5),
        ([-12.0, -30.0, 296.0], 7.0),
        ([-20.0, -14.0, 272.0], 7.5),
        ([-38.0, -6.0, 258.0], 8.0),
    ];
    let solid = atlas.organic(tube(&gullet), 1.2, 14.0);
    atlas.put("esophagus", solid, plain(44.0 + 30.0 * shades.venous));
    let gas = atlas.stream.uniform(300.0, 480.0);
    atlas.put_texture(
        rod([-6.0, frame::spine_y(gas) + 22.0, gas], [-6.0, frame::spine_y(gas) + 22.0, gas + 14.0], 2.5),
        shades.air(),
    );
    let windpipe = |thicker: f32| {
        union(
            2.0,
            vec![
                tube(&[
                    ([0.0, 6.0, 530.0], 9.0 + thicker),
                    ([0.0, -2.0, 480.0], 9.5 + thicker),
                    ([1.0, -10.0, 440.0], 9.5 + thicker),
                    ([2.0, -17.0, 402.0], 9.5 + thicker),
                ]),
                tube(&[
                    ([3.0, -17.0, 403.0], 8.0 + thicker),
                    ([18.0, -20.0, 388.0], 7.5 + thicker),
                    ([38.0, -22.0, 372.0], 6.5 + thicker),
                ]),
                tube(&[
                    ([1.0, -17.0, 403.0], 7.5 + thicker),
                    ([-22.0, -20.0, 384.0], 6.8 + thicker),
                    ([-46.0, -24.0, 368.0], 6.0 + thicker),
                ]),
            ],
        )
    };
    atlas.put_unnamed(windpipe(1.8), plain(60.0));
    atlas.put("trachea", windpipe(0.0), shades.air());
}
