//! Shapes in body coordinates: millimetres, x to the right, y to the front, z up (RAS+), and what they are made of.

pub type Point = [f64; 3];

/// What a structure is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tissue {
    Air,
    Lung,
    Fat,
    Muscle,
    Water,
    Wall,
    Gland,
    Blood,
    Marrow,
    Bone,
}

impl Tissue {
    /// Hounsfield units without contrast agent, and what full contrast adds.
    pub fn hu(self) -> (f64, f64) {
        match self {
            Tissue::Air => (-990.0, 0.0),
            Tissue::Lung => (-830.0, 15.0),
            Tissue::Fat => (-100.0, 0.0),
            Tissue::Muscle => (52.0, 12.0),
            Tissue::Water => (8.0, 0.0),
            Tissue::Wall => (35.0, 35.0),
            Tissue::Gland => (52.0, 60.0),
            Tissue::Blood => (42.0, 160.0),
            Tissue::Marrow => (190.0, 10.0),
            Tissue::Bone => (650.0, 0.0),
        }
    }
}

#[derive(Debug, Clone)]
pub enum Form {
    Ellipsoid {
        centre: Point,
        radii: Point,
    },
    /// Elliptic, along z.
    Cylinder {
        centre: Point,
        radii: [f64; 2],
        half_height: f64,
    },
    /// A line of given thickness through points.
    Tube {
        points: Vec<Point>,
        radius: f64,
    },
}

/// `normal · p ≥ offset`
#[derive(Debug, Clone, Copy)]
pub struct HalfSpace {
    pub normal: Point,
    pub offset: f64,
}

/// One row of the anatomy. Later rows are painted over earlier ones.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Class id, 0 for what has none.
    pub class: u8,
    pub tissue: Tissue,
    pub form: Form,
    /// Only where all of these hold.
    pub within: Vec<HalfSpace>,
    /// Bones stay where the frame is; organs move a little from case to case.
    pub moves: bool,
}

impl Form {
    /// Lowest and highest corner.
    pub fn bounds(&self) -> (Point, Point) {
        let around = |centre: &Point, radii: Point| -> (Point, Point) {
            (std::array::from_fn(|axis| centre[axis] - radii[axis]), std::array::from_fn(|axis| centre[axis] + radii[axis]))
        };
        match self {
            Form::Ellipsoid { centre, radii } => around(centre, *radii),
            Form::Cylinder { centre, radii, half_height } => around(centre, [radii[0], radii[1], *half_height]),
            Form::Tube { points, radius } => {
                let edge = |pick: fn(f64, f64) -> f64, start: f64| -> Point {
                    std::array::from_fn(|axis| points.iter().map(|point| point[axis]).fold(start, pick))
                };
                let (low, high) = (edge(f64::min, f64::INFINITY), edge(f64::max, f64::NEG_INFINITY));
                (low.map(|value| value - radius), high.map(|value| value + radius))
            }
        }
    }
    pub fn contains(&self, p: Point) -> bool {
        match self {
            Form::Ellipsoid { centre, radii } => (0..3).map(|axis| ((p[axis] - centre[axis]) / radii[axis]).powi(2)).sum::<f64>() <= 1.0,
            Form::Cylinder { centre, radii, half_height } => {
                (p[2] - centre[2]).abs() <= *half_height
                    && (0..2).map(|axis| ((p[axis] - centre[axis]) / radii[axis]).powi(2)).sum::<f64>() <= 1.0
            }
            Form::Tube { points, radius } => points.windows(2).any(|ends| distance_squared(p, ends[0], ends[1]) <= radius * radius),
        }
    }
    /// The form with its points moved by `place` and its sizes multiplied, by axis.
    pub fn changed(&self, place: impl Fn(Point) -> Point, grow: Point) -> Form {
        let mean = (grow[0] + grow[1] + grow[2]) / 3.0;
        match self {
            Form::Ellipsoid { centre, radii } => {
                Form::Ellipsoid { centre: place(*centre), radii: std::array::from_fn(|axis| radii[axis] * grow[axis]) }
            }
            Form::Cylinder { centre, radii, half_height } => Form::Cylinder {
                centre: place(*centre),
                radii: [radii[0] * grow[0], radii[1] * grow[1]],
                half_height: half_height * grow[2],
            },
            Form::Tube { points, radius } => Form::Tube { points: points.iter().map(|p| place(*p)).collect(), radius: radius * mean },
        }
    }
}

impl Shape {
    pub fn contains(&self, p: Point) -> bool {
        self.within.iter().all(|half| dot(half.normal, p) >= half.offset) && self.form.contains(p)
    }
}

fn dot(a: Point, b: Point) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// From `p` to the line between `a` and `b`, squared.
fn distance_squared(p: Point, a: Point, b: Point) -> f64 {
    let along: Point = std::array::from_fn(|axis| b[axis] - a[axis]);
    let from_a: Point = std::array::from_fn(|axis| p[axis] - a[axis]);
    let length = dot(along, along);
    let share = if length > 0.0 { (dot(from_a, along) / length).clamp(0.0, 1.0) } else { 0.0 };
    let rest: Point = std::array::from_fn(|axis| from_a[axis] - share * along[axis]);
    dot(rest, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_lie_within_their_bounds_and_hold_their_middle() {
        let forms = [
            Form::Ellipsoid { centre: [1.0, 2.0, 3.0], radii: [4.0, 5.0, 6.0] },
            Form::Cylinder { centre: [1.0, 2.0, 3.0], radii: [4.0, 5.0], half_height: 6.0 },
            Form::Tube { points: vec![[-3.0, 0.0, 0.0], [5.0, 4.0, 6.0]], radius: 2.0 },
        ];
        for form in forms {
            let (low, high) = form.bounds();
            assert!(form.contains([1.0, 2.0, 3.0]), "{form:?}");
            let mut inside = 0;
            for at in 0..21 * 21 * 21 {
                let p: Point = [at % 21, at / 21 % 21, at / 441].map(|step| step as f64 - 9.0);
                if form.contains(p) {
                    inside += 1;
                    assert!((0..3).all(|axis| low[axis] <= p[axis] && p[axis] <= high[axis]), "{form:?} {p:?}");
                }
            }
            assert!(inside > 100, "{form:?} {inside}");
        }
    }
}
