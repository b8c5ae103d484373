//! Functions over volumes and files that do not need torch: names and tables of structures, statistics, previews,
//! masks, and the phantoms of the sample data.

pub use segbundle_phantom::{self as phantom, classes};

pub mod bundle;
pub mod font;
pub mod label_names;
pub mod merge_labels;
pub mod preview;
pub mod report;
pub mod run_folder;
pub mod split_labels;
pub mod statistics;
pub mod structure_scores;
pub mod structures;
pub mod view;
