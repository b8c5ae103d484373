//! segbundle runs MONAI bundles without Python. This page is the map of the modules, from the command line down to
//! libtorch.
//!
//! | module | contents |
//! |---|---|
//! | [`cli`] | one file per subcommand: arguments, output, exit codes |
//! | [`registry`] | the table of everything that a config can name; the only file that lists all component families |
//! | [`workflow`] | a whole run: initialize, run, finalize |
//! | [`facades`] | Python functions that need libtorch: random tensors, `torch.load`, seeds, CUDA |
//! | [`engines`] | evaluator and trainer with their handlers; scheduling of cases, `run.json`, resuming |
//! | [`networks`], [`inferers`], [`transforms`] | components of inference, one per file |
//! | [`losses`], [`metrics`], [`optim`], [`data`] | components of training and data loading, one per file |
//! | [`tools`] | functions over files, volumes and bundles: statistics, previews, masks, metadata |
//! | [`server`] | HTTP server on loopback, for [`tools::view`] |
//! | [`contracts`] | core traits that components implement; read this second |
//! | [`distributed`] | the processes that compute together in a run (torch.distributed) |
//! | [`prediction`] | the prediction of one case: operations are recorded lazily and computed once |
//! | [`case_context`] | context of one case: device, cancellation, memory budget, progress, stage timings |
//! | [`checkpoint`] | PyTorch checkpoints and safetensors |
//! | [`torch`] | devices, conversions between tensors and config values, the panic guard |
//!
//! The other members of the workspace cannot depend on the modules above; only `native` depends on torch:
//!
//! | crate | contents |
//! |---|---|
//! | [`tools::phantom`] (`src/phantom`) | synthetic CT phantoms for the sample data, names of the 104 structures |
//! | [`bundle`], [`python`], [`component`], [`run`] (`src/language`) | config language, facades, values, run options |
//! | [`formats`] (`src/formats`) | NIfTI, NRRD, MetaImage and DICOM images, pickles, event files, atomic writing |
//! | [`image`] (`src/image`) | volumes in host memory, geometry, resampling |
//! | `segbundle_native` (`src/native`) | safe functions over libtorch's C++ API, C++ kernels, unsafe code |
//! | [`error`], [`env`](mod@env), [`random`], [`text`] (`src/base`) | errors, environment, random numbers, text files |
//!
//! `component!` (`src/declare.rs`) and [`args!`] declare a component and its arguments.

pub use segbundle_base::{bail, env, err, error, log_error, percentile, random, text};
pub use segbundle_formats as formats;
pub use segbundle_image::{self as image, each_voxels};
pub use segbundle_language::{args, bundle, component, members, python, run};

#[macro_use]
mod declare;

pub mod case_context;
pub mod checkpoint;
pub mod cli;
pub mod contracts;
pub mod data;
pub mod distributed;
pub mod engines;
pub mod facades;
pub mod inferers;
pub mod losses;
pub mod metrics;
pub mod networks;
pub mod optim;
pub mod prediction;
pub mod registry;
pub mod server;
pub mod tools;
pub mod torch;
pub mod transforms;
pub mod workflow;
