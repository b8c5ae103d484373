//! Tools for bundles, as those of `monai.bundle` (1.6.1).
//!
//! | file | contents |
//! |---|---|
//! | [`info`] | what a bundle is and which of its files exist |
//! | [`metadata`], [`tensor_format`] | MONAI's specification of metadata.json (`verify_metadata`) |
//! | [`network`] | single networks: shapes and types (`verify_net_in_out`), TorchScript (`ckpt_export`) |
//! | [`skeleton`] | a new bundle (`init_bundle`) |
//! | [`mod@download`], `partial`, [`archive`], [`large_files`] | `download` and `download_large_files` |

pub mod archive;
pub mod download;
pub mod info;
pub mod large_files;
pub mod metadata;
pub mod network;
mod partial;
pub mod skeleton;
pub mod tensor_format;
