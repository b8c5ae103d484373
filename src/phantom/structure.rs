//! A structure of the anatomy: a solid, its tissue and its class. Later structures are painted over earlier ones.

use super::geometry::Point;
use super::person::Person;
use super::random::Stream;
use super::solid::Solid;
use super::tissue::{Paint, Shades};
use crate::classes;
use crate::err;
use crate::error::Result;

pub struct Structure {
    pub label_op: LabelOp,
    pub solid: Solid,
    /// `None` keeps the existing HU and only sets the label.
    pub paint: Option<Paint>,
}

/// Effect of a structure on the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelOp {
    Set(u8),
    /// Sets the label to background.
    Clear,
    /// Keeps the label: texture inside another structure.
    Keep,
}

/// Builder of the anatomy.
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
    /// Adds a structure with a class.
    pub fn put(&mut self, class: &str, solid: Solid, paint: Paint) {
        match classes::id(class) {
            Some(id) => self.structures.push(Structure { label_op: LabelOp::Set(id), solid, paint: Some(paint) }),
            None => self.unknown.push(class.to_owned()),
        }
    }
    /// Sets the class of a region whose tissue other structures paint.
    pub fn put_label(&mut self, class: &str, solid: Solid) {
        match classes::id(class) {
            Some(id) => self.structures.push(Structure { label_op: LabelOp::Set(id), solid, paint: None }),
            None => self.unknown.push(class.to_owned()),
        }
    }
    /// Adds a structure that is labeled as background.
    pub fn put_unnamed(&mut self, solid: Solid, paint: Paint) {
        self.structures.push(Structure { label_op: LabelOp::Clear, solid, paint: Some(paint) });
    }
    /// Adds texture that keeps the label.
    pub fn put_texture(&mut self, solid: Solid, paint: Paint) {
        self.structures.push(Structure { label_op: LabelOp::Keep, solid, paint: Some(paint) });
    }
    /// Varies an organ for this person: shifts it by up to `shift_mm` and scales it by up to ±`size` (0.1: 10 %).
    pub fn varied(&mut self, solid: Solid, center: Point, shift_mm: f32, size: f32) -> Solid {
        let shift = std::array::from_fn(|_| self.stream.uniform(-shift_mm, shift_mm));
        let scale = self.stream.uniform(1.0 - size, 1.0 + size);
        Solid::Moved { inner: Box::new(solid), center, shift, scale }
    }
    /// Makes the surface of an organ irregular, differently for each person.
    pub fn organic(&mut self, solid: Solid, height: f32, width: f32) -> Solid {
        let seed = self.stream.bits() as u32;
        solid.rough(height, width, seed)
    }
    /// Returns the structures in painting order.
    ///
    /// # Errors
    /// A structure uses an unknown class name.
    pub fn finish(self) -> Result<Vec<Structure>> {
        match self.unknown.is_empty() {
            true => Ok(self.structures),
            false => Err(err!("the phantom uses unknown class names: {}", self.unknown.join(", "))),
        }
    }
}
