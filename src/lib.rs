//! segbundle: MONAI bundles without Python. This file is the map; data flows from top to bottom.
//!
//! | room | what is in it |
//! |---|---|
//! | [`cli`] | one file per subcommand; reads arguments, prints, decides exit codes |
//! | [`registry`] | joins every table of names; the only file that knows all families |
//! | [`bundle`] | the config language: files, ids, references, macros, `$` expressions, the plan, the session |
//! | [`python`] | facades of the Python names that a config may call: built-ins, os, glob, numpy, torch, monai |
//! | [`engines`] | evaluator: its cases, their way through the network, the records of a run; handlers |
//! | [`networks`], [`inferers`], [`losses`], [`metrics`], [`optim`], [`transforms`], [`data`] | the components, one concept per file |
//! | [`tools`] | pure functions over files, statistics, previews, masks, the sample data's phantom |
//! | [`contracts`] | the traits that parts are made to; read this second |
//! | [`component`] | how a config reaches Rust: values, objects, arguments, the table |
//! | [`prediction`] | one case's answer, recorded first and computed once |
//! | [`work`] | what a part at work on one case may use: device, cancelling, budget, progress, clock |
//! | [`random`] | NumPy's generator, and the streams of random transforms |
//! | [`formats`] | NIfTI, NRRD, MetaImage and DICOM images, PyTorch's checkpoints, safetensors |
//! | [`image`] | volumes in host memory, geometry, resampling |
//! | [`torch`], [`error`], [`env`] | devices and guards, the error type, the environment read once |
//!
//! `src/native` is a crate of its own: what must be C++ or unsafe. Higher rooms use lower ones, never up or sideways.

pub mod bundle;
pub mod cli;
pub mod component;
pub mod contracts;
pub mod data;
pub mod engines;
pub mod env;
pub mod error;
pub mod formats;
pub mod image;
pub mod inferers;
pub mod losses;
pub mod metrics;
pub mod networks;
pub mod optim;
pub mod prediction;
pub mod python;
pub mod random;
pub mod registry;
pub mod tools;
pub mod torch;
pub mod transforms;
pub mod work;
