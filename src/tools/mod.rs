//! Pure functions over volumes and files: names and tables of structures, statistics, previews, and the sample data's
//! phantom. No torch here.

pub use segbundle_phantom::{self as phantom, classes};

pub mod label_names;
pub mod preview;
pub mod split_labels;
pub mod statistics;
pub mod structures;
