//! Percentiles as `numpy.percentile` computes them.

/// Returns a percentile of `count` ≥ 1 values in ascending order, `percent` from 0 to 100, by linear interpolation.
/// `neighbors` returns the values at a position (from 0) and at the next one; at the last position, its value twice.
pub fn percentile(count: usize, percent: f64, neighbors: impl FnOnce(usize) -> (f64, f64)) -> f64 {
    let position = count.saturating_sub(1) as f64 * (percent / 100.0);
    let below = position.floor();
    let ((low, high), part) = (neighbors(below as usize), position - below);
    if part == 0.0 {
        low
    } else if part < 0.5 {
        low + (high - low) * part
    } else {
        high - (high - low) * (1.0 - part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_equal_numpy() {
        let of = |values: &[f64], percent| {
            percentile(values.len(), percent, |at| (values[at], values[(at + 1).min(values.len() - 1)]))
        };
        // [numpy.percentile([1, 2, 4, 8], q) for q in (0, 10, 50, 99.5, 100)]
        let expected = [(0.0, 1.0), (10.0, 1.3), (50.0, 3.0), (99.5, 7.94), (100.0, 8.0)];
        for (percent, value) in expected {
            assert!((of(&[1.0, 2.0, 4.0, 8.0], percent) - value).abs() < 1e-12, "{percent}");
        }
        assert_eq!(of(&[7.0], 13.0), 7.0);
        assert_eq!(of(&[1.0, f64::INFINITY], 0.0), 1.0);
    }
}
