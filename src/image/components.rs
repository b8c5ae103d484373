//! Connected components of label maps, of all labels in one pass.
//!
//! [`Components::new`] joins runs of equal labels along Z in a union-find forest, planes in parallel: memory grows with
//! the number of runs, not of voxels or labels. [`Components::rewrite`] gives whole components another value;
//! [`Components::enclosed`] finds the components that a label surrounds.
//!
//! The crates that label components handle one label at a time and allocate an index per voxel (ndarray-ndimage), or two
//! dimensions (imageproc).

use crate::error::Result;
use crate::{Element, err};
use rayon::prelude::*;
use std::collections::HashMap;

/// Asks whether so many more bytes may be allocated; its error, also that of an interrupt, ends the computation.
pub type Reserve<'a> = &'a (dyn Fn(u64) -> Result<()> + Sync);

/// Identifies the voxels that may be joined: equal classes. `None` is background.
pub type Class = Option<u64>;

/// The class of the voxels of one label: that of another label is different. NaN is background.
pub fn class_of(label: f64) -> Class {
    // -0 and 0 are the same label.
    (!label.is_nan()).then_some((label + 0.0).to_bits())
}

/// A map `[C,X,Y,Z]` in C order, and which of its voxels are neighbors.
#[derive(Debug, Clone, Copy)]
pub struct Neighborhood {
    /// Size `[C,X,Y,Z]`. Channels are neighbors like slices: components of one channel need C = 1.
    pub shape: [usize; 4],
    /// Number of axes along which neighbors may differ by 1: in 3-D, 1 joins the 6 voxels with a common face, 2 also
    /// the 12 with a common edge, 3 also the 8 with a common corner.
    pub connectivity: usize,
}

/// Connected components, in the order of their first voxel.
pub struct Components {
    /// The components.
    pub list: Vec<Component>,
    of: Neighborhood,
    /// Number of the first run of each line along Z, and the number of all runs.
    first_run: Vec<u32>,
    /// By run: the run of lower number that it was joined with; or `ROOT` and the index of its component, while runs are
    /// joined its number of voxels.
    links: Vec<u32>,
}

/// A connected component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// Class of its voxels.
    pub class: u64,
    /// Number of voxels.
    pub voxels: u32,
}

/// Marks a run that was not joined with one before it.
const ROOT: u32 = 1 << 31;

/// Consecutive voxels of a line with the same class.
#[derive(Clone, Copy)]
struct Run {
    number: u32,
    start: usize,
    end: usize,
    class: u64,
}

/// Indices of two components that have neighboring voxels, the lower one first.
type Pair = (u32, u32);

/// A line after which a neighboring one follows.
struct Offset {
    /// Steps along C, X, Y.
    steps: [isize; 3],
    /// Difference of the lines' numbers.
    lines: usize,
    /// 1 if voxels that differ by 1 along Z as well are neighbors, else 0.
    reach: usize,
}

impl Neighborhood {
    fn lines(&self) -> usize {
        self.shape[..3].iter().product()
    }
    /// Offsets to the neighboring lines that follow a line.
    fn offsets(&self) -> Vec<Offset> {
        let [_, nx, ny, _] = self.shape.map(|n| n as isize);
        let steps = (0..27).map(|at| [at / 9 - 1, at / 3 % 3 - 1, at % 3 - 1]);
        let later = steps.filter(|steps| *steps > [0; 3]);
        let offset = |steps: [isize; 3]| {
            let axes = steps.iter().filter(|step| **step != 0).count();
            let lines = usize::try_from((steps[0] * nx + steps[1]) * ny + steps[2]).ok()?;
            (axes <= self.connectivity).then(|| Offset { steps, lines, reach: usize::from(axes < self.connectivity) })
        };
        later.filter_map(offset).collect()
    }
    /// The line before `line` by `offset`.
    fn before(&self, line: usize, offset: &Offset) -> Option<usize> {
        let [_, nx, ny, _] = self.shape;
        let at = [line / ny / nx, line / ny % nx, line % ny];
        let inside =
            |axis: usize| at[axis].checked_add_signed(-offset.steps[axis]).is_some_and(|n| n < self.shape[axis]);
        (0..3).all(inside).then(|| line.saturating_sub(offset.lines))
    }
    /// Whether the voxels of a run are on the border of the map along its first `dims` axes X, Y, Z.
    fn on_border(&self, line: usize, run: &Run, dims: usize) -> bool {
        let [_, nx, ny, nz] = self.shape;
        let ends = |at: usize, n: usize| at == 0 || at + 1 == n;
        (dims > 0 && ends(line / ny % nx, nx))
            || (dims > 1 && ends(line % ny, ny))
            || (dims > 2 && (run.start == 0 || run.end == nz))
    }
}

