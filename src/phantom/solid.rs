//! Solids as signed distance functions: negative inside, zero on the surface, approximately in mm near it.
//!
//! Distances to ellipsoids, columns and blends are approximations; rendering only needs them to be accurate near the
//! surface.

use super::geometry::{
    Axes, Bounds, Knot, Point, UPRIGHT, add, cross, curve, dot, into_axes, length, mix, mix_points, out_of_axes, scale,
    sub,
};
use super::noise;

/// Length of the straight segments of a curved tube, mm.
const TUBE_STEP_MM: f32 = 7.0;
/// Largest factor by which a distance may exceed the true distance to the surface.
pub const FAR: f32 = 1.6;

#[derive(Clone)]
pub enum Solid {
    Ellipsoid {
        center: Point,
        radii: Point,
        axes: Axes,
    },
    /// An elliptic cylinder along the third axis; `half`: half width, half depth, half height.
    Column {
        center: Point,
        half: Point,
        axes: Axes,
        rounding: f32,
    },
    /// Segments of a curve with a radius at both ends.
    Tube(Vec<[Knot; 2]>),
    /// A triangle mesh with a thickness.
    Plate {
        triangles: Vec<[Point; 3]>,
        half_thickness: f32,
    },
    /// The half-space `normal · p ≥ offset` with a unit normal.
    Half {
        normal: Point,
        offset: f32,
    },
    /// A distance field, such as those of [`super::frame`].
    Field(fn(Point) -> f32),
    Union {
        parts: Vec<Solid>,
        blend: f32,
    },
    Common {
        parts: Vec<Solid>,
        blend: f32,
    },
    Without {
        whole: Box<Solid>,
        hole: Box<Solid>,
        blend: f32,
    },
    Grown {
        inner: Box<Solid>,
        by: f32,
    },
    /// Grown by a thickness that varies with position.
    Padded {
        inner: Box<Solid>,
        by: f32,
        share: fn(Point) -> f32,
    },
    /// Scaled about `center`, then shifted.
    Moved {
        inner: Box<Solid>,
        center: Point,
        shift: Point,
        scale: f32,
    },
    /// Surface displaced by smooth noise.
    Rough {
        inner: Box<Solid>,
        height: f32,
        width: f32,
        seed: u32,
    },
}

pub fn ellipsoid(center: Point, radii: Point) -> Solid {
    Solid::Ellipsoid { center, radii, axes: UPRIGHT }
}
pub fn tube(knots: &[Knot]) -> Solid {
    let points = curve(knots, TUBE_STEP_MM);
    Solid::Tube(points.windows(2).map(|ends| [ends[0], ends[1]]).collect())
}
/// A straight tube of constant radius.
pub fn rod(from: Point, to: Point, radius: f32) -> Solid {
    Solid::Tube(vec![[(from, radius), (to, radius)]])
}
pub fn union(blend: f32, parts: Vec<Solid>) -> Solid {
    Solid::Union { parts, blend }
}

impl Solid {
    pub fn within(self, blend: f32, others: impl IntoIterator<Item = Solid>) -> Solid {
        Solid::Common { parts: std::iter::once(self).chain(others).collect(), blend }
    }
    pub fn without(self, blend: f32, hole: Solid) -> Solid {
        Solid::Without { whole: Box::new(self), hole: Box::new(hole), blend }
    }
    pub fn grown(self, by: f32) -> Solid {
        Solid::Grown { inner: Box::new(self), by }
    }
    pub fn rough(self, height: f32, width: f32, seed: u32) -> Solid {
        Solid::Rough { inner: Box::new(self), height, width, seed }
    }

