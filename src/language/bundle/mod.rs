//! The config language of MONAI bundles: files, ids, references, macros, overrides, `$` expressions, components.
//!
//! | file | contents |
//! |---|---|
//! | [`args`], `fire` | arguments on the command line, parsed as by python-fire |
//! | [`node`], `json`, `yaml`, `yaml_scalar`, [`load`] | readers of config files |
//! | [`tree`], `merge`, `metadata`, `tracking` | merged tree of all files, with overrides |
//! | `expand`, [`id`] | relative ids and `%` macros |
//! | [`plan`], `check`, `names`, `compat` | checks before anything is built |
//! | [`session`], `dry_run` | building objects on demand, in a run or to check a config |
//! | `resolved` | the resolved config for records and fingerprints |
//! | [`logging_conf`], `ini` | `logging.conf` |
//! | [`expr`] | interpreter of `$` expressions |
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

pub use args::{Arguments, LoggingFile, Rules, RunArgs, WorkflowType};
pub use fire::Parameter;
pub use load::Warning;
pub use logging_conf::LoggingConf;
pub use metadata::{ID as METADATA_ID, REQUIRED as REQUIRED_METADATA, channel_definition, load as load_metadata};
pub use names::monai_has;
pub use node::Node;
pub use plan::{EffectUse, Plan, Roots};
pub use session::Session;
pub use tree::Tree;
