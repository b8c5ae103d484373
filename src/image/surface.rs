//! Surfaces of the classes of a label map, and distances between them.
//!
//! [`voxel_surfaces`] and [`cell_surfaces`] find the surfaces of all classes in one pass; [`distances`] measures from the
//! points of one surface to another. The three passes of the separable distance transform (Felzenszwalb and
//! Huttenlocher, 2012) run only over the columns, rows and points that the two surfaces occupy: nothing of the size of
//! the volume is allocated, and a stray voxel far away adds one column, not a larger box.

use crate::err;
use crate::error::Result;
use rayon::prelude::*;
use std::ops::Range;

/// Distance between two points of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DistanceMetric {
    /// √(x² + y² + z²), exact.
    Euclidean,
    /// max(|x|, |y|, |z|).
    Chessboard,
    /// |x| + |y| + |z|.
    Taxicab,
}

/// Surface of one class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Surface {
    /// Indices of the points in their grid, ascending; z varies fastest.
    pub points: Vec<u32>,
    /// Area at each point; one voxel face is 1. Empty for [`voxel_surfaces`].
    pub areas: Vec<f32>,
}

/// Voxels of each class in `classes` that share a face with another class or with the outside of the grid: the voxels
/// that an erosion with a 6-neighborhood removes. `labels`: `[X, Y, Z]`, z varies fastest; other values belong to no
/// class.
///
/// # Errors
/// The grid has more than 2³² voxels.
pub fn voxel_surfaces(labels: &[i16], shape: [usize; 3], classes: Range<i16>) -> Result<Vec<Surface>> {
    let [nx, ny, nz] = shape;
    collect(shape, classes.clone(), |x, add| {
        for y in 0..ny {
            let start = (x * ny + y) * nz;
            let row = &labels[start..start + nz];
            let neighbors = [
                (x > 0).then(|| start - ny * nz),
                (x + 1 < nx).then_some(start + ny * nz),
                (y > 0).then(|| start - nz),
                (y + 1 < ny).then_some(start + nz),
            ];
            let neighbors = neighbors.map(|at| at.map(|at| &labels[at..at + nz]));
            for (z, &label) in row.iter().enumerate() {
                let inside = |other: Option<&i16>| other == Some(&label);
                if classes.contains(&label)
                    && !(z > 0
                        && inside(row.get(z - 1))
                        && inside(row.get(z + 1))
                        && neighbors.iter().all(|row| inside(row.and_then(|row| row.get(z)))))
                {
                    add(label, start + z, None);
                }
            }
        }
    })
}

/// Surfaces between voxel centers, of subvoxel resolution: the cells of 2×2×2 voxels that a class fills in part, with
/// the area of the surface that marching cubes puts into the cell. Cells form a grid of one more point per axis than
/// `labels`; the outside belongs to no class.
///
/// # Errors
/// The grid has more than 2³² cells.
pub fn cell_surfaces(labels: &[i16], shape: [usize; 3], classes: Range<i16>) -> Result<Vec<Surface>> {
    let areas: Vec<f32> = (0..=u8::MAX).map(cell_area).collect();
    let grid = shape.map(|n| n + 1);
    let [_, ny, nz] = shape;
    let outside = vec![classes.start.wrapping_sub(1); nz];
    collect(grid, classes.clone(), |x, add| {
        for y in 0..grid[1] {
            let row = |x: usize, y: usize| match (x.checked_sub(1), y.checked_sub(1)) {
                (Some(x), Some(y)) if x < shape[0] && y < ny => &labels[(x * ny + y) * nz..][..nz],
                _ => &outside[..],
            };
            // Bit 4 of a corner's number is its x, bit 2 its y, bit 1 its z.
            let rows = [row(x, y), row(x, y + 1), row(x + 1, y), row(x + 1, y + 1)];
            let mut before = [outside[0]; 4];
            for z in 0..grid[2] {
                let here = rows.map(|row| *row.get(z).unwrap_or(&outside[0]));
                let previous = std::mem::replace(&mut before, here);
                if here == previous && here == [here[0]; 4] {
                    continue;
                }
                let corners: [i16; 8] = std::array::from_fn(|at| [previous, here][at % 2][at / 2]);
                for (first, &label) in corners.iter().enumerate() {
                    if classes.contains(&label) && !corners[..first].contains(&label) {
                        let bit = |(corner, other): (usize, &i16)| u8::from(*other == label) << corner;
                        let code: u8 = corners.iter().enumerate().map(bit).sum();
                        add(label, (x * grid[1] + y) * grid[2] + z, Some(areas[usize::from(code)]));
                    }
                }
            }
        }
    })
}

