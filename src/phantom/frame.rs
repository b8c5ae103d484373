//! Surfaces that all other structures refer to: the muscular wall of the trunk, the thoracic and abdominal cavity, the
//! curve of the spine and the diaphragm. z = 0 is the lower edge of L5; dimensions are rounded values of an average
//! adult in supine position.

use super::geometry::{Point, Profile, mix, ramp};
use super::solid::{section, smooth_min};

/// Half width, front and back of trunk and neck without subcutaneous fat, by height.
const WALL: Profile<33, 3> = Profile {
    start: -200.0,
    step: 25.0,
    rows: [
        [150.0, 45.0, -85.0],
        [158.0, 55.0, -92.0],
        [164.0, 62.0, -99.0],
        [168.0, 69.0, -106.0],
        [169.0, 75.0, -110.0],
        [166.0, 79.0, -112.0],
        [159.0, 82.0, -111.0],
        [151.0, 85.0, -107.0],
        [144.0, 88.0, -102.0],
        [139.0, 90.0, -97.0],
        [136.0, 91.0, -95.0],
        [134.0, 91.0, -94.0],
        [134.0, 91.0, -95.0],
        [135.0, 92.0, -98.0],
        [137.0, 93.0, -101.0],
        [140.0, 95.0, -104.0],
        [145.0, 97.0, -107.0],
        [149.0, 99.0, -110.0],
        [152.0, 101.0, -112.0],
        [154.0, 102.0, -114.0],
        [156.0, 103.0, -116.0],
        [156.0, 103.0, -117.0],
        [156.0, 101.0, -117.0],
        [157.0, 97.0, -116.0],
        [157.0, 90.0, -114.0],
        [153.0, 80.0, -110.0],
        [138.0, 66.0, -104.0],
        [108.0, 50.0, -96.0],
        [76.0, 38.0, -86.0],
        [60.0, 33.0, -76.0],
        [56.0, 34.0, -71.0],
        [56.0, 36.0, -70.0],
        [58.0, 38.0, -70.0],
    ],
};

/// Half width, front and back of the body cavity (pelvis, abdomen, chest), by height.
const ROOM: Profile<28, 3> = Profile {
    start: -150.0,
    step: 25.0,
    rows: [
        [40.0, 20.0, -45.0],
        [46.0, 38.0, -60.0],
        [50.0, 50.0, -74.0],
        [56.0, 58.0, -80.0],
        [80.0, 66.0, -78.0],
        [106.0, 71.0, -72.0],
        [116.0, 75.0, -67.0],
        [120.0, 78.0, -65.0],
        [122.0, 80.0, -65.0],
        [122.0, 80.0, -67.0],
        [122.0, 80.0, -70.0],
        [123.0, 81.0, -74.0],
        [126.0, 82.0, -78.0],
        [129.0, 84.0, -82.0],
        [132.0, 85.0, -85.0],
        [136.0, 88.0, -89.0],
        [138.0, 89.0, -92.0],
        [138.0, 89.0, -94.0],
        [138.0, 88.0, -95.0],
        [135.0, 86.0, -95.0],
        [132.0, 82.0, -94.0],
        [127.0, 77.0, -92.0],
        [121.0, 69.0, -90.0],
        [112.0, 57.0, -86.0],
        [100.0, 39.0, -81.0],
        [82.0, 14.0, -70.0],
        [58.0, -10.0, -58.0],
        [25.0, -28.0, -45.0],
    ],
};

/// y of the centers of the vertebral bodies, by height.
const SPINE: Profile<31, 1> = Profile {
    start: -125.0,
    step: 25.0,
    rows: [
        [-90.0],
        [-84.0],
        [-76.0],
        [-64.0],
        [-47.0],
        [-34.0],
        [-26.0],
        [-21.0],
        [-20.0],
        [-23.0],
        [-28.0],
        [-34.0],
        [-40.0],
        [-45.0],
        [-50.0],
        [-54.0],
        [-57.0],
        [-59.0],
        [-60.0],
        [-60.0],
        [-58.0],
        [-55.0],
        [-51.0],
        [-46.0],
        [-40.0],
        [-33.0],
        [-26.0],
        [-20.0],
        [-17.0],
        [-16.0],
        [-16.0],
    ],
};

/// Upper end of the lungs.
pub const LUNG_TOP: f32 = 498.0;
const ROOM_SQUARENESS: f32 = 0.6;
const TRUNK_END: f32 = -172.0;
const NECK_END: f32 = 620.0;

