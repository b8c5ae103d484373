//! Components of this family.

pub mod random;

use crate::component::Component;

pub const COMPONENTS: &[&Component] = &[];
