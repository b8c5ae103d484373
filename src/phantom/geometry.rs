//! Points, boxes, rotations and curves in body coordinates: mm, x to the right, y to the front, z up (RAS+).

pub type Point = [f32; 3];

#[inline]
pub fn add(a: Point, b: Point) -> Point {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}
#[inline]
pub fn sub(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}
#[inline]
pub fn scale(a: Point, by: f32) -> Point {
    [a[0] * by, a[1] * by, a[2] * by]
}
#[inline]
pub fn dot(a: Point, b: Point) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}
#[inline]
pub fn cross(a: Point, b: Point) -> Point {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}
#[inline]
pub fn length(a: Point) -> f32 {
    dot(a, a).sqrt()
}
#[inline]
pub fn unit(a: Point) -> Point {
    scale(a, 1.0 / length(a).max(1e-6))
}
#[inline]
pub fn mix(a: f32, b: f32, share: f32) -> f32 {
    a + (b - a) * share
}
#[inline]
pub fn mix_points(a: Point, b: Point, share: f32) -> Point {
    [mix(a[0], b[0], share), mix(a[1], b[1], share), mix(a[2], b[2], share)]
}
/// Smooth step: 0 below `low`, 1 above `high`.
#[inline]
pub fn ramp(low: f32, high: f32, value: f32) -> f32 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}
/// Mirrors the point to the other side of the body if `side` is -1.
pub fn on_side(side: f32, p: Point) -> Point {
    [side * p[0], p[1], p[2]]
}

/// Three orthonormal axes, as rows.
pub type Axes = [Point; 3];
pub const UPRIGHT: Axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// Returns axes whose third one points along `along` and whose first one is as close to x as possible.
pub fn axes_along(along: Point) -> Axes {
    let third = unit(along);
    let first = unit(sub([1.0, 0.0, 0.0], scale(third, third[0])));
    [first, cross(third, first), third]
}
#[inline]
pub fn into_axes(axes: &Axes, p: Point) -> Point {
    [dot(axes[0], p), dot(axes[1], p), dot(axes[2], p)]
}
pub fn out_of_axes(axes: &Axes, p: Point) -> Point {
    add(add(scale(axes[0], p[0]), scale(axes[1], p[1])), scale(axes[2], p[2]))
}

/// An axis-aligned box.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub low: Point,
    pub high: Point,
}

impl Bounds {
    pub const NOTHING: Bounds = Bounds { low: [f32::INFINITY; 3], high: [f32::NEG_INFINITY; 3] };

    pub fn of(points: impl IntoIterator<Item = Point>) -> Bounds {
        points.into_iter().fold(Bounds::NOTHING, |bounds, p| bounds.with(&Bounds { low: p, high: p }))
    }
    #[inline]
    pub fn grown(&self, by: f32) -> Bounds {
        Bounds { low: self.low.map(|value| value - by), high: self.high.map(|value| value + by) }
    }
    /// Returns the smallest box that contains both.
    pub fn with(&self, other: &Bounds) -> Bounds {
        Bounds {
            low: std::array::from_fn(|axis| self.low[axis].min(other.low[axis])),
            high: std::array::from_fn(|axis| self.high[axis].max(other.high[axis])),
        }
    }
    #[inline]
    pub fn meets(&self, other: &Bounds) -> bool {
        (0..3).all(|axis| self.low[axis] <= other.high[axis] && other.low[axis] <= self.high[axis])
    }
}

/// A point on a curve and the radius of the tube there.
pub type Knot = (Point, f32);

/// Samples a Catmull-Rom spline through `knots` in steps of about `step_mm`.
pub fn curve(knots: &[Knot], step_mm: f32) -> Vec<Knot> {
    let last = knots.len().saturating_sub(1);
    let mut out = Vec::new();
    for i in 0..last {
        let [before, from, to, after] = [i.saturating_sub(1), i, i + 1, (i + 2).min(last)].map(|at| knots[at]);
        let pieces = (length(sub(to.0, from.0)) / step_mm).ceil().max(1.0) as usize;
        for piece in 0..pieces {
            let t = piece as f32 / pieces as f32;
            let point = std::array::from_fn(|axis| cubic([before.0[axis], from.0[axis], to.0[axis], after.0[axis]], t));
            out.push((point, mix(from.1, to.1, t)));
        }
    }
    out.extend(knots.last());
    out
}

/// Catmull-Rom interpolation from `values[1]` at t = 0 to `values[2]` at t = 1.
#[inline]
pub fn cubic([a, b, c, d]: [f32; 4], t: f32) -> f32 {
    b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))
}

/// A smooth function of height, given at even steps and constant beyond its ends.
pub struct Profile<const ROWS: usize, const N: usize> {
    /// Height of the first row, mm.
    pub start: f32,
    pub step: f32,
    pub rows: [[f32; N]; ROWS],
}

impl<const ROWS: usize, const N: usize> Profile<ROWS, N> {
    #[inline]
    pub fn at(&self, z: f32) -> [f32; N] {
        let place = ((z - self.start) / self.step).clamp(0.0, (ROWS - 1) as f32);
        let row = (place as usize).min(ROWS - 2);
        let t = place - row as f32;
        let [before, from, to, after] =
            [row.saturating_sub(1), row, row + 1, (row + 2).min(ROWS - 1)].map(|at| &self.rows[at]);
        std::array::from_fn(|i| cubic([before[i], from[i], to[i], after[i]], t))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_pass_through_their_knots() {
        let knots = [([0.0, 0.0, 0.0], 1.0), ([10.0, 0.0, 5.0], 2.0), ([20.0, 10.0, 5.0], 3.0)];
        let points = curve(&knots, 3.0);
        for knot in knots {
            assert!(points.contains(&knot), "{knot:?} not in {points:?}");
        }
        assert!(points.windows(2).all(|ends| length(sub(ends[1].0, ends[0].0)) < 5.0));
    }

    #[test]
    fn axes_are_at_right_angles() {
        let axes = axes_along([0.3, -0.5, 0.8]);
        for (i, a) in axes.iter().enumerate() {
            for (j, b) in axes.iter().enumerate() {
                assert!((dot(*a, *b) - if i == j { 1.0 } else { 0.0 }).abs() < 1e-6);
            }
        }
        let p = [1.0, 2.0, 3.0];
        assert!(length(sub(out_of_axes(&axes, into_axes(&axes, p)), p)) < 1e-5);
    }
}
