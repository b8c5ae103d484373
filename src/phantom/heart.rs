//! The chambers of the heart and the pulmonary artery.

use super::frame;
use super::geometry::{Point, add, axes_along, dot, scale, unit};
use super::solid::{Solid, ellipsoid, tube, union};
use super::structure::Atlas;

/// The mitral valve, and the direction from there to the apex: left, anterior and down.
const BASE: Point = [-6.0, 2.0, 350.0];
const TO_APEX: Point = [-0.66, 0.56, -0.50];

fn on_axis(mm: f32) -> Point {
    add(BASE, scale(unit(TO_APEX), mm))
}

/// Creates an ellipsoid along the axis of the heart.
fn along(mm: f32, width: f32, half_length: f32) -> Solid {
    Solid::Ellipsoid { center: on_axis(mm), radii: [width, width, half_length], axes: axes_along(TO_APEX) }
}

fn left_wall() -> Solid {
    let valve = unit(TO_APEX);
    let offset = dot(valve, on_axis(-2.0));
    along(36.0, 37.5, 58.0).within(4.0, [Solid::Half { normal: valve, offset }])
}

fn right_ventricle() -> Solid {
    let body = Solid::Ellipsoid {
        center: [-14.0, 46.0, 320.0],
        radii: [30.5, 37.0, 53.0],
        axes: axes_along([-0.75, 0.35, -0.45]),
    };
    union(10.0, vec![body, tube(&[([-14.0, 54.0, 335.0], 22.0), ([-24.0, 50.0, 356.0], 15.0)])])
}

/// The interior of the pericardium, which other structures exclude.
pub fn outline() -> Solid {
    union(
        16.0,
        vec![
            left_wall(),
            right_ventricle(),
            ellipsoid([36.0, 20.0, 334.0], [27.0, 30.0, 37.0]),
            ellipsoid([2.0, -13.0, 357.0], [36.0, 18.0, 25.0]),
            tube(&[([-24.0, 48.0, 356.0], 17.0), ([-26.0, 34.0, 384.0], 16.0)]),
            tube(&[([0.0, 18.0, 352.0], 18.0), ([18.0, 28.0, 386.0], 19.0)]),
        ],
    )
}

pub fn heart(atlas: &mut Atlas) {
    let shades = atlas.shades;
    // Epicardial fat.
    let above = Solid::Field(frame::above_diaphragm).grown(1.0);
    atlas.put_unnamed(outline().grown(3.0).within(2.0, [above]), shades.fat());
    let right_atrium = atlas.organic(ellipsoid([36.0, 20.0, 334.0], [27.5, 30.5, 37.5]), 2.0, 22.0);
    let left_atrium = union(
        8.0,
        vec![
            ellipsoid([2.0, -12.0, 357.0], [36.0, 20.0, 26.5]),
            // Auricle and ends of the pulmonary veins.
            tube(&[([-26.0, 2.0, 364.0], 9.0), ([-42.0, 14.0, 366.0], 7.0)]),
            tube(&[([24.0, -18.0, 360.0], 8.0), ([44.0, -22.0, 358.0], 6.0)]),
            tube(&[([-24.0, -20.0, 354.0], 8.0), ([-44.0, -24.0, 350.0], 6.0)]),
        ],
    );
    let left_atrium = atlas.organic(left_atrium, 1.5, 20.0);
    let right_ventricle = atlas.organic(right_ventricle(), 2.0, 24.0);
    atlas.put("heart_atrium_right", right_atrium, shades.lung_blood());
    atlas.put("heart_atrium_left", left_atrium, shades.arterial_blood());
    atlas.put("heart_ventricle_right", right_ventricle, shades.lung_blood());
    let wall = atlas.organic(left_wall(), 1.5, 26.0);
    atlas.put("heart_myocardium", wall, shades.myocardium());
    let valve = unit(TO_APEX);
    let offset = dot(valve, on_axis(-2.0));
    let chamber = along(33.5, 26.0, 47.0).within(3.0, [Solid::Half { normal: valve, offset }]);
    let chamber = atlas.organic(chamber, 2.0, 14.0);
    atlas.put("heart_ventricle_left", chamber, shades.arterial_blood());
}

pub fn pulmonary_artery(atlas: &mut Atlas) {
    let solid = union(
        6.0,
        vec![
            tube(&[([-24.0, 50.0, 356.0], 13.5), ([-27.0, 36.0, 384.0], 14.0), ([-20.0, 16.0, 393.0], 13.0)]),
            tube(&[
                ([-22.0, 18.0, 393.0], 12.0),
                ([2.0, 2.0, 389.0], 10.5),
                ([24.0, -2.0, 387.0], 10.0),
                ([46.0, -10.0, 380.0], 9.0),
            ]),
            tube(&[([-22.0, 18.0, 393.0], 12.0), ([-40.0, -6.0, 396.0], 11.0), ([-56.0, -24.0, 384.0], 9.0)]),
        ],
    );
    atlas.put("pulmonary_artery", solid, atlas.shades.lung_blood());
}