/// Index after the last of the values equal to `line[start]` that follow it.
fn end_of_equal<T: Copy + PartialEq>(line: &[T], start: usize) -> usize {
    let mut end = start + 1;
    // Blocks without a branch per voxel: most runs of a background are long.
    while let Some(block) = line.get(end..end + 16) {
        if !block.iter().fold(true, |equal, value| equal & (*value == line[start])) {
            break;
        }
        end += 16;
    }
    while line.get(end) == Some(&line[start]) {
        end += 1;
    }
    end
}

/// Appends the runs of a line; their numbers count from `number`.
fn runs<T: Element>(line: &[T], number: u32, class: &(impl Fn(T) -> Class + Sync), into: &mut Vec<Run>) {
    into.clear();
    let mut at = 0;
    while at < line.len() {
        let (start, end) = (at, end_of_equal(line, at));
        at = end;
        let Some(class) = class(line[start]) else { continue };
        match into.last_mut() {
            // Different values of one class.
            Some(last) if last.end == start && last.class == class => last.end = end,
            _ => into.push(Run { number: number + into.len() as u32, start, end, class }),
        }
    }
}

/// Calls `visit` for each pair of runs of two neighboring lines that have neighboring voxels.
fn touching(a: &[Run], b: &[Run], reach: usize, mut visit: impl FnMut(&Run, &Run)) {
    let touch = |p: &Run, q: &Run| p.start < q.end + reach && q.start < p.end + reach;
    let (mut i, mut j) = (0, 0);
    while let (Some(p), Some(q)) = (a.get(i), b.get(j)) {
        if touch(p, q) {
            visit(p, q);
        }
        if p.end == q.end
            && let Some(next) = b.get(j + 1)
            && touch(p, next)
        {
            visit(p, next);
        }
        if p.end <= q.end { i += 1 } else { j += 1 }
    }
}

/// The links of consecutive runs, the first of which has the number `first`.
struct Forest<'a> {
    links: &'a mut [u32],
    first: u32,
}

impl Forest<'_> {
    fn link(&mut self, run: u32) -> &mut u32 {
        &mut self.links[(run - self.first) as usize]
    }
    fn root(&mut self, mut run: u32) -> u32 {
        loop {
            let up = *self.link(run);
            if up & ROOT != 0 {
                return run;
            }
            let above = *self.link(up);
            if above & ROOT == 0 {
                *self.link(run) = above;
            }
            run = up;
        }
    }
    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            let (low, high) = (a.min(b), a.max(b));
            *self.link(low) += *self.link(high) & !ROOT;
            *self.link(high) = low;
        }
    }
}

