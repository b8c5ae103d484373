//! All integration tests in one binary; one module per topic.

mod layers;
mod nifti_edge;
