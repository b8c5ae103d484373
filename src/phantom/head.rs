//! Skull, brain, face, and the organs of the neck.

use super::geometry::{Point, on_side};
use super::solid::{Solid, ellipsoid, rod, tube, union};
use super::structure::Atlas;
use super::tissue::plain;

fn brain() -> Solid {
    union(
        10.0,
        vec![
            ellipsoid([0.0, 6.0, 690.0], [65.0, 83.0, 57.0]),
            ellipsoid([0.0, 26.0, 672.0], [50.0, 46.0, 34.0]),
            // Cerebellum and brain stem.
            ellipsoid([0.0, -36.0, 650.0], [49.0, 31.0, 26.0]),
            tube(&[([0.0, -8.0, 655.0], 14.0), ([0.0, -18.0, 628.0], 9.0)]),
        ],
    )
}

/// The head without skin.
pub fn outline() -> Solid {
    union(
        20.0,
        vec![
            brain().grown(11.0),
            ellipsoid([0.0, 44.0, 630.0], [58.0, 50.0, 52.0]),
            ellipsoid([0.0, 46.0, 592.0], [50.0, 42.0, 30.0]),
            // From the base of the skull to the neck.
            tube(&[([0.0, -16.0, 640.0], 56.0), ([0.0, -18.0, 590.0], 54.0)]),
            ellipsoid([0.0, 92.0, 630.0], [11.0, 14.0, 17.0]),
        ],
    )
}

