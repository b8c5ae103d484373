//! Stomach, duodenum, small bowel and colon.

use super::frame;
use super::geometry::{Knot, Point, curve, mix};
use super::solid::{Solid, tube, union};
use super::structure::Atlas;

pub fn stomach(atlas: &mut Atlas) {
    let shades = atlas.shades;
    let knots: [Knot; 7] = [
        ([-62.0, -22.0, 272.0], 25.0),
        ([-68.0, -6.0, 248.0], 29.0),
        ([-66.0, 22.0, 216.0], 27.0),
        ([-46.0, 44.0, 186.0], 22.0),
        ([-16.0, 52.0, 170.0], 17.0),
        ([12.0, 48.0, 172.0], 14.0),
        ([27.0, 40.0, 178.0], 10.0),
    ];
    let filling = atlas.stream.uniform(-4.0, 4.0);
    let solid = tube(&knots.map(|(p, radius)| (p, radius + filling * radius / 35.0)));
    let solid = atlas.organic(solid, 2.5, 30.0);
    let belly = [Solid::Field(frame::room).grown(-3.0), Solid::Field(frame::below_diaphragm).grown(-2.0)];
    let content = atlas.stream.uniform(5.0, 35.0);
    let gas_from_y = atlas.stream.uniform(28.0, 58.0);
    let paint = shades.gut(content).rind(4.0, shades.gut(0.0).rind_hu).gas_from(gas_from_y);
    atlas.put("stomach", solid.within(6.0, belly), paint);
}

pub fn duodenum(atlas: &mut Atlas) {
    let knots = [
        ([27.0, 40.0, 178.0], 11.0),
        ([44.0, 28.0, 182.0], 13.0),
        ([56.0, 6.0, 166.0], 12.0),
        ([58.0, 0.0, 135.0], 12.0),
        ([54.0, 4.0, 104.0], 12.0),
        ([32.0, 18.0, 88.0], 11.5),
        ([4.0, 24.0, 88.0], 11.5),
        ([-20.0, 22.0, 102.0], 12.0),
        ([-30.0, 28.0, 122.0], 12.0),
    ];
    let solid = atlas.organic(tube(&knots), 1.5, 16.0);
    let content = atlas.stream.uniform(10.0, 40.0);
    atlas.put("duodenum", solid, atlas.shades.gut(content));
}

/// Loops to and fro in the middle of the abdomen, in rows from top to bottom, in an anterior and a posterior layer.
pub fn small_bowel(atlas: &mut Atlas) {
    // Per row: height, half width, y.
    const ROWS: [(f32, f32, f32); 17] = [
        (112.0, 46.0, 34.0),
        (92.0, 58.0, 16.0),
        (84.0, 72.0, 46.0),
        (80.0, 72.0, 68.0),
        (58.0, 72.0, 24.0),
        (52.0, 76.0, 50.0),
        (46.0, 74.0, 70.0),
        (28.0, 72.0, 18.0),
        (22.0, 78.0, 44.0),
        (14.0, 72.0, 66.0),
        (-2.0, 68.0, 22.0),
        (-8.0, 76.0, 48.0),
        (-18.0, 66.0, 64.0),
        (-28.0, 58.0, 18.0),
        (-36.0, 62.0, 42.0),
        (-48.0, 44.0, 56.0),
        (-56.0, 44.0, 30.0),
    ];
    let stream = &mut atlas.stream;
    let mut knots: Vec<Knot> = vec![([-30.0, 28.0, 122.0], 11.0)];
    for (row, &(z, half_width, y)) in ROWS.iter().enumerate() {
        let way = if row % 2 == 0 { -1.0 } else { 1.0 };
        for step in 0..7 {
            let across = way * (step as f32 / 3.0 - 1.0) * half_width;
            let wave = if step % 2 == 0 { 9.0 } else { -9.0 };
            let mut near = |value: f32, by: f32| value + stream.uniform(-by, by);
            let p: Point = [near(across, 8.0), near(y, 12.0), near(z + wave, 11.0)];
            knots.push((p, near(11.5, 1.8)));
        }
    }
    // The end of the ileum, into the cecum.
    knots.extend([([40.0, 20.0, -44.0], 10.5), ([66.0, 14.0, -8.0], 9.5), ([80.0, 14.0, 6.0], 8.5)]);
    let room = Solid::Field(frame::room).grown(-2.5);
    let solid = atlas.organic(tube(&knots), 1.5, 13.0).within(2.0, [room]);
    let content = atlas.stream.uniform(5.0, 35.0);
    let gas_from_y = atlas.stream.uniform(62.0, 74.0);
    let paint = atlas.shades.gut(content).gas_from(gas_from_y);
    atlas.put("small_bowel", solid, paint);
}

const COLON: [Knot; 24] = [
    ([84.0, 22.0, -22.0], 21.0),
    ([92.0, 14.0, 2.0], 25.0),
    ([98.0, -2.0, 45.0], 22.0),
    ([98.0, -8.0, 92.0], 21.0),
    ([88.0, 8.0, 128.0], 20.0),
    ([68.0, 40.0, 132.0], 19.0),
    ([40.0, 58.0, 124.0], 19.0),
    ([8.0, 64.0, 114.0], 19.0),
    ([-26.0, 62.0, 124.0], 18.0),
    ([-60.0, 50.0, 150.0], 18.0),
    ([-88.0, 26.0, 182.0], 17.5),
    ([-104.0, -4.0, 196.0], 17.0),
    ([-108.0, -28.0, 172.0], 16.0),
    ([-106.0, -34.0, 120.0], 15.0),
    ([-103.0, -26.0, 62.0], 14.5),
    ([-98.0, -8.0, 12.0], 14.0),
    ([-84.0, 16.0, -26.0], 13.5),
    ([-58.0, 20.0, -52.0], 13.5),
    ([-28.0, 0.0, -46.0], 13.5),
    ([-8.0, -22.0, -36.0], 13.5),
    ([2.0, -44.0, -52.0], 14.0),
    ([0.0, -60.0, -80.0], 17.0),
    ([0.0, -62.0, -110.0], 17.0),
    ([0.0, -50.0, -142.0], 10.0),
];

pub fn colon(atlas: &mut Atlas) {
    let stream = &mut atlas.stream;
    let moved = COLON
        .map(|(p, radius)| (p.map(|value| value + stream.uniform(-4.0, 4.0)), radius * stream.uniform(0.85, 1.12)));
    let (sag, phase) = (stream.uniform(-14.0, 26.0), stream.uniform(0.0, 6.0));
    // Individual depth of the transverse colon.
    let hanging: Vec<Knot> = moved
        .iter()
        .enumerate()
        .map(|(i, (p, radius))| ([p[0], p[1], p[2] - if (6..9).contains(&i) { sag } else { 0.0 }], *radius))
        .collect();
    // Haustra: the radius oscillates along the curve.
    let points: Vec<Knot> = curve(&hanging, 7.0)
        .into_iter()
        .enumerate()
        .map(|(i, (p, radius))| (p, radius * mix(0.88, 1.06, 0.5 + 0.5 * libm::sinf(i as f32 * 1.9 + phase))))
        .collect();
    let pieces = Solid::Tube(points.windows(2).map(|ends| [ends[0], ends[1]]).collect());
    let room = Solid::Field(frame::room).grown(-1.5);
    let solid = atlas.organic(union(0.0, vec![pieces]), 2.0, 15.0).within(3.0, [room]);
    let gas_from_y = atlas.stream.uniform(8.0, 70.0);
    let paint = atlas.shades.stool().gas_from(gas_from_y);
    atlas.put("colon", solid, paint);
}