    pub fn distance(&self, p: Point) -> f32 {
        match self {
            Solid::Ellipsoid { center, radii, axes } => {
                let q = into_axes(axes, sub(p, *center));
                let once = std::array::from_fn(|axis| q[axis] / radii[axis]);
                let twice = std::array::from_fn(|axis| once[axis] / radii[axis]);
                let (k0, k1) = (length(once), length(twice));
                if k1 < 1e-6 { -radii[0].min(radii[1]).min(radii[2]) } else { k0 * (k0 - 1.0) / k1 }
            }
            Solid::Column { center, half, axes, rounding } => {
                let q = into_axes(axes, sub(p, *center));
                let ring = section(q[0], q[1], half[0] - rounding, half[1] - rounding, 0.0);
                let end = q[2].abs() - (half[2] - rounding);
                let outside = length([ring.max(0.0), end.max(0.0), 0.0]);
                ring.max(end).min(0.0) + outside - rounding
            }
            Solid::Tube(pieces) => pieces.iter().map(|piece| from_piece(p, piece)).fold(f32::INFINITY, f32::min),
            Solid::Plate { triangles, half_thickness } => {
                triangles.iter().map(|corners| from_triangle_squared(p, corners)).fold(f32::INFINITY, f32::min).sqrt()
                    - half_thickness
            }
            Solid::Half { normal, offset } => offset - dot(*normal, p),
            Solid::Field(field) => field(p),
            Solid::Union { parts, blend } => {
                parts.iter().map(|part| part.distance(p)).fold(f32::INFINITY, |a, b| smooth_min(a, b, *blend))
            }
            Solid::Common { parts, blend } => {
                parts.iter().map(|part| part.distance(p)).fold(f32::NEG_INFINITY, |a, b| -smooth_min(-a, -b, *blend))
            }
            Solid::Without { whole, hole, blend } => -smooth_min(-whole.distance(p), hole.distance(p), *blend),
            Solid::Grown { inner, by } => inner.distance(p) - by,
            Solid::Padded { inner, by, share } => inner.distance(p) - by * share(p),
            Solid::Moved { inner, center, shift, scale: by } => {
                inner.distance(add(*center, scale(sub(sub(p, *center), *shift), 1.0 / by))) * by
            }
            Solid::Rough { inner, height, width, seed } => {
                let d = inner.distance(p);
                if d.abs() < 4.0 * height.abs() + 6.0 {
                    d + height * noise::smooth(*seed, scale(p, 1.0 / width))
                } else {
                    d
                }
            }
        }
    }

    /// Returns the bounding box; infinite where the solid is.
    pub fn bounds(&self) -> Bounds {
        const ENDLESS: Bounds = Bounds { low: [-1e6; 3], high: [1e6; 3] };
        match self {
            Solid::Ellipsoid { center, radii: half, axes } | Solid::Column { center, half, axes, .. } => {
                let corners = (0..8).map(|corner: u32| {
                    let sign = |bit: u32| if corner >> bit & 1 == 0 { -1.0 } else { 1.0 };
                    add(*center, out_of_axes(axes, [half[0] * sign(0), half[1] * sign(1), half[2] * sign(2)]))
                });
                Bounds::of(corners)
            }
            Solid::Tube(pieces) => pieces.iter().map(piece_bounds).fold(Bounds::NOTHING, |all, one| all.with(&one)),
            Solid::Plate { triangles, half_thickness } => {
                Bounds::of(triangles.iter().flatten().copied()).grown(*half_thickness)
            }
            Solid::Half { .. } | Solid::Field(_) => ENDLESS,
            Solid::Union { parts, blend } => {
                parts.iter().map(Solid::bounds).fold(Bounds::NOTHING, |all, one| all.with(&one)).grown(blend / 4.0)
            }
            Solid::Common { parts, .. } => parts.iter().map(Solid::bounds).fold(ENDLESS, |all, one| Bounds {
                low: std::array::from_fn(|axis| all.low[axis].max(one.low[axis])),
                high: std::array::from_fn(|axis| all.high[axis].min(one.high[axis])),
            }),
            Solid::Without { whole, .. } => whole.bounds(),
            Solid::Grown { inner, by } => inner.bounds().grown(*by),
            // Values of `share` are below 2.
            Solid::Padded { inner, by, .. } => inner.bounds().grown(2.0 * by),
            Solid::Moved { inner, center, shift, scale: by } => {
                let Bounds { low, high } = inner.bounds();
                let moved = |p: Point| add(add(*center, *shift), scale(sub(p, *center), *by));
                Bounds { low: moved(low), high: moved(high) }
            }
            Solid::Rough { inner, height, .. } => inner.bounds().grown(height.abs()),
        }
    }

