//! Pure functions over volumes and files: names and tables of structures, statistics, previews, and the sample data's
//! phantom. No torch here.

pub mod classes;
pub mod label_names;
pub mod phantom;
pub mod preview;
pub mod split_labels;
pub mod statistics;
pub mod structures;
