//! All integration tests in one binary; one module per topic.
mod facades;
mod inverse;
mod nifti_edge;
mod npz;
mod transform_parameters;
mod transforms;