    /// Prunes the solid to the parts that are relevant in `place`: distances below `margin` are unchanged there. `None`
    /// if nothing remains.
    pub fn near(&self, place: &Bounds, margin: f32) -> Option<Solid> {
        Some(match self {
            Solid::Tube(pieces) => {
                let place = place.grown(margin);
                let near: Vec<[Knot; 2]> =
                    pieces.iter().filter(|piece| piece_bounds(piece).meets(&place)).copied().collect();
                if near.is_empty() {
                    return None;
                }
                Solid::Tube(near)
            }
            Solid::Union { parts, blend } => {
                let mut near: Vec<Solid> = parts.iter().filter_map(|part| part.near(place, margin + blend)).collect();
                match near.len() {
                    0 => return None,
                    1 => near.remove(0),
                    _ => Solid::Union { parts: near, blend: *blend },
                }
            }
            Solid::Common { parts, blend } => Solid::Common {
                parts: parts.iter().map(|part| part.near(place, margin + blend)).collect::<Option<Vec<Solid>>>()?,
                blend: *blend,
            },
            Solid::Without { whole, hole, blend } => {
                let whole = whole.near(place, margin + blend)?;
                match hole.near(place, margin + blend) {
                    Some(hole) => whole.without(*blend, hole),
                    None => whole,
                }
            }
            Solid::Grown { inner, by } => inner.near(place, margin + by.abs())?.grown(*by),
            Solid::Padded { inner, by, share } => {
                Solid::Padded { inner: Box::new(inner.near(place, margin + 2.0 * by)?), by: *by, share: *share }
            }
            Solid::Moved { inner, center, shift, scale: by } => {
                let back = |p: Point| add(*center, scale(sub(sub(p, *center), *shift), 1.0 / by));
                let inner = inner.near(&Bounds { low: back(place.low), high: back(place.high) }, margin / by)?;
                Solid::Moved { inner: Box::new(inner), center: *center, shift: *shift, scale: *by }
            }
            Solid::Rough { inner, height, width, seed } => {
                inner.near(place, margin + height.abs())?.rough(*height, *width, *seed)
            }
            Solid::Half { normal, offset } => {
                // The innermost corner.
                let corner =
                    std::array::from_fn(|axis| if normal[axis] > 0.0 { place.high[axis] } else { place.low[axis] });
                if offset - dot(*normal, corner) > margin {
                    return None;
                }
                self.clone()
            }
            simple => match simple.bounds().meets(&place.grown(margin)) {
                true => simple.clone(),
                false => return None,
            },
        })
    }
}

/// Returns the 2D distance along the ray from the center to an ellipse with half axes `a` and `b`; `squareness` from 0
/// to 1 extends its corners.
#[inline]
pub fn section(x: f32, y: f32, a: f32, b: f32, squareness: f32) -> f32 {
    let (u, v) = ((x / a) * (x / a), (y / b) * (y / b));
    let level = mix((u + v).sqrt(), (u * u + v * v).sqrt().sqrt(), squareness);
    if level < 1e-3 {
        return -a.min(b);
    }
    // The distance along the ray exceeds the true distance where the surface is oblique to it.
    let radius = (x * x + y * y).sqrt();
    radius * (1.0 - 1.0 / level)
}

/// Smooth minimum: quadratic blend where both are closer than `blend`.
#[inline]
pub fn smooth_min(a: f32, b: f32, blend: f32) -> f32 {
    let closeness = blend - (a - b).abs();
    let least = a.min(b);
    if blend > 0.0 && closeness > 0.0 { least - closeness * closeness / (4.0 * blend) } else { least }
}

