//! From an image to a prediction with a network: sliding windows, or the whole image at once.

mod simple;
mod sliding_window;
mod stitch;
mod windows;

pub use simple::SimpleInferer;

use crate::component::Component;
use crate::error::Result;
use std::path::Path;
use tch::Tensor;

pub static COMPONENTS: &[&Component] = &[&simple::COMPONENT, &sliding_window::COMPONENT];

/// A network that gives NaN makes no error, as in MONAI, but labels that mean nothing. `total`: the sum of its values for
/// the image of the file `path`.
fn warn_of_nan(total: &Tensor, path: &Path) -> Result<()> {
    if total.f_double_value(&[])?.is_nan() {
        tracing::warn!(
            "{}: the output of the network contains NaN; labels at these voxels are meaningless",
            path.display()
        );
    }
    Ok(())
}
