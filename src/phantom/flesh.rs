//! Soft tissue without classes: skin, subcutaneous fat, other muscles, and the fat between the organs.

use super::frame;
use super::geometry::{Point, on_side};
use super::person::Person;
use super::solid::{Solid, ellipsoid, tube, union};
use super::structure::Atlas;
use super::tissue::plain;

/// Trunk, arms and legs without subcutaneous fat and skin.
fn muscle(person: &Person) -> Solid {
    let mut parts = vec![Solid::Field(frame::wall)];
    for side in [1.0, -1.0] {
        let at = |p: Point| on_side(side, p);
        parts.push(tube(&[
            (at([86.0, -12.0, -80.0]), 76.0),
            (at([88.0, -8.0, -160.0]), 78.0),
            (at([86.0, -2.0, -250.0]), 72.0),
            (at([84.0, 2.0, -450.0]), 60.0),
        ]));
        // Deltoid and trapezius.
        parts.push(ellipsoid(at([146.0, -30.0, 438.0]), [44.0, 50.0, 46.0]));
        parts.push(tube(&[
            (at([30.0, -46.0, 540.0]), 24.0),
            (at([70.0, -50.0, 494.0]), 30.0),
            (at([130.0, -40.0, 462.0]), 30.0),
        ]));
        parts.push(tube(&match person.arms_raised {
            true => [
                (at([150.0, -28.0, 448.0]), 44.0),
                (at([186.0, -14.0, 530.0]), 43.0),
                (at([206.0, 0.0, 640.0]), 40.0),
                (at([212.0, 6.0, 800.0]), 36.0),
            ],
            false => [
                (at([160.0, -28.0, 440.0]), 42.0),
                (at([204.0, -26.0, 340.0]), 38.0),
                (at([224.0, -22.0, 200.0]), 36.0),
                (at([232.0, 10.0, -60.0]), 30.0),
            ],
        }));
    }
    union(26.0, parts)
}

/// Adds the layers of the body from outside to inside. `head` is the head without skin.
pub fn body(atlas: &mut Atlas, head: Solid) {
    let person = atlas.person;
    let shades = atlas.shades;
    let muscle = muscle(person);
    let mut fleshy =
        vec![Solid::Padded { inner: Box::new(muscle.clone()), by: person.fat_mm, share: frame::fat_share }];
    if person.breast_mm > 0.0 {
        for side in [1.0, -1.0] {
            let breast = ellipsoid(on_side(side, [76.0, 100.0, 338.0]), [58.0, person.breast_mm + 14.0, 60.0]);
            fleshy.push(breast);
        }
    }
    let fleshy = union(30.0, vec![union(24.0, fleshy), head.grown(4.0)]);
    let skin = fleshy.clone().grown(1.6);
    atlas.put_unnamed(skin, shades.fat().rind(2.2, shades.skin()));
    if person.breast_mm > 0.0 {
        for side in [1.0, -1.0] {
            let gland = ellipsoid(on_side(side, [78.0, 104.0, 336.0]), [34.0, person.breast_mm * 0.6, 34.0])
                .rough(10.0, 16.0, 77);
            atlas.put_unnamed(gland, plain(15.0).mottled(30.0, 6.0));
        }
    }
    atlas.put_unnamed(muscle, shades.loose_muscle());
    // Fat between the organs, in mediastinum and abdomen.
    let room = Solid::Field(frame::room).grown(-1.0);
    atlas.put_unnamed(room, shades.fat());
    atlas.put_unnamed(Solid::Field(frame::diaphragm).within(0.0, [Solid::Field(frame::room)]), shades.muscle());
    // Soft tissue around bladder and rectum.
    atlas.put_unnamed(ellipsoid([0.0, 0.0, -128.0], [30.0, 40.0, 22.0]), shades.muscle());
}