impl Components {
    /// Finds the components of voxels with the same class in `values`, which has as many voxels as the shape of `of`.
    ///
    /// # Errors
    /// More than 2³¹ voxels, or `reserve` refuses the memory: 4 bytes per run and 16 per component.
    pub fn new<T: Element>(
        values: &[T],
        of: Neighborhood,
        class: impl Fn(T) -> Class + Sync,
        reserve: Reserve,
    ) -> Result<Components> {
        let nz = of.shape[3];
        if values.len() as u64 >= u64::from(ROOT) {
            return Err(err!("expected fewer than 2³¹ voxels for connected components, found a map of {:?}", of.shape));
        }
        let line = |at: usize| &values[at * nz..][..nz];
        let lines = of.lines();
        reserve(4 * lines as u64)?;
        let mut first_run = vec![0u32; lines + 1];
        first_run[1..].par_iter_mut().enumerate().for_each_init(Vec::new, |buffer, (at, count)| {
            runs(line(at), 0, &class, buffer);
            *count = buffer.len() as u32;
        });
        for at in 0..lines {
            first_run[at + 1] += first_run[at];
        }
        let count = first_run[lines] as usize;
        reserve(4 * (lines + count) as u64)?;
        let mut links = vec![0u32; count];
        // Each task joins the runs of consecutive planes.
        let plane = of.shape[2].max(1);
        let per_task = lines.div_ceil(plane).div_ceil(4 * rayon::current_num_threads()).max(1) * plane;
        let starts: Vec<usize> = (0..lines).step_by(per_task).collect();
        let mut rest = links.as_mut_slice();
        let tasks: Vec<(usize, &mut [u32])> = starts
            .iter()
            .map(|&start| {
                let end = (start + per_task).min(lines);
                let (own, after) = std::mem::take(&mut rest).split_at_mut((first_run[end] - first_run[start]) as usize);
                rest = after;
                (start, own)
            })
            .collect();
        let offsets = of.offsets();
        let runs_of = |at: usize, out: &mut Vec<Run>| runs(line(at), first_run[at], &class, out);
        // Joins the runs of line `at`, `own`, with those of the line before it by `offset`.
        let join = |forest: &mut Forest, at: usize, own: &[Run], offset: &Offset, other: &mut Vec<Run>| {
            let Some(before) = of.before(at, offset).filter(|_| !own.is_empty()) else { return };
            runs_of(before, other);
            touching(own, other, offset.reach, |p, q| {
                if p.class == q.class {
                    forest.join(p.number, q.number);
                }
            });
        };
        tasks.into_par_iter().for_each(|(start, links)| {
            let mut forest = Forest { links, first: first_run[start] };
            let (mut own, mut other) = (vec![], vec![]);
            for at in start..(start + per_task).min(lines) {
                runs_of(at, &mut own);
                for run in &own {
                    *forest.link(run.number) = ROOT | (run.end - run.start) as u32;
                }
                for offset in offsets.iter().filter(|offset| at >= start + offset.lines) {
                    join(&mut forest, at, &own, offset, &mut other);
                }
            }
        });
        // Between tasks.
        let mut forest = Forest { links: &mut links, first: 0 };
        let (mut own, mut other) = (vec![], vec![]);
        for &start in &starts {
            for offset in &offsets {
                for at in start..(start + per_task.min(offset.lines)).min(lines) {
                    runs_of(at, &mut own);
                    join(&mut forest, at, &own, offset, &mut other);
                }
            }
        }
        let mut components = Components { list: vec![], of, first_run, links };
        components.number(values, class, reserve)?;
        Ok(components)
    }

