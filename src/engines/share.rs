//! Division of the cases of a run into parts (`--part`): a pure function of the files' sizes, so that processes that do
//! not know of each other agree on it.

use super::cases::Case;
use crate::formats::reader;
use crate::run::Part;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Size of the input files of a case; missing files count 0.
pub fn input_bytes(case: &Case) -> u64 {
    let files = case.inputs.iter().filter_map(|path| reader::files(path).ok()).flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Numbers of the cases in `part`, in order. `bytes`: size of each case.
///
/// The largest case that is left goes to the part with the fewest bytes so far; equally large cases go in order, and
/// parts with as many bytes are told apart by their number of cases, then by their index. Two parts differ by
/// at most the largest case.
pub fn of_part(bytes: &[u64], part: Part) -> Vec<usize> {
    let mut order: Vec<usize> = (0..bytes.len()).collect();
    order.sort_by_key(|&case| Reverse(bytes[case]));
    let mut parts: BinaryHeap<_> = (0..part.of).map(|index| Reverse((0u64, 0usize, index))).collect();
    let mut share = vec![];
    for case in order {
        let Some(mut lightest) = parts.peek_mut() else { break };
        let Reverse((total, count, index)) = &mut *lightest;
        *total = total.saturating_add(bytes[case]);
        *count += 1;
        if *index == part.index {
            share.push(case);
        }
    }
    share.sort_unstable();
    share
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_case_is_in_exactly_one_part_and_parts_are_balanced(
            bytes in prop::collection::vec(prop_oneof![Just(0u64), 0..1000u64, any::<u64>().prop_map(|n| n >> 8)], 0..80),
            of in 1..12usize,
        ) {
            let parts: Vec<Vec<usize>> = (0..of).map(|index| of_part(&bytes, Part { index, of })).collect();
            let mut all: Vec<usize> = parts.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..bytes.len()).collect::<Vec<_>>());
            let total = |part: &Vec<usize>| part.iter().map(|&case| bytes[case]).sum::<u64>();
            let largest = bytes.iter().copied().max().unwrap_or(0);
            let (most, fewest) = (parts.iter().map(total).max().unwrap(), parts.iter().map(total).min().unwrap());
            prop_assert!(most - fewest <= largest);
        }
    }

    #[test]
    fn the_division_stays_the_same_in_all_versions() {
        let parts = |bytes: &[u64]| (0..3).map(|index| of_part(bytes, Part { index, of: 3 })).collect::<Vec<_>>();
        assert_eq!(parts(&[5, 9, 5, 1, 1, 7]), [vec![1], vec![3, 4, 5], vec![0, 2]]);
        // Missing files, and files of equal size, are dealt in turn.
        assert_eq!(parts(&[0; 7]), [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
        assert_eq!(parts(&[4; 4]), [vec![0, 3], vec![1], vec![2]]);
    }
}
