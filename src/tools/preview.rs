//! Preview image of a case: one slice along each axis, gray values of a CT window with a label overlay, and a legend.
//!
//! Slices follow the radiological convention: the patient's right on the left of the image, anterior or superior up.

use super::font::Font;
use super::statistics::same_grid;
use super::structures::{Structure, Structures};
use crate::error::Result;
use crate::formats::atomic;
use crate::formats::digest::Digest;
use crate::image::{Element, Orientation, Volume};
use crate::{bail, each_voxels, err};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Display options of a preview.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Values shown as black and as white, in the image's unit (HU for a CT).
    pub window: [f64; 2],
    /// Opacity of the label colors over the gray values, from 0 to 1; outlines are always opaque.
    pub opacity: f64,
    /// Height of the tallest slice in pixels.
    pub height_px: usize,
}

impl Default for Options {
    /// A soft-tissue window (−160 to 240 HU).
    fn default() -> Self {
        Options { window: [-160.0, 240.0], opacity: 0.4, height_px: 480 }
    }
}

const MARGIN: usize = 8;
const GRAY: [u8; 3] = [210; 3];
/// Columns of the legend; further structures are counted.
const MAX_COLUMNS: usize = 3;
/// Longest name in a legend, in multiples of the height of a line.
const MAX_NAME_LINES: usize = 20;

/// An RGB image.
pub struct Picture {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Pixels in row-major order from the top left.
    pub pixels: Vec<[u8; 3]>,
}

/// Draws `labels` over `image`, both `[1,X,Y,Z]` on the same grid. Along each axis, the slice with the most structures
/// is shown.
pub fn preview(
    labels: &Volume,
    image: &Volume,
    structures: &Structures,
    title: &str,
    options: Options,
) -> Result<Picture> {
    if labels.layout.channels() != 1 {
        bail!("expected a label map of one channel, found {} channels", labels.layout.channels());
    }
    same_grid(labels, image)?;
    // Reorient to the nearest world axes (RAS).
    let labels = labels.clone().turned_to(&Orientation::RAS)?;
    let image = image.clone().turned_to(&Orientation::RAS)?;
    let shape = labels.layout.spatial();
    let spacing = labels.affine.spacing_mm();
    let extent: [f64; 3] = std::array::from_fn(|axis| shape[axis] as f64 * spacing[axis]);
    let at = best_slices(&labels);
    // Axial: R to L, A to P; coronal: R to L, S to I; sagittal: A to P, S to I. World axes across and down.
    let planes = [("axial", 2, 0, 1), ("coronal", 1, 0, 2), ("sagittal", 0, 1, 2)];
    let tallest = planes.iter().map(|plane| extent[plane.3]).fold(0.0, f64::max);
    let widest: f64 = planes.iter().map(|plane| extent[plane.2]).sum();
    if !(tallest > 0.0 && widest.is_finite()) {
        bail!("expected an image with a positive extent, found {extent:?} mm");
    }
    // Limit the width: long, thin images are drawn smaller.
    let scale = (options.height_px as f64 / tallest).min(4.0 * options.height_px as f64 / widest); // pixels per mm
    let size = |mm: f64| ((mm * scale).round() as usize).max(1);
    // Pixels per em: 14 at the default height.
    let font = Font::new((options.height_px as f32 / 34.0).clamp(13.0, 28.0))?;
    let line = font.line_height();

    let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
    let caption = |name: &str, fixed: usize| format!("{name} {}", at[fixed] + 1);
    let columns = planes.map(|(name, fixed, across, _)| size(extent[across]).max(font.width(&caption(name, fixed))));
    let mut picture =
        Picture::new(columns.map(|w| w + MARGIN).iter().sum::<usize>() + MARGIN, size(tallest) + 2 * (MARGIN + line));
    let top = MARGIN + line;
    let mut left = MARGIN;
    for ((name, fixed, across, down), column) in planes.into_iter().zip(columns) {
        let (w, h) = (size(extent[across]), size(extent[down]));
        // Left and top of each slice are R, A or S: world coordinates decrease to the right and downwards.
        let voxel_of = |px: usize, py: usize| {
            let mut voxel = [0; 3];
            voxel[fixed] = at[fixed];
            voxel[across] = shape[across] - 1 - px * shape[across] / w;
            voxel[down] = shape[down] - 1 - py * shape[down] / h;
            voxel
        };
        for py in 0..h {
            for px in 0..w {
                let voxel = voxel_of(px, py);
                let label = value(&labels, voxel) as u32;
                let gray = (value(&image, voxel) - options.window[0]) / (options.window[1] - options.window[0]) * 255.0;
                let mut color = [gray.clamp(0.0, 255.0) as u8; 3];
                if label != 0 {
                    *seen.entry(label).or_default() += 1;
                    let edge = [(px + 1, py), (px, py + 1), (px.wrapping_sub(1), py), (px, py.wrapping_sub(1))]
                        .into_iter()
                        .any(|(x, y)| x < w && y < h && value(&labels, voxel_of(x, y)) as u32 != label);
                    let weight = if edge { 1.0 } else { options.opacity };
                    let over = structures.get(label).color();
                    color = std::array::from_fn(|i| {
                        (f64::from(color[i]) * (1.0 - weight) + f64::from(over[i]) * weight) as u8
                    });
                }
                *picture.at(left + px, top + py) = color;
            }
        }
        let letters = if across == 0 { ["R", "L"] } else { ["A", "P"] };
        let (middle, edge) = (top + h.saturating_sub(line) / 2, font.width(letters[1]) + 3);
        picture.text(&font, left + 3, middle, letters[0], GRAY);
        picture.text(&font, left + w.saturating_sub(edge), middle, letters[1], GRAY);
        picture.text(&font, left + w.saturating_sub(edge) / 2, top, if down == 2 { "S" } else { "A" }, GRAY);
        picture.text(&font, left, top + size(tallest) + 2, &caption(name, fixed), GRAY);
        left += column + MARGIN;
    }
    let mut by_area: Vec<(u32, usize)> = seen.into_iter().collect();
    by_area.sort_by_key(|(id, area)| (std::cmp::Reverse(*area), *id));
    let shown: Vec<Structure> = by_area.into_iter().map(|(id, _)| structures.get(id)).collect();
    picture.add_legend(&font, &shown, top);
    let title = font.fit(title, picture.width - 2 * MARGIN);
    picture.text(&font, MARGIN, MARGIN / 2, &title, GRAY);
    Ok(picture)
}