    /// Links every run with its root, and numbers the components.
    fn number<T: Element>(&mut self, values: &[T], class: impl Fn(T) -> Class + Sync, reserve: Reserve) -> Result<()> {
        let roots = self.links.par_iter().filter(|link| **link & ROOT != 0).count();
        reserve(4 * (self.first_run.len() + self.links.len()) as u64 + 16 * roots as u64)?;
        let (links, first_run, nz) = (&self.links, &self.first_run, self.of.shape[3]);
        let of_line = |buffer: &mut Vec<Run>, at: usize| {
            runs(&values[at * nz..][..nz], first_run[at], &class, buffer);
            let roots = buffer.iter().filter_map(|run| match links[run.number as usize] {
                link if link & ROOT != 0 => Some(Component { class: run.class, voxels: link & !ROOT }),
                _ => None,
            });
            roots.collect::<Vec<_>>()
        };
        self.list = (0..self.of.lines()).into_par_iter().map_init(Vec::new, of_line).flatten_iter().collect();
        let mut next = 0;
        for at in 0..self.links.len() {
            let link = self.links[at];
            if link & ROOT != 0 {
                self.links[at] = ROOT | next;
                next += 1;
            } else if self.links[link as usize] & ROOT == 0 {
                // Runs with lower numbers are linked with their roots already.
                self.links[at] = self.links[link as usize];
            }
        }
        Ok(())
    }

    /// Index in `list` of the component of a run.
    fn of_run(&self, run: &Run) -> usize {
        let link = self.links[run.number as usize];
        let root = if link & ROOT != 0 { link } else { self.links[link as usize] };
        (root & !ROOT) as usize
    }

    /// Calls `visit` with the runs of each line of the map that was given to [`Components::new`], in parallel.
    fn each_line<T: Element>(
        &self,
        values: &mut [T],
        class: impl Fn(T) -> Class + Sync,
        visit: impl Fn(&mut [T], &[Run]) + Sync,
    ) {
        let lines = values.par_chunks_mut(self.of.shape[3].max(1)).with_min_len(64).enumerate();
        lines.for_each_init(Vec::new, |buffer, (at, line)| {
            runs(line, self.first_run[at], &class, buffer);
            visit(line, buffer);
        });
    }

    /// Replaces the voxels of each component by `replacement(index in list)`, if it returns one. `values` and `class`
    /// are those of [`Components::new`].
    pub fn rewrite<T: Element>(
        &self,
        values: &mut [T],
        class: impl Fn(T) -> Class + Sync,
        replacement: impl Fn(usize) -> Option<T> + Sync,
    ) {
        self.each_line(values, class, |line, runs| {
            for run in runs {
                if let Some(value) = replacement(self.of_run(run)) {
                    line[run.start..run.end].fill(value);
                }
            }
        });
    }

    /// For each class, the `most` components with most voxels. Of equal ones those with the later first voxel are
    /// taken.
    pub fn largest(&self, most: usize) -> Vec<bool> {
        let mut order: Vec<u32> = (0..self.list.len() as u32).collect();
        let key = |at: u32| {
            let Component { class, voxels } = self.list[at as usize];
            (class, std::cmp::Reverse((voxels, at)))
        };
        order.par_sort_unstable_by_key(|&at| key(at));
        let (mut kept, mut of_class) = (vec![false; self.list.len()], (None, 0));
        for at in order {
            let class = Some(self.list[at as usize].class);
            of_class = if of_class.0 == class { (class, of_class.1 + 1) } else { (class, 1) };
            kept[at as usize] = of_class.1 <= most;
        }
        kept
    }