/// Calls `of_plane(x, add)` for each plane of a grid; `add(label, index, area)` adds a point to the surface of a class.
fn collect(
    grid: [usize; 3],
    classes: Range<i16>,
    of_plane: impl Fn(usize, &mut dyn FnMut(i16, usize, Option<f32>)) + Sync,
) -> Result<Vec<Surface>> {
    let points = grid.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    if points.is_none_or(|points| points as u64 > 1 << 32) {
        return Err(err!("surfaces of a grid of {grid:?} voxels are not supported, expected at most 2³² voxels"));
    }
    let empty = || vec![Surface::default(); classes.len()];
    let planes = (0..grid[0]).into_par_iter().fold(empty, |mut surfaces, x| {
        of_plane(x, &mut |label, index, area| {
            let surface = &mut surfaces[(label - classes.start) as usize];
            surface.points.push(index as u32);
            surface.areas.extend(area);
        });
        surfaces
    });
    Ok(planes.reduce(empty, |mut before, after| {
        for (before, after) in before.iter_mut().zip(after) {
            before.points.extend(after.points);
            before.areas.extend(after.areas);
        }
        before
    }))
}

/// Area of the surface in a cell whose corners in `code` are inside, for voxels of size 1. The surface cuts the edges
/// of the cell in the middle and separates the smaller set of corners, each group of adjacent corners by itself.
fn cell_area(code: u8) -> f32 {
    let adjacent = |set: u8| {
        let along_z = (set & 0x55) << 1 | (set & 0xaa) >> 1;
        let along_y = (set & 0x33) << 2 | (set & 0xcc) >> 2;
        along_z | along_y | set << 4 | set >> 4
    };
    let set = if code.count_ones() > 4 { !code } else { code };
    let (mut left, mut area) = (set, 0.0);
    while left != 0 {
        let mut group = 1 << left.trailing_zeros();
        while (group | adjacent(group)) & set != group {
            group = (group | adjacent(group)) & set;
        }
        left &= !group;
        let degrees = (0..8).filter(|corner| group >> corner & 1 == 1).map(|corner| adjacent(1 << corner) & group);
        let degree = degrees.map(u8::count_ones).collect::<Vec<_>>();
        // A triangle that cuts off one corner, and a rectangle along an edge.
        let (triangle, rectangle) = (3f64.sqrt() / 8.0, 0.5f64.sqrt());
        area += match (degree.len(), degree.iter().max()) {
            (1, _) => triangle,
            (2, _) => rectangle,
            (3, _) => 0.5 + 3.0 * triangle,
            (_, Some(3)) => 6.0 * triangle,
            _ if degree.iter().all(|&degree| degree == 2) => 1.0,
            _ => rectangle + 4.0 * triangle,
        };
    }
    area as f32
}

