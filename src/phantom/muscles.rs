//! Muscles with classes: gluteal muscles, autochthonous back muscles, iliopsoas.

use super::frame;
use super::geometry::{Knot, Point, axes_along, on_side};
use super::solid::{Solid, ellipsoid, tube, union};
use super::structure::Atlas;

pub fn muscles(atlas: &mut Atlas) {
    let paint = atlas.shades.muscle();
    for (name, side) in [("right", 1.0), ("left", -1.0)] {
        let at = |p: Point| on_side(side, p);
        let plate = |triangles: Vec<[Point; 3]>, half_thickness: f32| Solid::Plate {
            triangles: triangles.into_iter().map(|corners| corners.map(at)).collect(),
            half_thickness,
        };
        // From the back of the pelvis down and out to the femur, inside the body wall.
        let maximus = union(
            16.0,
            vec![
                Solid::Ellipsoid {
                    center: at([80.0, -84.0, -100.0]),
                    radii: [56.0, 30.0, 82.0],
                    axes: axes_along(at([-0.38, -0.05, 1.0])),
                },
                plate(
                    vec![
                        [[50.0, -92.0, -22.0], [26.0, -102.0, -100.0], [132.0, -52.0, -170.0]],
                        [[50.0, -92.0, -22.0], [142.0, -58.0, -100.0], [132.0, -52.0, -170.0]],
                    ],
                    9.0,
                ),
            ],
        );
        let medius = union(
            8.0,
            vec![
                plate(
                    vec![
                        [[138.0, 22.0, 4.0], [130.0, -22.0, 22.0], [146.0, -26.0, -86.0]],
                        [[130.0, -22.0, 22.0], [96.0, -72.0, 6.0], [146.0, -30.0, -86.0]],
                    ],
                    12.0,
                ),
                ellipsoid(at([136.0, -16.0, -30.0]), [19.0, 44.0, 48.0]),
            ],
        );
        let minimus = plate(
            vec![
                [[124.0, 34.0, -34.0], [118.0, -22.0, -18.0], [138.0, -10.0, -88.0]],
                [[118.0, -22.0, -18.0], [100.0, -44.0, -36.0], [138.0, -12.0, -88.0]],
            ],
            8.0,
        );
        let psoas = tube(&[
            (at([31.0, -34.0, 165.0]), 7.0),
            (at([37.0, -36.0, 120.0]), 15.0),
            (at([43.0, -32.0, 60.0]), 21.0),
            (at([52.0, -18.0, 10.0]), 23.0),
            (at([70.0, 10.0, -40.0]), 20.0),
            (at([88.0, 30.0, -78.0]), 17.0),
            (at([98.0, 20.0, -112.0]), 13.0),
            (at([110.0, -16.0, -144.0]), 8.0),
        ]);
        let iliacus = plate(
            vec![
                [[114.0, 34.0, -12.0], [116.0, -14.0, 18.0], [80.0, 16.0, -56.0]],
                [[116.0, -14.0, 18.0], [92.0, -46.0, 2.0], [80.0, 10.0, -56.0]],
            ],
            8.0,
        );
        let inside_wall = || Solid::Field(frame::wall).grown(-1.0);
        for (muscle, solid) in [
            ("gluteus_maximus", maximus.within(2.0, [inside_wall().grown(8.0)])),
            ("gluteus_medius", medius.within(2.0, [inside_wall().grown(8.0)])),
            ("gluteus_minimus", minimus),
            ("iliopsoas", union(8.0, vec![psoas, iliacus])),
        ] {
            let solid = atlas.organic(solid, 2.0, 26.0);
            atlas.put(&format!("{muscle}_{name}"), solid, paint);
        }
        let back = autochthon(side)
            .within(3.0, [inside_wall().grown(-3.0), Solid::Half { normal: [side, 0.0, 0.0], offset: 1.5 }]);
        let back = atlas.organic(back, 1.5, 30.0);
        atlas.put(&format!("autochthon_{name}"), back, paint);
    }
}

/// The long back muscles beside the spinous processes.
fn autochthon(side: f32) -> Solid {
    // Height; distance from the midline and behind the vertebral bodies; radius; mm.
    const ROWS: [(f32, f32, f32, f32); 11] = [
        (-85.0, 17.0, 22.0, 7.0),
        (-50.0, 24.0, 32.0, 12.0),
        (-10.0, 30.0, 44.0, 18.0),
        (40.0, 33.0, 46.0, 22.0),
        (100.0, 32.0, 45.0, 22.0),
        (170.0, 29.0, 42.0, 19.0),
        (260.0, 26.0, 40.0, 15.0),
        (360.0, 23.0, 38.0, 13.0),
        (450.0, 22.0, 38.0, 15.0),
        (530.0, 19.0, 33.0, 15.0),
        (590.0, 18.0, 32.0, 13.0),
    ];
    let line = |inwards: f32, thinner: f32| -> Solid {
        let knots: Vec<Knot> = ROWS
            .iter()
            .map(|&(z, x, behind, radius)| {
                ([side * (x - inwards * radius), frame::spine_y(z) - behind, z], radius * thinner)
            })
            .collect();
        tube(&knots)
    };
    union(8.0, vec![line(0.0, 1.0), line(0.55, 0.8), line(-0.45, 0.7)])
}
