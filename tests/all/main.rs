//! All integration tests in one binary; one module per topic.
mod nifti_edge;

mod inverse;
mod npz;
mod transform_parameters;
mod transforms;
