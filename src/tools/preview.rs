//! Preview image of a case: one slice along each axis, gray values of a CT window with a label overlay, and a legend.
//!
//! Slices follow the radiological convention: the patient's right on the left of the image, anterior or superior up.

use super::statistics::same_grid;
use super::structures::Structures;
use crate::error::Result;
use crate::formats::atomic;
use crate::formats::digest::Digest;
use crate::image::{Element, Orientation, Volume};
use crate::{bail, each_voxels, err};
use font8x8::UnicodeFonts;
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
const GLYPH: usize = 8;
const LINE: usize = 12;
const LEGEND_WIDTH: usize = 260;
const GRAY: [u8; 3] = [200; 3];

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

    let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
    let width = planes.iter().map(|plane| size(extent[plane.2]) + MARGIN).sum::<usize>() + MARGIN + LEGEND_WIDTH;
    let height = size(tallest) + 2 * MARGIN + 2 * LINE;
    let mut picture = Picture { width, height, pixels: vec![[0; 3]; width * height] };
    let mut left = MARGIN;
    for (name, fixed, across, down) in planes {
        let (w, h) = (size(extent[across]), size(extent[down]));
        let top = MARGIN + LINE;
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
                picture.pixels[(top + py) * width + left + px] = color;
            }
        }
        let letters = if across == 0 { ["R", "L"] } else { ["A", "P"] };
        picture.text(left, top + h / 2, letters[0], GRAY);
        picture.text(left + w.saturating_sub(GLYPH), top + h / 2, letters[1], GRAY);
        picture.text(left + w / 2, top + 2, if down == 2 { "S" } else { "A" }, GRAY);
        picture.text(left, top + size(tallest) + 4, &format!("{name} {}", at[fixed] + 1), GRAY);
        left += w + MARGIN;
    }
    picture.text(MARGIN, MARGIN - 4, title, GRAY);
    let mut by_area: Vec<(u32, usize)> = seen.into_iter().collect();
    by_area.sort_by_key(|(id, area)| (std::cmp::Reverse(*area), *id));
    let room = height.saturating_sub(2 * MARGIN + 2 * LINE) / LINE;
    for (row, (id, _)) in by_area.iter().take(room).enumerate() {
        let y = MARGIN + LINE + row * LINE;
        let structure = structures.get(*id);
        for dy in 0..GLYPH {
            picture.pixels[(y + dy) * width + left..][..GLYPH].fill(structure.color());
        }
        picture.text(left + GLYPH + 4, y, &structure.name, GRAY);
    }
    if by_area.len() > room {
        picture.text(left, MARGIN + LINE + room * LINE, &format!("and {} more", by_area.len() - room), GRAY);
    }
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
    /// Draws ASCII text at (x, y), clipped to the image.
    fn text(&mut self, x: usize, y: usize, text: &str, color: [u8; 3]) {
        for (i, letter) in text.chars().enumerate() {
            let Some(rows) = font8x8::BASIC_FONTS.get(letter).or_else(|| font8x8::BASIC_FONTS.get('?')) else {
                continue;
            };
            for (dy, row) in rows.into_iter().enumerate() {
                for dx in 0..GLYPH {
                    let (px, py) = (x + i * GLYPH + dx, y + dy);
                    if row >> dx & 1 == 1 && px < self.width && py < self.height {
                        self.pixels[py * self.width + px] = color;
                    }
                }
            }
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