    /// The classes of the components after the holes of each of `classes`, in this order, are filled: a hole is what no
    /// path of neighbors outside of the class connects with the border of the map along its first `dims` axes. Other
    /// classes within a hole are filled, too. Every voxel must have a class.
    ///
    /// # Errors
    /// `reserve` refuses the memory: at most 32 bytes per pair of neighboring components.
    pub fn enclosed<T: Element>(
        &self,
        values: &[T],
        class: impl Fn(T) -> Class + Sync,
        classes: &[u64],
        dims: usize,
        reserve: Reserve,
    ) -> Result<Vec<u64>> {
        let (open, pairs) = self.adjacency(values, class, dims, reserve)?;
        reserve(32 * pairs.len() as u64)?;
        // Neighbors of each component, one after the other.
        let mut first = vec![0usize; self.list.len() + 1];
        for (a, b) in &pairs {
            first[*a as usize + 1] += 1;
            first[*b as usize + 1] += 1;
        }
        for at in 0..self.list.len() {
            first[at + 1] += first[at];
        }
        let (mut next, mut neighbors) = (first.clone(), vec![0u32; 2 * pairs.len()]);
        for (a, b) in pairs {
            for (from, to) in [(a, b), (b, a)] {
                neighbors[next[from as usize]] = to;
                next[from as usize] += 1;
            }
        }
        let neighbors_of = |at: u32| &neighbors[first[at as usize]..first[at as usize + 1]];
        let mut members: HashMap<u64, Vec<u32>> = classes.iter().map(|class| (*class, vec![])).collect();
        for (at, component) in self.list.iter().enumerate() {
            if let Some(members) = members.get_mut(&component.class) {
                members.push(at as u32);
            }
        }
        let mut now: Vec<u64> = self.list.iter().map(|component| component.class).collect();
        // The round in which a component was found to be connected with the border.
        let mut outside = vec![0u32; self.list.len()];
        let mut reached = vec![0u32; self.list.len()];
        for (round, class) in (1u32..).zip(classes) {
            reserve(0)?;
            // Those that an earlier class enclosed are part of it now.
            let starts: Vec<u32> =
                members.get(class).into_iter().flatten().copied().filter(|at| now[*at as usize] == *class).collect();
            for start in starts.into_iter().flat_map(neighbors_of) {
                if now[*start as usize] == *class || reached[*start as usize] == round {
                    continue;
                }
                reached[*start as usize] = round;
                let (mut found, mut at) = (vec![*start], 0);
                let mut is_open = open[*start as usize];
                while let (Some(&component), false) = (found.get(at), is_open) {
                    at += 1;
                    for &neighbor in neighbors_of(component) {
                        if now[neighbor as usize] == *class {
                            continue;
                        }
                        if open[neighbor as usize] || outside[neighbor as usize] == round {
                            is_open = true;
                            break;
                        }
                        if reached[neighbor as usize] != round {
                            reached[neighbor as usize] = round;
                            found.push(neighbor);
                        }
                    }
                }
                for component in found {
                    if is_open {
                        outside[component as usize] = round;
                    } else {
                        now[component as usize] = *class;
                    }
                }
            }
        }
        Ok(now)
    }

    /// Whether each component is on the border of the map along its first `dims` axes, and the pairs of components that
    /// have neighboring voxels.
    fn adjacency<T: Element>(
        &self,
        values: &[T],
        class: impl Fn(T) -> Class + Sync,
        dims: usize,
        reserve: Reserve,
    ) -> Result<(Vec<bool>, Vec<Pair>)> {
        let (nz, lines, offsets) = (self.of.shape[3], self.of.lines(), self.of.offsets());
        let per_task = lines.div_ceil(4 * rayon::current_num_threads()).max(1);
        let starts: Vec<usize> = (0..lines).step_by(per_task).collect();
        let of_task = |&start: &usize| -> Result<(Vec<u32>, Vec<Pair>)> {
            let (mut open, mut pairs, mut limit) = (vec![], vec![], 1 << 16);
            let (mut own, mut other) = (vec![], vec![]);
            for at in start..(start + per_task).min(lines) {
                runs(&values[at * nz..][..nz], self.first_run[at], &class, &mut own);
                let mut add = |p: &Run, q: &Run| {
                    if p.class != q.class {
                        let (a, b) = (self.of_run(p) as u32, self.of_run(q) as u32);
                        pairs.push((a.min(b), a.max(b)));
                    }
                };
                own.windows(2).for_each(|two| add(&two[0], &two[1]));
                for offset in &offsets {
                    let Some(before) = self.of.before(at, offset) else { continue };
                    runs(&values[before * nz..][..nz], self.first_run[before], &class, &mut other);
                    touching(&own, &other, offset.reach, &mut add);
                }
                open.extend(
                    own.iter().filter(|run| self.of.on_border(at, run, dims)).map(|run| self.of_run(run) as u32),
                );
                if pairs.len() + open.len() > limit {
                    sorted(&mut pairs);
                    sorted(&mut open);
                    limit = 2 * (pairs.len() + open.len()).max(1 << 15);
                    reserve(16 * limit as u64)?;
                }
            }
            sorted(&mut pairs);
            Ok((open, pairs))
        };
        let tasks = starts.par_iter().map(of_task).collect::<Result<Vec<_>>>()?;
        reserve(16 * tasks.iter().map(|(_, pairs)| pairs.len() as u64).sum::<u64>())?;
        let (mut open, mut all) = (vec![false; self.list.len()], vec![]);
        for (on_border, pairs) in tasks {
            on_border.into_iter().for_each(|at| open[at as usize] = true);
            all.extend(pairs);
        }
        sorted(&mut all);
        Ok((open, all))
    }
}