fn value(volume: &Volume, at: [usize; 3]) -> f64 {
    each_voxels!(&volume.voxels, buffer => buffer[volume.layout.position([0, at[0], at[1], at[2]])].to_f64())
}

/// Returns, per axis, the slice with the most structures, and among equals the one with the most labeled voxels;
/// without labels, the middle slice. Samples every other voxel along each axis.
fn best_slices(labels: &Volume) -> [usize; 3] {
    /// A bit set of the labels found, and the number of labeled voxels.
    #[derive(Clone, Default)]
    struct Seen(Vec<u64>, usize);
    let shape = labels.layout.spatial();
    let mut seen = shape.map(|n| vec![Seen::default(); n]);
    each_voxels!(&labels.voxels, buffer => {
        for z in (0..shape[2]).step_by(2) {
            for y in (0..shape[1]).step_by(2) {
                for x in (0..shape[0]).step_by(2) {
                    let label = buffer[labels.layout.position([0, x, y, z])].to_f64() as usize;
                    if label == 0 || label > usize::from(u16::MAX) {
                        continue;
                    }
                    for (slices, at) in seen.iter_mut().zip([x, y, z]) {
                        let Seen(bits, voxels) = &mut slices[at];
                        if bits.len() <= label / 64 {
                            bits.resize(label / 64 + 1, 0);
                        }
                        bits[label / 64] |= 1 << (label % 64);
                        *voxels += 1;
                    }
                }
            }
        }
    });
    std::array::from_fn(|axis| {
        let rank = |seen: &Seen| (seen.0.iter().map(|bits| bits.count_ones()).sum::<u32>(), seen.1);
        let mut best = ((0, 0), shape[axis] / 2);
        for (i, slice) in seen[axis].iter().enumerate() {
            if rank(slice) > best.0 {
                best = (rank(slice), i);
            }
        }
        best.1
    })
}