/// Distances from each point of `from` to the nearest point of `to`; infinite if `to` is empty. Points are ascending
/// indices in a grid of `shape`. `spacing`: size of a voxel along each axis, in the unit of the result; only
/// [`DistanceMetric::Euclidean`] takes it into account, the others count voxels.
pub fn distances(from: &[u32], to: &[u32], shape: [usize; 3], metric: DistanceMetric, spacing: [f64; 3]) -> Vec<f32> {
    if to.is_empty() {
        return vec![f32::INFINITY; from.len()];
    }
    let spacing = if metric == DistanceMetric::Euclidean { spacing } else { [1.0; 3] };
    let (plane, row) = (shape[1] * shape[2], shape[2]);
    let columns = Columns::new(to, plane as u32, row as u32, spacing);
    let planes: Vec<&[u32]> = from.chunk_by(|a, b| a / plane as u32 == b / plane as u32).collect();
    let of_plane = |points: &&[u32]| columns.distances(points, metric, spacing, plane as u32, row as u32);
    planes.par_iter().map(of_plane).collect::<Vec<_>>().concat()
}

/// The points of a surface: columns along x, grouped into rows along y.
struct Columns {
    /// Positions of the points along x in voxels, column by column.
    x: Vec<u32>,
    /// End of each column in `x`.
    ends: Vec<usize>,
    /// Position of each column along y, scaled by the spacing.
    y: Vec<f64>,
    /// End of each row in `y`.
    row_ends: Vec<usize>,
    /// Position of each row along z, scaled by the spacing.
    z: Vec<f64>,
}

impl Columns {
    fn new(points: &[u32], plane: u32, row: u32, spacing: [f64; 3]) -> Columns {
        let mut points: Vec<[u32; 3]> = points.iter().map(|p| [p % row, p % plane / row, p / plane]).collect();
        points.par_sort_unstable();
        let mut columns = Columns {
            x: points.iter().map(|point| point[2]).collect(),
            ends: vec![],
            y: vec![],
            row_ends: vec![],
            z: vec![],
        };
        for of_row in points.chunk_by(|a, b| a[0] == b[0]) {
            for column in of_row.chunk_by(|a, b| a[1] == b[1]) {
                columns.ends.push(columns.ends.last().unwrap_or(&0) + column.len());
                columns.y.push(f64::from(column[0][1]) * spacing[1]);
            }
            columns.row_ends.push(columns.y.len());
            columns.z.push(f64::from(of_row[0][0]) * spacing[2]);
        }
        columns
    }

    /// Distances from `points`, which have the same x, to the nearest point of the columns.
    fn distances(&self, points: &[u32], metric: DistanceMetric, spacing: [f64; 3], plane: u32, row: u32) -> Vec<f32> {
        let x = points[0] / plane;
        let rows: Vec<&[u32]> = points.chunk_by(|a, b| a / row == b / row).collect();
        let y: Vec<f64> = rows.iter().map(|points| f64::from(points[0] % plane / row) * spacing[1]).collect();
        let (mut heights, mut found, mut stack) = (vec![], vec![], vec![]);
        // Costs in the plane of `points`, by row of points and row of columns.
        let mut costs = vec![0.0; rows.len() * self.z.len()];
        let (mut start, mut first) = (0, 0);
        for (at, &end) in self.row_ends.iter().enumerate() {
            heights.clear();
            for &end in &self.ends[start..end] {
                let column = &self.x[first..end];
                let next = column.partition_point(|&other| other < x);
                let near = column[next.saturating_sub(1)..].iter().take(2).map(|other| other.abs_diff(x)).min();
                heights.push(metric.cost(f64::from(near.unwrap_or(u32::MAX)) * spacing[0]));
                first = end;
            }
            metric.minimum(&self.y[start..end], &heights, &y, &mut stack, &mut found);
            found.iter().enumerate().for_each(|(of_row, &cost)| costs[of_row * self.z.len() + at] = cost);
            start = end;
        }
        let mut out = Vec::with_capacity(points.len());
        for (points, costs) in rows.iter().zip(costs.chunks(self.z.len())) {
            heights.clear();
            heights.extend(points.iter().map(|point| f64::from(point % row) * spacing[2]));
            metric.minimum(&self.z, costs, &heights, &mut stack, &mut found);
            let distance = |&cost: &f64| if metric == DistanceMetric::Euclidean { cost.sqrt() } else { cost } as f32;
            out.extend(found.iter().map(distance));
        }
        out
    }
}

