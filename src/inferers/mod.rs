//! Inferers: apply a network to an image, window by window or to the whole image at once.

mod simple;
mod sliding_window;
mod stitch;
mod windows;

pub use simple::SimpleInferer;

use crate::component::Component;
use crate::contracts::Network;
use crate::error::Result;
use std::path::Path;
use tch::Tensor;

/// Inferers that a config can name.
pub static COMPONENTS: &[&Component] = &[&simple::COMPONENT, &sliding_window::COMPONENT];

/// Checks that a network can process windows of this size.
fn check_window(inferer: &str, network: &dyn Network, window: [usize; 3]) -> Result<()> {
    network.check_size(&window.map(|n| n as i64)).map_err(|error| error.context(inferer))
}

/// Warns if the output of the network contains NaN, which is not an error (as in MONAI) but makes labels meaningless.
/// `total` is the sum of the network's output values for the image in the file `path`.
fn warn_of_nan(total: &Tensor, path: &Path) -> Result<()> {
    if total.f_double_value(&[])?.is_nan() {
        tracing::warn!(
            "{}: the output of the network contains NaN; labels at these voxels are meaningless",
            path.display()
        );
    }
    Ok(())
}
