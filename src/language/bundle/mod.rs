//! The config language of MONAI bundles: files, ids, references, macros, overrides, `$` expressions, components.
//!
//! | file | what it does |
//! |---|---|
//! | [`args`], `fire` | the command line, as python-fire reads it |
//! | [`node`], `json`, `yaml`, `yaml_scalar`, [`load`] | one config file |
//! | [`tree`], `merge`, `metadata`, `tracking` | all files in one tree, with overrides |
//! | [`expand`], [`id`] | relative ids and `%` macros |
//! | [`plan`], `check`, `names`, `compat` | everything that can be said before anything is built |
//! | [`session`], `dry_run` | building on demand, and only to check |
//! | `resolved` | what was built, written down |
//! | [`logging_conf`], `ini` | `logging.conf` |
//! | [`expr`] | the Python of `$` expressions |
//!
//! MONAI source: `monai/bundle` of version 1.6.1.

pub mod args;
mod check;
mod compat;
mod dry_run;
mod expand;
pub mod expr;
pub mod fire;
pub mod id;
mod ini;
pub mod json;
pub mod load;
pub mod logging_conf;
mod merge;
mod metadata;
mod names;
pub mod node;
pub mod plan;
mod resolved;
pub mod session;
mod tracking;
pub mod tree;
mod yaml;
mod yaml_scalar;

pub use args::{LoggingFile, Rules, RunArgs, WorkflowType};
pub use load::Warning;
pub use logging_conf::LoggingConf;
pub use metadata::REQUIRED as REQUIRED_METADATA;
pub use names::monai_has;
pub use node::Node;
pub use plan::{EffectUse, Plan, Roots};
pub use session::Session;
pub use tree::Tree;