impl DistanceMetric {
    /// Cost of a distance along one axis.
    fn cost(self, distance: f64) -> f64 {
        if self == DistanceMetric::Euclidean { distance * distance } else { distance }
    }

    /// Sets `found` to the smallest combined cost of `heights[i]` and the distance to `positions[i]`, for each of
    /// `queries`. Positions and queries are ascending; `stack` is scratch space.
    fn minimum(
        self,
        positions: &[f64],
        heights: &[f64],
        queries: &[f64],
        stack: &mut Vec<(usize, f64)>,
        found: &mut Vec<f64>,
    ) {
        found.clear();
        match self {
            // The lower envelope of parabolas: which one is the lowest, and from where on.
            DistanceMetric::Euclidean => {
                stack.clear();
                for (at, (p, height)) in positions.iter().zip(heights).enumerate() {
                    let mut from = f64::NEG_INFINITY;
                    while let Some(&(other, other_from)) = stack.last() {
                        let q = positions[other];
                        from = ((height + p * p) - (heights[other] + q * q)) / (2.0 * (p - q));
                        if from > other_from {
                            break;
                        }
                        stack.pop();
                        from = f64::NEG_INFINITY;
                    }
                    stack.push((at, from));
                }
                let mut lowest = 0;
                for query in queries {
                    while stack.get(lowest + 1).is_some_and(|(_, from)| from < query) {
                        lowest += 1;
                    }
                    let at = stack[lowest].0;
                    let distance = query - positions[at];
                    found.push(heights[at] + distance * distance);
                }
            }
            // The lower envelope of cones: the nearest below and the nearest above.
            DistanceMetric::Taxicab => {
                let (mut next, mut best) = (0, f64::INFINITY);
                for query in queries {
                    while next < positions.len() && positions[next] <= *query {
                        best = best.min(heights[next] - positions[next]);
                        next += 1;
                    }
                    found.push(best + query);
                }
                (next, best) = (positions.len(), f64::INFINITY);
                for (query, found) in queries.iter().zip(found).rev() {
                    while next > 0 && positions[next - 1] >= *query {
                        next -= 1;
                        best = best.min(heights[next] + positions[next]);
                    }
                    *found = found.min(best - query);
                }
            }
            // Outward from the query, until the distance alone is larger.
            DistanceMetric::Chessboard => found.extend(queries.iter().map(|query| {
                let next = positions.partition_point(|position| position < query);
                let mut best = f64::INFINITY;
                for (position, height) in positions[next..].iter().zip(&heights[next..]) {
                    if position - query >= best {
                        break;
                    }
                    best = best.min(height.max(position - query));
                }
                for (position, height) in positions[..next].iter().zip(&heights[..next]).rev() {
                    if query - position >= best {
                        break;
                    }
                    best = best.min(height.max(query - position));
                }
                best
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLASSES: Range<i16> = 1..4;

    /// A small label map of classes 0 to 3, in blocks or as noise.
    fn label_map() -> impl Strategy<Value = ([usize; 3], Vec<i16>)> {
        let shape = [1usize..9, 1usize..9, 1usize..9];
        (shape, 1usize..5, prop::collection::vec(0i16..4, 512)).prop_map(|(shape, block, values)| {
            let [x, y, z] = shape;
            let at = |i: usize| values[(i / (y * z) / block * 64 + i / z % y / block * 8 + i % z / block) % 512];
            (shape, (0..x * y * z).map(at).collect())
        })
    }

    fn position(index: u32, shape: [usize; 3]) -> [f64; 3] {
        let (index, [_, y, z]) = (index as usize, shape);
        [index / (y * z), index / z % y, index % z].map(|n| n as f64)
    }

    proptest! {
        #[test]
        fn distances_equal_those_of_a_search_over_all_points(
            (shape, labels) in label_map(), seed in 0usize..3, spacing in prop::array::uniform3(0.3f64..4.0)
        ) {
            let metric = [DistanceMetric::Euclidean, DistanceMetric::Chessboard, DistanceMetric::Taxicab][seed];
            let surfaces = voxel_surfaces(&labels, shape, CLASSES).unwrap();
            for spacing in [[1.0; 3], spacing] {
                let of = |a: &u32, b: &u32| {
                    let (a, b) = (position(*a, shape), position(*b, shape));
                    let steps: [f64; 3] = std::array::from_fn(|axis| (a[axis] - b[axis]).abs());
                    match metric {
                        DistanceMetric::Euclidean => {
                            (0..3).map(|axis| (steps[axis] * spacing[axis]).powi(2)).sum::<f64>().sqrt()
                        }
                        DistanceMetric::Chessboard => steps[0].max(steps[1]).max(steps[2]),
                        DistanceMetric::Taxicab => steps.iter().sum(),
                    }
                };
                let (from, to) = (&surfaces[0].points, &surfaces[1].points);
                let found = distances(from, to, shape, metric, spacing);
                for (point, found) in from.iter().zip(&found) {
                    let expected = to.iter().map(|other| of(point, other)).fold(f64::INFINITY, f64::min) as f32;
                    // Whole numbers are exact; with a spacing the order of rounding differs.
                    let tolerance = if spacing == [1.0; 3] { 0.0 } else { 1e-6 * expected };
                    prop_assert!(*found == expected || (found - expected).abs() <= tolerance, "{found} {expected}");
                }
            }
        }

        #[test]
        fn surfaces_are_the_voxels_and_cells_with_another_label_beside_them((shape, labels) in label_map()) {
            let at = |p: [i64; 3]| {
                let inside = (0..3).all(|axis| p[axis] >= 0 && p[axis] < shape[axis] as i64);
                inside.then(|| labels[((p[0] * shape[1] as i64 + p[1]) * shape[2] as i64 + p[2]) as usize])
            };
            let (voxels, cells) =
                (voxel_surfaces(&labels, shape, CLASSES).unwrap(), cell_surfaces(&labels, shape, CLASSES).unwrap());
            for class in CLASSES {
                let surface = &voxels[(class - CLASSES.start) as usize];
                let is_surface = |index: &u32| {
                    let p = position(*index, shape).map(|n| n as i64);
                    let beside = (0..6).map(|side: usize| {
                        std::array::from_fn(|axis| p[axis] + i64::from(axis == side / 2) * (side as i64 % 2 * 2 - 1))
                    });
                    at(p) == Some(class) && beside.into_iter().any(|p| at(p) != Some(class))
                };
                let expected: Vec<u32> = (0..labels.len() as u32).filter(is_surface).collect();
                prop_assert_eq!(&surface.points, &expected);

                let grid = shape.map(|n| n + 1);
                let is_cut = |index: &u32| {
                    let p = position(*index, grid).map(|n| n as i64);
                    let inside = (0..8).filter(|corner: &i64| {
                        at([p[0] - corner / 4, p[1] - corner / 2 % 2, p[2] - corner % 2]) == Some(class)
                    });
                    (1..8).contains(&inside.count())
                };
                let expected: Vec<u32> = (0..grid.iter().product::<usize>() as u32).filter(is_cut).collect();
                let surface = &cells[(class - CLASSES.start) as usize];
                prop_assert_eq!(&surface.points, &expected);
                prop_assert!(surface.areas.len() == expected.len() && surface.areas.iter().all(|&area| area > 0.2));
            }
        }
    }

    #[test]
    fn a_distance_to_nothing_is_infinite() {
        assert_eq!(distances(&[3, 4], &[], [2, 2, 2], DistanceMetric::Taxicab, [1.0; 3]), [f32::INFINITY; 2]);
    }
}
