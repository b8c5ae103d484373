//! The config language of MONAI bundles, free of torch.
//!
//! | module | contents |
//! |---|---|
//! | [`bundle`] | config files, ids, references, macros, overrides, `$` expressions, the plan, the session |
//! | [`python`] | facades of the Python functions that an expression may call |
//! | [`run`] | options and context of a run, and what its engines report |
//! | [`component`] | values, objects, arguments, and the table of everything that a config can name |
//!
//! Facades that need libtorch are in the root crate (`facades`) and add themselves to the same table.

pub use segbundle_base::{bail, env, err, error, log_error, percentile, random, text};
pub use segbundle_image::{self as image, each_voxels};

pub mod bundle;
pub mod component;
pub mod python;
pub mod run;
