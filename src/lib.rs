//! segbundle: MONAI bundles without Python. This file is the map; data flows from top to bottom.
//!
//! | room | what is in it |
//! |---|---|
//! | [`cli`] | one file per subcommand; reads arguments, prints, decides exit codes |
//! | [`registry`] | joins every table of names; the only file that knows all families |
//! | [`workflow`] | initialize, run, finalize |
//! | [`facades`] | facades of Python names that need libtorch: random tensors, `torch.load`, seeds, CUDA |
//! | [`engines`] | evaluator: its cases, their way through the network, the records of a run; handlers |
//! | [`networks`], [`inferers`], [`losses`], [`metrics`], [`optim`], [`transforms`], [`data`] | the components, one concept per file |
//! | [`tools`] | pure functions over files, statistics, previews, masks |
//! | [`contracts`] | the traits that parts are made to; read this second |
//! | [`prediction`] | one case's answer, recorded first and computed once |
//! | [`case_context`] | what a component may use while it processes one case: device, cancellation, budget, progress, clock |
//! | [`checkpoint`] | PyTorch's checkpoints and safetensors |
//! | [`torch`] | devices and guards |
//!
//! Members of the workspace, which the compiler keeps below the modules above (and free of torch, but for `native`):
//!
//! | crate | contents |
//! |---|---|
//! | [`tools::phantom`] (`src/phantom`) | synthetic CT phantoms for the sample data, names of the 104 structures |
//! | [`formats`] (`src/formats`) | NIfTI, NRRD, MetaImage and DICOM images, pickles, event files, atomic writing |
//! | [`image`] (`src/image`) | volumes in host memory, geometry, resampling |
//! | [`bundle`], [`python`], [`component`], [`run`] (`src/language`) | the config language, facades of Python names, values and arguments |
//! | `segbundle_native` (`src/native`) | what must be C++ or unsafe |
//! | [`error`], [`env`](mod@env), [`random`] (`src/base`) | the error type, the process environment, NumPy's generator |

pub use segbundle_base::{bail, env, err, error, random, text};
pub use segbundle_formats as formats;
pub use segbundle_image::{self as image, each_voxels};
pub use segbundle_language::{args, bundle, component, python, run};

#[macro_use]
mod declare;

pub mod case_context;
pub mod checkpoint;
pub mod cli;
pub mod contracts;
pub mod data;
pub mod engines;
pub mod facades;
pub mod inferers;
pub mod losses;
pub mod metrics;
pub mod networks;
pub mod optim;
pub mod prediction;
pub mod registry;
pub mod tools;
pub mod torch;
pub mod transforms;
pub mod workflow;