/// Sorts and removes duplicates.
fn sorted<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNLIMITED: Reserve = &|_| Ok(());

    fn class(label: u8) -> Class {
        (label != 0).then_some(u64::from(label))
    }

    /// Indices of a voxel's neighbors.
    fn neighbors(of: Neighborhood, voxel: usize) -> Vec<usize> {
        let [_, nx, ny, nz] = of.shape;
        let at = [voxel / nz / ny / nx, voxel / nz / ny % nx, voxel / nz % ny, voxel % nz].map(|n| n as isize);
        let steps = (0..81).map(|step| [step / 27 - 1, step / 9 % 3 - 1, step / 3 % 3 - 1, step % 3 - 1]);
        let steps = steps.filter(|step: &[isize; 4]| {
            (1..=of.connectivity).contains(&step.iter().filter(|step| **step != 0).count())
        });
        let moved = steps.map(|step| [0, 1, 2, 3].map(|axis| at[axis] + step[axis]));
        let inside = moved.filter(|at| (0..4).all(|axis| (0..of.shape[axis] as isize).contains(&at[axis])));
        inside.map(|[c, x, y, z]| (((c as usize * nx + x as usize) * ny) + y as usize) * nz + z as usize).collect()
    }

    /// All voxels that are connected with `start` by voxels that `joins` accepts, one voxel after the other.
    fn flood(of: Neighborhood, start: &[usize], joins: impl Fn(usize) -> bool) -> Vec<usize> {
        let (mut found, mut at) = (start.to_vec(), 0);
        while at < found.len() {
            for next in neighbors(of, found[at]) {
                if joins(next) && !found.contains(&next) {
                    found.push(next);
                }
            }
            at += 1;
        }
        found
    }

    /// Number of the component of each voxel, by the order of their first voxels.
    fn numbered(map: &[u8], of: Neighborhood) -> (Vec<Option<usize>>, Vec<u32>) {
        let (mut numbers, mut sizes) = (vec![None; map.len()], vec![]);
        for start in 0..map.len() {
            if map[start] != 0 && numbers[start].is_none() {
                let all = flood(of, &[start], |next| map[next] == map[start]);
                all.iter().for_each(|at| numbers[*at] = Some(sizes.len()));
                sizes.push(all.len() as u32);
            }
        }
        (numbers, sizes)
    }

    fn maps(channels: usize) -> impl Strategy<Value = (Vec<u8>, Neighborhood)> {
        (1..=channels, 1usize..6, 1usize..6, 1usize..22, 1usize..=4, 1u8..4).prop_flat_map(
            |(c, x, y, z, connectivity, labels)| {
                let of = Neighborhood { shape: [c, x, y, z], connectivity };
                (proptest::collection::vec(0..=labels, c * x * y * z), Just(of))
            },
        )
    }

    proptest! {
        #[test]
        fn components_are_those_of_a_flood_fill((map, of) in maps(3)) {
            let components = Components::new(&map, of, class, UNLIMITED).unwrap();
            let (numbers, sizes) = numbered(&map, of);
            let found: Vec<u32> = components.list.iter().map(|component| component.voxels).collect();
            prop_assert_eq!(&found, &sizes);
            for (number, component) in components.list.iter().enumerate() {
                let first = numbers.iter().position(|n| *n == Some(number)).unwrap();
                prop_assert_eq!(component.class, u64::from(map[first]));
            }
            let mut written: Vec<u32> = map.iter().map(|label| u32::from(*label)).collect();
            let wide = |label: u32| class(label as u8);
            components.rewrite(&mut written, wide, |number| Some(100 + number as u32));
            let expected: Vec<u32> = numbers.iter().map(|number| number.map_or(0, |number| 100 + number as u32)).collect();
            prop_assert_eq!(written, expected);
        }

        #[test]
        fn classes_of_several_labels_are_joined((map, of) in maps(1)) {
            let any = |label: u8| (label != 0).then_some(7);
            let components = Components::new(&map, of, any, UNLIMITED).unwrap();
            let binary: Vec<u8> = map.iter().map(|label| u8::from(*label != 0)).collect();
            let found: Vec<u32> = components.list.iter().map(|component| component.voxels).collect();
            prop_assert_eq!(found, numbered(&binary, of).1);
        }

        #[test]
        fn enclosed_voxels_are_those_that_no_flood_from_the_border_reaches((map, of) in maps(1), dims in 1usize..=3) {
            let [_, nx, ny, nz] = of.shape;
            let on_border = |voxel: usize| {
                let at = [voxel / nz / ny, voxel / nz % ny, voxel % nz];
                (0..dims).any(|axis| at[axis] == 0 || at[axis] + 1 == [nx, ny, nz][axis])
            };
            let mut expected = map.clone();
            for label in 1..4 {
                let border: Vec<usize> = (0..map.len()).filter(|at| on_border(*at) && expected[*at] != label).collect();
                let open = flood(of, &border, |next| expected[next] != label);
                for (at, value) in expected.iter_mut().enumerate() {
                    if !open.contains(&at) {
                        *value = label;
                    }
                }
            }
            let all = |label: u8| Some(u64::from(label));
            let components = Components::new(&map, of, all, UNLIMITED).unwrap();
            let after = components.enclosed(&map, all, &[1, 2, 3], dims, UNLIMITED).unwrap();
            let mut filled = map.clone();
            components.rewrite(&mut filled, all, |at| Some(after[at] as u8));
            prop_assert_eq!(filled, expected);
        }
    }

    #[test]
    fn the_largest_are_chosen_by_class_and_the_last_of_equal_ones() {
        let map = [1u8, 1, 0, 2, 0, 1, 1, 0, 2, 2, 0, 1];
        let of = Neighborhood { shape: [1, 1, 1, map.len()], connectivity: 1 };
        let components = Components::new(&map, of, class, UNLIMITED).unwrap();
        let sizes: Vec<u32> = components.list.iter().map(|component| component.voxels).collect();
        assert_eq!(sizes, [2, 1, 2, 2, 1]);
        assert_eq!(components.largest(1), [false, false, true, true, false]);
        assert_eq!(components.largest(2), [true, true, true, true, false]);
    }

    #[test]
    fn memory_is_asked_for_before_it_is_allocated() {
        // 500 runs of one voxel, which form 50 components.
        let map: Vec<u8> = (0..1000).map(|at| (at % 2) as u8).collect();
        let of = Neighborhood { shape: [1, 1, 10, 100], connectivity: 1 };
        let limit = |limit: u64| {
            Components::new(&map, of, class, &move |bytes| match bytes <= limit {
                true => Ok(()),
                false => Err(err!("too much")),
            })
        };
        let needed = 4 * (10 + 500 + 1) + 16 * 50;
        assert!(limit(needed).is_ok());
        assert!(limit(needed - 8).is_err());
        assert!(limit(1000).is_err());
    }
}
