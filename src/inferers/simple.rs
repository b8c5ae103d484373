//! SimpleInferer: the whole image in one forward pass (monai.inferers.inferer, MONAI 1.6.1).

use crate::contracts::{CaseContext, Inferer, Mode, Network, Shared};
use crate::error::Result;
use crate::image::{Grid, Volume};
use crate::prediction::{Blocks, Prediction, Region};
use crate::torch::DeviceExt;
use std::path::PathBuf;
use tch::Tensor;

component! {
    /// Run the network on the whole image in one forward pass.
    pub static COMPONENT = inferer "SimpleInferer" in "monai.inferers" / "inferer";

    pub struct SimpleInfererArgs {}

    build: |_| Ok(SimpleInferer),
}

/// Inferer that runs the network on the whole image in one forward pass.
pub struct SimpleInferer;

impl Inferer for SimpleInferer {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn is_single_pass(&self) -> bool {
        true
    }
    fn infer(
        &self,
        x: &Tensor,
        image: &Volume,
        network: &Shared<dyn Network>,
        _case: &CaseContext,
    ) -> Result<Prediction> {
        let channels = network.lock().out_channels();
        super::check_window(self.name(), &*network.lock(), image.grid().shape)?;
        let source = Whole {
            x: x.shallow_clone(),
            network: network.clone(),
            grid: image.grid(),
            path: image.header.path.clone(),
            channels,
        };
        Ok(Prediction::pending(Box::new(source), image.header.clone(), image.trace.clone()))
    }
}

struct Whole {
    /// Image [1,C,X,Y,Z].
    x: Tensor,
    network: Shared<dyn Network>,
    grid: Grid,
    /// File of the image, for messages.
    path: PathBuf,
    channels: usize,
}

impl Blocks for Whole {
    fn grid(&self) -> Grid {
        self.grid
    }
    fn channels(&self) -> usize {
        self.channels
    }
    fn run(self: Box<Self>, case: &CaseContext, each: &mut dyn FnMut(Region, Tensor) -> Result<()>) -> Result<()> {
        case.progress.windows(1);
        let mode = Mode { train: false, autocast: case.autocast };
        let logits = self.network.lock().forward(&self.x.f_to_device(case.device.tch())?, mode)?;
        case.progress.window_done();
        let [x, y, z] = self.grid.shape.map(|n| n as i64);
        let expected = [1, self.channels as i64, x, y, z];
        if logits.size() != expected {
            return Err(crate::err!("expected a network output of shape {expected:?}, found {:?}", logits.size()));
        }
        super::warn_of_nan(&logits.f_sum(tch::Kind::Float)?, &self.path)?;
        each(Region { start: [0; 3], size: self.grid.shape }, logits.f_squeeze_dim(0)?.f_to_kind(tch::Kind::Float)?)
    }
}
