//! Components of this family.

use crate::component::Component;

pub const COMPONENTS: &[&Component] = &[];
