//! One row of the anatomy: a solid, what it is made of, and the class that it belongs to. Later rows are painted over
//! earlier ones.

use super::geometry::Point;
use super::person::Person;
use super::random::Stream;
use super::solid::Solid;
use super::tissue::{Paint, Shades};
use crate::classes;
use crate::err;
use crate::error::Result;

pub struct Structure {
    pub mark: Mark,
    pub solid: Solid,
    /// `None` leaves what is there and only names it.
    pub paint: Option<Paint>,
}

/// What becomes of the label where a structure is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Class(u8),
    /// Background.
    Clear,
    /// Texture inside something else.
    Keep,
}

/// The anatomy while it is put together.
pub struct Atlas<'a> {
    pub person: &'a Person,
    pub shades: Shades,
    pub stream: Stream,
    structures: Vec<Structure>,
    unknown: Vec<String>,
}

impl<'a> Atlas<'a> {
    pub fn new(person: &'a Person) -> Atlas<'a> {
        Atlas {
            person,
            shades: person.shades,
            stream: Stream::new(&[person.seed, 1]),
            structures: Vec::new(),
            unknown: Vec::new(),
        }
    }
    /// A structure that has a class.
    pub fn put(&mut self, class: &str, solid: Solid, paint: Paint) {
        match classes::id(class) {
            Some(id) => self.structures.push(Structure { mark: Mark::Class(id), solid, paint: Some(paint) }),
            None => self.unknown.push(class.to_owned()),
        }
    }
    /// A class for a region whose tissue is drawn by others.
    pub fn put_label(&mut self, class: &str, solid: Solid) {
        match classes::id(class) {
            Some(id) => self.structures.push(Structure { mark: Mark::Class(id), solid, paint: None }),
            None => self.unknown.push(class.to_owned()),
        }
    }
    /// A structure of the background.
    pub fn put_unnamed(&mut self, solid: Solid, paint: Paint) {
        self.structures.push(Structure { mark: Mark::Clear, solid, paint: Some(paint) });
    }
    /// Texture that leaves the label as it is.
    pub fn put_texture(&mut self, solid: Solid, paint: Paint) {
        self.structures.push(Structure { mark: Mark::Keep, solid, paint: Some(paint) });
    }
    /// An organ as this person has it: shifted by up to `shift_mm`, larger or smaller by up to `size` (0.1: a tenth).
    pub fn varied(&mut self, solid: Solid, centre: Point, shift_mm: f32, size: f32) -> Solid {
        let shift = std::array::from_fn(|_| self.stream.uniform(-shift_mm, shift_mm));
        let scale = self.stream.uniform(1.0 - size, 1.0 + size);
        Solid::Moved { inner: Box::new(solid), centre, shift, scale }
    }
    /// Lumps of an organ's surface, other ones in each person.
    pub fn organic(&mut self, solid: Solid, height: f32, width: f32) -> Solid {
        let seed = self.stream.bits() as u32;
        solid.rough(height, width, seed)
    }
    /// Errors: a row named a class that there is not.
    pub fn finish(self) -> Result<Vec<Structure>> {
        match self.unknown.is_empty() {
            true => Ok(self.structures),
            false => Err(err!("the phantom names classes that there are not: {}", self.unknown.join(", "))),
        }
    }
}