impl Picture {
    /// A black image.
    fn new(width: usize, height: usize) -> Picture {
        Picture { width, height, pixels: vec![[0; 3]; width * height] }
    }

    fn at(&mut self, x: usize, y: usize) -> &mut [u8; 3] {
        &mut self.pixels[y * self.width + x]
    }

    /// Appends colors and names on the right, in columns below `top`.
    fn add_legend(&mut self, font: &Font, shown: &[Structure], top: usize) {
        let line = font.line_height();
        // The last line of the picture is that of the captions.
        let rows = (self.height.saturating_sub(top + MARGIN + line) / line).max(1);
        let named = shown.len().min(rows * MAX_COLUMNS);
        let mut entries: Vec<(Option<[u8; 3]>, String)> = shown[..named]
            .iter()
            .map(|structure| (Some(structure.color()), font.fit(&structure.name, MAX_NAME_LINES * line)))
            .collect();
        if named < shown.len() {
            // The last entry makes room for the number of those without one.
            entries.pop();
            entries.push((None, format!("and {} more", shown.len() - entries.len())));
        }
        let (cap, baseline) = font.cap_height_and_baseline();
        for column in entries.chunks(rows) {
            let left = self.width;
            let text_width = column.iter().map(|(_, name)| font.width(name)).max().unwrap_or(0);
            self.widen(cap + cap / 2 + text_width + 2 * MARGIN);
            for (row, (color, name)) in column.iter().enumerate() {
                let y = top + row * line;
                for (dx, dy) in (0..cap).flat_map(|dy| (0..cap).map(move |dx| (dx, dy))) {
                    if let Some(color) = color {
                        *self.at(left + dx, y + baseline - cap + dy) = *color;
                    }
                }
                self.text(font, left + cap + cap / 2, y, name, GRAY);
            }
        }
    }

    /// Adds black columns on the right.
    fn widen(&mut self, columns: usize) {
        let mut wider = Picture::new(self.width + columns, self.height);
        for (row, old) in wider.pixels.chunks_mut(self.width + columns).zip(self.pixels.chunks(self.width)) {
            row[..self.width].copy_from_slice(old);
        }
        *self = wider;
    }

    /// Draws a line of text with its left top at (x, y), clipped to the image. A dark rim keeps it legible on bright
    /// slices.
    fn text(&mut self, font: &Font, x: usize, y: usize, text: &str, color: [u8; 3]) {
        const RIM: [(i32, i32); 4] = [(-1, 0), (1, 0), (0, -1), (0, 1)];
        let shades = RIM.map(|shift| (shift, [0; 3])).into_iter().chain([((0, 0), color)]);
        for ((dx, dy), shade) in shades {
            font.draw(text, |px, py, coverage| {
                let inside =
                    |at: usize, by: i32, size: usize| at.checked_add_signed(by as isize).filter(|at| *at < size);
                let at = inside(x, px + dx, self.width).zip(inside(y, py + dy, self.height));
                if let Some((x, y)) = at {
                    let pixel = self.at(x, y);
                    *pixel = std::array::from_fn(|i| {
                        let (old, new) = (f32::from(pixel[i]), f32::from(shade[i]));
                        (old + (new - old) * coverage.min(1.0)).round() as u8
                    });
                }
            });
        }
    }

    /// Writes the image as PNG, atomically.
    pub fn write(&self, path: &Path) -> Result<Digest> {
        atomic::write_hashed(path, |file| self.encode(std::io::BufWriter::new(file)))
    }

    /// Returns the image as the bytes of a PNG file.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![];
        self.encode(&mut bytes)?;
        Ok(bytes)
    }

    fn encode(&self, out: impl Write) -> Result<()> {
        let failed = |error: png::EncodingError| err!("cannot write: {error}");
        let mut encoder = png::Encoder::new(out, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(self.pixels.as_flattened()).map_err(failed)?;
        writer.finish().map_err(failed)
    }
}
