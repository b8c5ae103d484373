//! Charts as SVG. The page's style sheet replaces the colors of text, axes and lines for light and dark screens.

use crate::err;
use crate::error::{Error, Result};
use plotters::prelude::*;

const SIZE: (u32, u32) = (460, 240);
/// Number of points drawn; of more, the smallest and largest of each group are.
const POINTS: usize = 600;

/// Returns a line chart of the points (step, value), in ascending order of steps, as an `svg` element. Values that are
/// not finite are left out.
pub fn curve(points: &[(i64, f64)]) -> Result<String> {
    let finite: Vec<(f64, f64)> =
        points.iter().filter(|(_, value)| value.is_finite()).map(|(step, value)| (*step as f64, *value)).collect();
    let (Some(first), Some(last)) = (finite.first(), finite.last()) else {
        return Ok(String::new());
    };
    let fold = |start: f64, pick: fn(f64, f64) -> f64| finite.iter().map(|(_, value)| *value).fold(start, pick);
    let (low, high) = (fold(f64::INFINITY, f64::min), fold(f64::NEG_INFINITY, f64::max));
    // A margin, also for a constant.
    let margin = if high > low { 0.04 * (high - low) } else { 0.5 * high.abs().max(1e-3) };
    let steps = if last.0 > first.0 { first.0..last.0 } else { first.0 - 0.5..first.0 + 0.5 };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(6)
            .x_label_area_size(26)
            .y_label_area_size(52)
            .build_cartesian_2d(steps, low - margin..high + margin)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(if last.0 > first.0 { 6 } else { 1 })
            .y_labels(5)
            .x_label_formatter(&|step| format!("{step:.0}"))
            .y_label_formatter(&|value| short(*value))
            .label_style(("sans-serif", 14))
            .draw()
            .map_err(failed)?;
        let line = thinned(&finite);
        if line.len() <= 60 {
            chart.draw_series(line.iter().map(|at| Circle::new(*at, 2, BLUE.filled()))).map_err(failed)?;
        }
        chart.draw_series(LineSeries::new(line, BLUE.stroke_width(2))).map_err(failed)?;
        area.present().map_err(failed)?;
    }
    // The element alone, with a size that follows the page's.
    let start = svg.find("<svg").ok_or_else(|| err!("cannot draw a chart"))?;
    let (width, height) = SIZE;
    let own = format!("width=\"{width}\" height=\"{height}\"");
    Ok(svg[start..].replacen(&own, "role=\"img\"", 1))
}

fn failed(error: impl std::fmt::Display) -> Error {
    err!("cannot draw a chart: {error}")
}

/// A number in a few characters: `0.012`, `5.60`, `1.2e-5`.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size != 0.0 && !(1e-3..1e5).contains(&size) => format!("{value:.1e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// At most about [`POINTS`] points that keep the extremes.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= POINTS {
        return points.to_vec();
    }
    let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    let mut kept = vec![];
    for group in points.chunks(points.len().div_ceil(POINTS / 2)) {
        let (Some(low), Some(high)) = (group.iter().min_by(by_value), group.iter().max_by(by_value)) else { continue };
        let (first, second) = if low.0 <= high.0 { (low, high) } else { (high, low) };
        kept.push(*first);
        if second.0 > first.0 {
            kept.push(*second);
        }
    }
    kept.extend(points.last().filter(|last| kept.last() != Some(last)));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_one_element_whatever_the_points_are() {
        let long: Vec<(i64, f64)> = (0..100_000).map(|step| (step, (step as f64).sin())).collect();
        for points in [&[(1, 0.5)][..], &[(1, 2.0), (2, 2.0)], &[(1, f64::NAN), (2, 1.0), (3, f64::INFINITY)], &long] {
            let svg = curve(points).unwrap();
            assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>") && svg.contains("viewBox"), "{svg}");
            assert!(svg.len() < 60_000, "{}", svg.len());
        }
        assert_eq!(curve(&[(1, f64::NAN)]).unwrap(), "");
    }

    #[test]
    fn thinning_keeps_extremes_and_order() {
        let mut points: Vec<(f64, f64)> = (0..50_000).map(|step| (f64::from(step), 0.0)).collect();
        points[31_234].1 = 9.0;
        points[31_300].1 = -9.0;
        let kept = thinned(&points);
        assert!(kept.len() <= 2 * POINTS && kept.contains(&points[31_234]) && kept.contains(&points[31_300]));
        assert!(kept.windows(2).all(|pair| pair[0].0 < pair[1].0) && kept.last() == points.last());
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [(0.0, "0.000"), (0.0123, "0.012"), (5.6, "5.60"), (-41.23, "-41.2"), (1.2e-5, "1.2e-5")] {
            assert_eq!(short(value), text);
        }
    }
}