#[inline]
fn piece_bounds([from, to]: &[Knot; 2]) -> Bounds {
    Bounds::of([from.0, to.0]).grown(from.1.max(to.1))
}

#[inline]
fn from_piece(p: Point, [from, to]: &[Knot; 2]) -> f32 {
    let (along, away) = (sub(to.0, from.0), sub(p, from.0));
    let t = (dot(along, away) / dot(along, along).max(1e-6)).clamp(0.0, 1.0);
    length(sub(away, scale(along, t))) - mix(from.1, to.1, t)
}

#[inline]
fn from_triangle_squared(p: Point, [a, b, c]: &[Point; 3]) -> f32 {
    let normal = cross(sub(*b, *a), sub(*c, *a));
    let inside = |from: &Point, to: &Point| dot(cross(sub(*to, *from), sub(p, *from)), normal) >= 0.0;
    if inside(a, b) && inside(b, c) && inside(c, a) {
        let height = dot(normal, sub(p, *a));
        return height * height / dot(normal, normal).max(1e-6);
    }
    let from_edge = |from: &Point, to: &Point| {
        let along = sub(*to, *from);
        let t = (dot(along, sub(p, *from)) / dot(along, along).max(1e-6)).clamp(0.0, 1.0);
        let away = sub(p, mix_points(*from, *to, t));
        dot(away, away)
    };
    from_edge(a, b).min(from_edge(b, c)).min(from_edge(c, a))
}

#[cfg(test)]
mod tests {
    use super::super::random::Stream;
    use super::super::{anatomy, person::Person};
    use super::*;

    fn point(stream: &mut Stream, low: Point, high: Point) -> Point {
        std::array::from_fn(|axis| stream.uniform(low[axis], high[axis]))
    }

    /// Invariants of the renderer: a solid is empty outside its bounding box, and a pruned solid is unchanged near its
    /// place.
    #[test]
    fn bounds_contain_solids_and_pruning_keeps_near_distances() {
        const MARGIN: f32 = 3.0;
        let person = Person::new(5, 1, true);
        let mut stream = Stream::new(&[9]);
        let (mut inside, mut cut) = (0, 0);
        for structure in anatomy::structures(&person).unwrap() {
            let solid = structure.solid;
            let bounds = solid.bounds();
            let [low, high] = [bounds.low.map(|value| value.max(-300.0)), bounds.high.map(|value| value.min(800.0))];
            for _ in 0..150 {
                // Sample mostly inside the box, sometimes around it.
                let p = point(&mut stream, low.map(|value| value - 8.0), high.map(|value| value + 8.0));
                let d = solid.distance(p);
                let outside =
                    (0..3).any(|axis| p[axis] < bounds.low[axis] - 0.01 || p[axis] > bounds.high[axis] + 0.01);
                assert!(!(outside && d < -0.01), "{p:?} is {d} mm from a solid within {bounds:?}");
                inside += usize::from(d < 0.0);
                let corner = point(&mut stream, sub(p, [20.0; 3]), p);
                let place = Bounds { low: corner, high: add(corner, [20.0; 3]) };
                match solid.near(&place, MARGIN) {
                    Some(near) if d < MARGIN => {
                        assert!((near.distance(p) - d).abs() < 0.01, "{p:?}: {} mm, not {d}", near.distance(p));
                        let middle = near.distance(add(corner, [10.0; 3]));
                        assert!(
                            middle <= FAR * length([10.0; 3]) + MARGIN,
                            "{p:?} is at {d} mm, the center of its place at {middle} mm"
                        );
                    }
                    Some(_) => {}
                    None => {
                        assert!(d >= MARGIN - 0.01, "{p:?} is {d} mm from the pruned parts");
                        cut += 1;
                    }
                }
            }
        }
        assert!(inside > 1000 && cut > 2000, "{inside} inside, {cut} pruned");
    }
}
