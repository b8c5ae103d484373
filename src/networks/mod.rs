//! Components of this family.

use crate::component::Component;

pub static COMPONENTS: &[&Component] = &[];
