//! All integration tests in one binary; one module per topic.

mod cli;
mod common;
mod layers;
mod nifti_edge;
mod sliding_window;
