//! Solid abdominal organs, gallbladder and urinary bladder.

use super::frame;
use super::geometry::{Point, axes_along, on_side};
use super::solid::{Solid, ellipsoid, rod, tube, union};
use super::structure::Atlas;

/// Restricts a solid to the space below the diaphragm and inside the abdominal wall.
fn belly() -> [Solid; 2] {
    [Solid::Field(frame::room).grown(-1.5), Solid::Field(frame::below_diaphragm).grown(-1.8)]
}

pub fn kidneys(atlas: &mut Atlas) {
    let shades = atlas.shades;
    for (name, side, z) in [("right", 1.0, 132.0), ("left", -1.0, 146.0)] {
        let at = |p: Point| on_side(side, p);
        let center = at([66.0, -40.0, z]);
        let axes = axes_along(at([-0.22, -0.16, 1.0]));
        let sinus = Solid::Ellipsoid { center: at([50.0, -34.0, z]), radii: [14.0, 12.0, 24.0], axes };
        let whole = Solid::Ellipsoid { center, radii: [28.0, 27.0, 57.0], axes };
        let shape = whole.without(5.0, sinus.clone());
        let kidney = atlas.varied(shape, center, 4.0, 0.08);
        let kidney = atlas.organic(kidney, 1.5, 22.0);
        atlas.put(&format!("kidney_{name}"), kidney, shades.kidney());
    }
}

pub fn adrenals(atlas: &mut Atlas) {
    let shades = atlas.shades;
    for (name, side) in [("right", 1.0), ("left", -1.0)] {
        let at = |p: Point| on_side(side, p);
        let top = if side > 0.0 { [36.0, -38.0, 208.0] } else { [40.0, -32.0, 204.0] };
        let leg = |x: f32, y: f32, z: f32| at([top[0] + x, top[1] + y, top[2] + z]);
        let adrenal = union(
            2.0,
            vec![
                Solid::Plate {
                    triangles: vec![[leg(0.0, 8.0, -8.0), leg(0.0, 9.0, 14.0), leg(3.0, -18.0, -9.0)]],
                    half_thickness: 2.9,
                },
                Solid::Plate {
                    triangles: vec![[leg(0.0, 8.0, -8.0), leg(0.0, 9.0, 14.0), leg(16.0, -12.0, -12.0)]],
                    half_thickness: 2.9,
                },
            ],
        );
        let adrenal = atlas.varied(adrenal, leg(0.0, 0.0, 0.0), 2.0, 0.1);
        atlas.put(&format!("adrenal_gland_{name}"), adrenal, shades.adrenal());
    }
}

pub fn liver_and_spleen(atlas: &mut Atlas) {
    let shades = atlas.shades;
    let liver = union(
        26.0,
        vec![
            ellipsoid([78.0, -10.0, 252.0], [60.0, 80.0, 90.0]),
            ellipsoid([88.0, -4.0, 202.0], [38.0, 55.0, 56.0]),
            ellipsoid([8.0, 38.0, 272.0], [66.0, 42.0, 34.0]),
        ],
    );
    // Concavity of the lower surface.
    let liver = liver.without(22.0, ellipsoid([26.0, 4.0, 178.0], [42.0, 46.0, 46.0]));
    let liver = atlas.varied(liver, [70.0, 0.0, 270.0], 4.0, 0.07);
    let liver = atlas.organic(liver, 4.0, 48.0).within(6.0, belly());
    atlas.put("liver", liver, shades.liver());
    // Branches of the hepatic veins.
    let hilum = [46.0, 6.0, 240.0];
    let mut branches = vec![
        tube(&[([30.0, -6.0, 300.0], 6.0), ([56.0, -10.0, 290.0], 4.5), ([92.0, -26.0, 270.0], 2.5)]),
        tube(&[([30.0, -4.0, 300.0], 5.5), ([40.0, 30.0, 292.0], 4.0), ([60.0, 60.0, 275.0], 2.2)]),
    ];
    for _ in 0..9 {
        let stream = &mut atlas.stream;
        let end = [stream.uniform(50.0, 125.0), stream.uniform(-70.0, 65.0), stream.uniform(190.0, 305.0)];
        let middle = std::array::from_fn(|axis| 0.5 * (hilum[axis] + end[axis]) + if axis == 2 { 8.0 } else { 0.0 });
        branches.push(tube(&[(hilum, 4.5), (middle, 3.2), (end, 1.4)]));
    }
    let inside = ellipsoid([78.0, -6.0, 250.0], [60.0, 80.0, 92.0])
        .grown(-4.0)
        .within(0.0, belly().map(|solid| solid.grown(-5.0)));
    atlas.put_texture(union(0.0, branches).within(0.0, [inside]), shades.portal_blood());

    let center = [-102.0, -38.0, 244.0];
    let spleen = Solid::Ellipsoid { center, radii: [34.0, 48.0, 60.0], axes: axes_along([0.18, -0.45, 1.0]) };
    let spleen = spleen.without(12.0, ellipsoid([-66.0, -6.0, 246.0], [28.0, 42.0, 50.0]));
    let spleen = atlas.varied(spleen, center, 4.0, 0.14);
    let spleen = atlas.organic(spleen, 2.5, 34.0).within(5.0, belly());
    atlas.put("spleen", spleen, shades.spleen());
}

pub fn pancreas(atlas: &mut Atlas) {
    let knots = [
        ([36.0, 14.0, 122.0], 12.0),
        ([32.0, 18.0, 146.0], 16.0),
        ([16.0, 26.0, 166.0], 11.0),
        ([-8.0, 24.0, 182.0], 11.5),
        ([-38.0, 4.0, 194.0], 11.5),
        ([-66.0, -18.0, 206.0], 11.0),
        ([-82.0, -30.0, 218.0], 8.0),
    ];
    let solid = atlas.varied(tube(&knots), [0.0, 10.0, 175.0], 3.0, 0.05);
    let solid = atlas.organic(solid, 2.6, 11.0);
    atlas.put("pancreas", solid, atlas.shades.pancreas());
}

pub fn gallbladder(atlas: &mut Atlas) {
    let center = [54.0, 42.0, 186.0];
    let solid = union(
        8.0,
        vec![
            Solid::Ellipsoid { center, radii: [14.0, 14.0, 29.0], axes: axes_along([0.15, 0.55, -0.8]) },
            rod([48.0, 26.0, 212.0], [42.0, 14.0, 222.0], 3.5),
        ],
    );
    let solid = atlas.varied(solid, center, 4.0, 0.15);
    atlas.put("gallbladder", solid, atlas.shades.bile());
}

pub fn bladder(atlas: &mut Atlas) {
    let shades = atlas.shades;
    let center = [0.0, 22.0, -90.0];
    let solid =
        union(14.0, vec![ellipsoid(center, [46.0, 34.0, 33.0]), ellipsoid([0.0, 18.0, -108.0], [20.0, 18.0, 18.0])]);
    let solid = atlas.varied(solid, [0.0, 18.0, -115.0], 2.0, 0.16);
    let solid = atlas.organic(solid, 2.0, 34.0);
    atlas.put("urinary_bladder", solid, shades.urine());
}
