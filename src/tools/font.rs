//! Anti-aliased text for pictures, in DejaVu Sans Condensed. It covers Latin, Greek, Cyrillic and more; other characters
//! become a box. Text is laid out from left to right, a glyph per character.

use crate::err;
use crate::error::Result;
use ab_glyph::{Font as _, FontRef, PxScaleFont, ScaleFont, point};

/// A font of one size.
pub struct Font(PxScaleFont<FontRef<'static>>);

impl Font {
    /// Creates a font of `size` pixels per em.
    pub fn new(size: f32) -> Result<Font> {
        let failed = || err!("cannot read the font of pictures");
        let font = FontRef::try_from_slice(dejavu::sans_condensed::regular()).map_err(|_| failed())?;
        let em = font.units_per_em().filter(|em| *em > 0.0).ok_or_else(failed)?;
        let scale = size * font.height_unscaled() / em;
        Ok(Font(font.into_scaled(scale)))
    }

    /// Distance between the tops of consecutive lines in pixels.
    pub fn line_height(&self) -> usize {
        (self.0.height() * 1.08).ceil() as usize
    }

    /// Height of a capital letter above the baseline, and of the baseline below the top of a line, in pixels.
    pub fn cap_height_and_baseline(&self) -> (usize, usize) {
        let cap = self.0.outline_glyph(self.0.scaled_glyph('H')).map_or(0.0, |glyph| glyph.px_bounds().height());
        (cap.round() as usize, self.0.ascent().round() as usize)
    }

    /// Width of `text` in pixels.
    pub fn width(&self, text: &str) -> usize {
        self.layout(text).last().map_or(0.0, |(_, right)| right).ceil() as usize
    }

    /// The longest beginning of `text` that fits into `width` pixels, with an ellipsis if it is not the whole.
    pub fn fit(&self, text: &str, width: usize) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let beginnings = text.char_indices().rev().map(|(end, _)| format!("{}…", &text[..end]));
        beginnings.into_iter().find(|text| self.width(text) <= width).unwrap_or_default()
    }

    /// Calls `pixel` with x, y and coverage (0 to 1) of the pixels of `text`, whose line starts at the origin.
    pub fn draw(&self, text: &str, mut pixel: impl FnMut(i32, i32, f32)) {
        let baseline = self.0.ascent().round();
        let mut left = 0.0;
        for (mut glyph, right) in self.layout(text) {
            glyph.position = point(left, baseline);
            left = right;
            if let Some(outline) = self.0.outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                outline.draw(|x, y, coverage| pixel(corner.x as i32 + x as i32, corner.y as i32 + y as i32, coverage));
            }
        }
    }

    /// The glyphs of `text`, each with the position of its right end.
    fn layout(&self, text: &str) -> impl Iterator<Item = (ab_glyph::Glyph, f32)> {
        let mut right = 0.0;
        text.chars().map(move |letter| {
            let glyph = self.0.scaled_glyph(if letter.is_control() { '\u{fffd}' } else { letter });
            right += self.0.h_advance(glyph.id);
            (glyph, right)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sum of the coverage of all pixels.
    fn ink(text: &str) -> f32 {
        let mut sum = 0.0;
        Font::new(14.0).unwrap().draw(text, |_, _, coverage| sum += coverage);
        sum
    }

    #[test]
    fn umlauts_are_drawn_and_unknown_characters_become_boxes() {
        assert!(ink("ä") > ink("a") + 1.0 && ink("Ω") > 5.0 && ink("Ж") > 5.0);
        assert!(ink("\u{10ffff}") > 5.0 && ink("\n") > 5.0);
        assert_eq!(ink("  "), 0.0);
    }

    #[test]
    fn text_is_cut_where_it_does_not_fit() {
        let font = Font::new(14.0).unwrap();
        assert_eq!(font.fit("liver", 200), "liver");
        let cut = font.fit("autochthon_links_weiß", 80);
        assert!(cut.starts_with("autoch") && cut.ends_with('…') && font.width(&cut) <= 80, "{cut}");
        assert_eq!(font.fit("liver", 0), "");
    }

    #[test]
    fn a_line_holds_its_letters() {
        for size in [8.0, 14.0, 28.0] {
            let font = Font::new(size).unwrap();
            let (text, (width, height)) =
                ("Ågjpqy|_heart_ÄÖÜ", (font.width("Ågjpqy|_heart_ÄÖÜ") as i32, font.line_height() as i32));
            font.draw(text, |x, y, coverage| {
                assert!(coverage < 0.1 || ((-1..=width).contains(&x) && (-1..height).contains(&y)), "{size} {x} {y}");
            });
        }
    }
}
