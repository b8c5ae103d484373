//! Pure functions over files: the classes' names and the sample data's phantom. No torch here.

pub mod classes;
pub mod phantom;