pub fn head(atlas: &mut Atlas) {
    let shades = atlas.shades;
    // In front of a plane from the brow to the angle of the mandible.
    let front = Solid::Half { normal: [0.0, 0.727, -0.686_6], offset: 0.727 * 74.0 - 0.686_6 * 676.0 };
    let above_neck = Solid::Half { normal: [0.0, -0.2, 0.979_8], offset: -0.2 * 60.0 + 0.979_8 * 566.0 };
    let face =
        outline().grown(5.0).within(4.0, [front, above_neck, Solid::Half { normal: [0.0, 1.0, 0.0], offset: 6.0 }]);
    atlas.put_label("face", face);

    // Tongue, cheeks and temples.
    let mut strands = vec![ellipsoid([0.0, 48.0, 592.0], [23.0, 30.0, 17.0])];
    for side in [1.0, -1.0] {
        strands.push(ellipsoid(on_side(side, [53.0, 22.0, 606.0]), [9.0, 17.0, 28.0]));
        strands.push(ellipsoid(on_side(side, [34.0, 20.0, 616.0]), [8.0, 14.0, 18.0]));
        strands.push(ellipsoid(on_side(side, [64.0, 26.0, 660.0]), [9.0, 24.0, 24.0]));
        strands.push(ellipsoid(on_side(side, [14.0, 84.0, 604.0]), [18.0, 7.0, 10.0]));
    }
    atlas.put_texture(union(4.0, strands), shades.muscle());

    let inner = brain().grown(2.5);
    let skull = inner.clone().grown(6.5);
    atlas.put_unnamed(skull, shades.skull());
    let mut bones = vec![
        // Maxilla, base of the skull, body of the mandible.
        ellipsoid([0.0, 62.0, 610.0], [27.0, 26.0, 9.0]),
        ellipsoid([0.0, 22.0, 634.0], [38.0, 34.0, 6.0]),
    ];
    let mut gaps = vec![ellipsoid([0.0, 66.0, 630.0], [9.0, 26.0, 15.0])];
    let mut eyes = Vec::new();
    for side in [1.0, -1.0] {
        let at = |p: Point| on_side(side, p);
        bones.push(tube(&[
            (at([46.0, 14.0, 634.0]), 4.5),
            (at([46.0, 16.0, 604.0]), 6.0),
            (at([42.0, 32.0, 584.0]), 6.5),
            (at([26.0, 66.0, 575.0]), 6.5),
            (at([0.0, 80.0, 574.0]), 7.0),
        ]));
        bones.push(tube(&[
            (at([20.0, 78.0, 636.0]), 4.0),
            (at([46.0, 62.0, 636.0]), 6.0),
            (at([60.0, 34.0, 640.0]), 4.5),
            (at([62.0, 8.0, 642.0]), 4.5),
        ]));
        bones.push(tube(&[
            (at([12.0, 80.0, 668.0]), 4.0),
            (at([34.0, 80.0, 672.0]), 4.0),
            (at([52.0, 62.0, 662.0]), 4.0),
            (at([52.0, 58.0, 640.0]), 4.0),
        ]));
        bones.push(ellipsoid(at([46.0, -14.0, 632.0]), [15.0, 16.0, 18.0]));
        gaps.push(ellipsoid(at([26.0, 58.0, 628.0]), [11.0, 14.0, 13.0]));
        gaps.push(ellipsoid(at([48.0, -16.0, 630.0]), [6.0, 7.0, 8.0]));
        eyes.push(ellipsoid(at([31.0, 68.0, 654.0]), [12.0, 12.0, 12.0]));
    }
    atlas.put_texture(union(5.0, bones), shades.skull().mottled(120.0, 5.0));
    let arch = |z: f32| {
        tube(&[
            ([22.0, 48.0, z], 4.5),
            ([18.0, 68.0, z], 4.5),
            ([0.0, 82.0, z], 4.5),
            ([-18.0, 68.0, z], 4.5),
            ([-22.0, 48.0, z], 4.5),
        ])
    };
    atlas.put_texture(union(0.0, vec![arch(590.0), arch(600.0)]), plain(1500.0).mottled(500.0, 4.0));
    atlas.put_texture(union(0.0, gaps), shades.air());
    // Nasal septum.
    let septum = Solid::Plate {
        triangles: vec![[[0.0, 46.0, 618.0], [0.0, 90.0, 618.0], [0.0, 66.0, 644.0]]],
        half_thickness: 1.2,
    };
    atlas.put_texture(septum, plain(60.0));
    atlas.put_texture(union(0.0, eyes), plain(12.0).rind(1.5, 60.0));
    // Pharynx.
    atlas.put_texture(
        tube(&[
            ([0.0, 40.0, 626.0], 8.0),
            ([0.0, 18.0, 612.0], 9.0),
            ([0.0, 10.0, 585.0], 8.0),
            ([0.0, 12.0, 555.0], 8.5),
            ([0.0, 8.0, 528.0], 8.5),
        ]),
        shades.air(),
    );

    atlas.put_unnamed(inner, shades.liquor());
    let surface = atlas.stream.bits() as u32;
    let grooved = brain().rough(2.2, 7.0, surface);
    atlas.put("brain", grooved, shades.brain());
    for side in [1.0, -1.0] {
        let at = |p: Point| on_side(side, p);
        let ventricle = tube(&[
            (at([8.0, 36.0, 690.0]), 4.0),
            (at([9.0, 10.0, 702.0]), 5.0),
            (at([16.0, -26.0, 696.0]), 6.5),
            (at([22.0, -16.0, 678.0]), 3.0),
        ]);
        atlas.put_texture(ventricle, shades.liquor());
    }
    atlas.put_texture(
        Solid::Plate {
            triangles: vec![[[0.0, -74.0, 690.0], [0.0, 86.0, 690.0], [0.0, 6.0, 752.0]]],
            half_thickness: 1.0,
        },
        plain(14.0),
    );
}

/// Thyroid and larynx.
pub fn neck(atlas: &mut Atlas) {
    let gland = plain(95.0 + 50.0 * atlas.shades.venous);
    for side in [1.0, -1.0] {
        atlas.put_unnamed(ellipsoid(on_side(side, [17.0, 10.0, 508.0]), [8.5, 10.0, 22.0]), gland);
        atlas.put_unnamed(
            tube(&[
                (on_side(side, [16.0, 4.0, 548.0]), 2.5),
                (on_side(side, [12.0, 20.0, 545.0]), 2.5),
                ([0.0, 27.0, 542.0], 2.5),
            ]),
            atlas.shades.bone(1.0),
        );
    }
    atlas.put_unnamed(rod([-10.0, 14.0, 506.0], [10.0, 14.0, 506.0], 5.0), gland);
}