#[inline]
fn ring(p: Point, [half_width, front, back]: [f32; 3], squareness: f32) -> f32 {
    section(p[0], p[1] - (front + back) / 2.0, half_width, (front - back) / 2.0, squareness)
}

/// Trunk and neck without fat and skin.
pub fn wall(p: Point) -> f32 {
    // The section of the trunk is boxy, that of the neck round.
    let squareness = 0.65 * ramp(540.0, 440.0, p[2]);
    let ends = (TRUNK_END - p[2]).max(p[2] - NECK_END);
    -smooth_min(-ring(p, WALL.at(p[2]), squareness), -ends, 30.0)
}

/// The body cavity inside ribs, abdominal wall and pelvis, excluding the spine.
pub fn room(p: Point) -> f32 {
    let outer = ring(p, ROOM.at(p[2]), ROOM_SQUARENESS);
    let spine = {
        let (dx, dy) = (p[0], p[1] - spine_y(p[2]) + 14.0);
        (dx * dx + 0.6 * dy * dy).sqrt() - 27.0
    };
    -smooth_min(-outer, spine, 14.0).min(LUNG_TOP - p[2])
}

/// Returns the point of the inner chest surface at height z, in direction `angle` (from the back towards +x) as seen
/// from the center of the chest.
pub fn chest_point(angle: f32, z: f32) -> Point {
    let [half_width, front, back] = ROOM.at(z);
    let (x, y) = (libm::sinf(angle), -libm::cosf(angle));
    // Along a ray, length is proportional to the level of the section: the surface is at 1 - d.
    let reach = 1.0 - section(x, y, half_width, (front - back) / 2.0, ROOM_SQUARENESS);
    [x * reach, (front + back) / 2.0 + y * reach, z]
}

pub fn chest_front(z: f32) -> f32 {
    ROOM.at(z)[1]
}

#[inline]
pub fn spine_y(z: f32) -> f32 {
    SPINE.at(z)[0]
}

/// Slope of the spine, dy/dz.
pub fn spine_slope(z: f32) -> f32 {
    (spine_y(z + 8.0) - spine_y(z - 8.0)) / 16.0
}

/// Height of the diaphragm: two domes, the right one higher; lower at the back and the sides.
#[inline]
pub fn diaphragm_z(x: f32, y: f32) -> f32 {
    let right = ramp(-40.0, 40.0, x);
    let top = mix(305.0, 320.0, right);
    let u = (x.abs() - 62.0) / 66.0;
    let v = (y - 8.0) / 92.0;
    let sideways = if u > 0.0 { 72.0 * u * u * u.sqrt() } else { 16.0 * u * u };
    let lengthways = if v < 0.0 { 88.0 * v * v } else { 42.0 * v * v };
    // Depression below the heart.
    let (a, b) = ((x + 24.0) / 58.0, (y - 38.0) / 46.0);
    let bed = (1.0 - a * a - b * b).max(0.0);
    top - sideways - lengthways - 19.0 * bed
}

/// Distance field of the space below the diaphragm: positive above it.
#[inline]
pub fn below_diaphragm(p: Point) -> f32 {
    // Reduces the vertical distance, because domes are steep at their sides.
    0.75 * (p[2] - diaphragm_z(p[0], p[1]))
}

/// Distance field of the space above the diaphragm: positive below it.
pub fn above_diaphragm(p: Point) -> f32 {
    -below_diaphragm(p)
}

/// Distance field of the diaphragm muscle.
pub fn diaphragm(p: Point) -> f32 {
    below_diaphragm(p).abs() - 2.0
}

/// Thickness of the subcutaneous fat relative to the value of the person: thick at abdomen and buttocks, thin at the
/// neck.
pub fn fat_share(p: Point) -> f32 {
    let [z, front] = [p[2], ramp(-40.0, 80.0, p[1])];
    let trunk = mix(0.62, 1.0, ramp(330.0, 120.0, z));
    let belly = 0.45 * front * ramp(-120.0, -40.0, z) * ramp(240.0, 120.0, z);
    let buttocks = 0.5 * (1.0 - front) * ramp(60.0, -40.0, z);
    let neck = mix(1.0, 0.3, ramp(440.0, 540.0, z));
    let arms = mix(1.0, 0.4, ramp(160.0, 185.0, p[0].abs()) * ramp(60.0, 150.0, z));
    (trunk + belly + buttocks) * neck * arms
}
