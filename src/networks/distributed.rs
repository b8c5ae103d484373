//! DistributedDataParallel (torch.nn.parallel.distributed, torch 2.11): a network whose gradients are averaged over the
//! ranks of a run.
//!
//! Differences from torch:
//! - The names of its tensors are those of the wrapped network, as ignite saves and loads them.
//! - Buffers of rank 0 are copied to the other ranks before each pass of a training and before an evaluation, and not
//!   before each window, so that ranks may evaluate different numbers of windows.

use crate::component::{Accepted, BuildContext, NotSupported};
use crate::contracts::{Linear, Mode, Network, NetworkState, Shared, parameters};
use crate::distributed;
use crate::error::Result;
use crate::torch::Device;
use crate::{bail, err};
use segbundle_native::{Reducer, ReducerOptions};
use tch::Tensor;

component! {
    /// Trains a network on several ranks: its gradients are averaged over them during the backward pass.
    pub static COMPONENT = network "DistributedDataParallel" in "torch.nn.parallel" / "distributed";

    pub struct DistributedDataParallelArgs {
        /// Network to wrap. All ranks start with the parameters of rank 0.
        module: Shared<dyn Network>,
        /// No effect: the network stays on its device.
        device_ids: Accepted = (),
        /// No effect: the result is on the network's device.
        output_device: Accepted = (),
        /// No effect: a batch is never split.
        dim: Accepted = 0,
        /// Copy the buffers of rank 0 to the other ranks before each pass of a training.
        broadcast_buffers: bool = true,
        /// Check that the ranks have the same parameters, and start with those of rank 0; only True is supported.
        init_sync: bool = true,
        /// Group of processes; only None, the default group, is supported.
        process_group: NotSupported = (),
        /// Size of the messages in which gradients are averaged, in MiB; None is 25.
        #[no_effect_on_results]
        bucket_cap_mb: Option<f64> = (),
        /// Look for parameters that have no part in the result of a pass.
        find_unused_parameters: bool = false,
        /// No effect: deprecated in torch.
        check_reduction: Accepted = false,
        /// Keep gradients in the messages, which saves their memory.
        #[no_effect_on_results]
        gradient_as_bucket_view: bool = false,
        /// No effect: every pass may use other parameters.
        static_graph: Accepted = false,
        /// Parameters whose gradients are averaged later; not supported.
        delay_all_reduce_named_params: NotSupported = (),
        /// Parameter after which they are; not supported.
        param_to_hook_all_reduce: NotSupported = (),
        /// Precision of parameters, gradients and buffers; not supported.
        mixed_precision: NotSupported = (),
        /// Device mesh; not supported.
        device_mesh: NotSupported = (),
        /// No effect: gradients of unused parameters are averaged as zeros.
        skip_all_reduce_unused_params: Accepted = false,
        /// Sizes of the messages one by one; not supported.
        bucket_cap_mb_list: NotSupported = (),
    }

    differs: [
        "its tensors have the names of the wrapped network in all files, as ignite saves them",
        "an evaluation copies the buffers of rank 0 once, not before each pass",
    ],
    build in context: DistributedDataParallel::new,
}

struct DistributedDataParallel {
    module: Shared<dyn Network>,
    /// The tensors of `module`, which share values and gradients.
    state: NetworkState,
    /// `None` in a dry run.
    reducer: Option<Reducer>,
    broadcast_buffers: bool,
    /// Whether the next backward pass averages gradients.
    averages: bool,
    file_sha256: Option<String>,
}

impl DistributedDataParallel {
    fn new(args: DistributedDataParallelArgs, context: &mut BuildContext) -> Result<DistributedDataParallel> {
        if !args.init_sync {
            bail!("`init_sync` is False, only True is supported");
        }
        let bucket_bytes = match args.bucket_cap_mb {
            Some(size) if size > 0.0 => Some((size * f64::from(1 << 20)) as u64),
            Some(size) => bail!("`bucket_cap_mb` is {size}, expected a number above 0"),
            None => None,
        };
        let group = distributed::group();
        if group.is_none() && !context.is_dry_run() && !distributed::is_initialized() {
            return Err(distributed::uninitialized());
        }
        let module = args.module;
        let network = module.lock();
        let tensors = network.state().tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        let state = NetworkState { tensors: tensors.collect() };
        let file_sha256 = network.file_sha256().map(str::to_owned);
        let params = parameters(&*network);
        drop(network);
        if params.is_empty() {
            return Err(err!("the network has no parameter that requires a gradient"));
        }
        let options = ReducerOptions {
            bucket_bytes,
            find_unused: args.find_unused_parameters,
            gradient_as_bucket_view: args.gradient_as_bucket_view,
        };
        let buffers = buffers(&state);
        let reducer = group.map(|group| group.reducer(&params, &buffers, &options)).transpose()?;
        let broadcast_buffers = args.broadcast_buffers;
        Ok(DistributedDataParallel { module, state, reducer, broadcast_buffers, averages: true, file_sha256 })
    }
}

/// The tensors that are not trained.
fn buffers(state: &NetworkState) -> Vec<Tensor> {
    state.tensors.values().filter(|tensor| !tensor.requires_grad()).map(Tensor::shallow_clone).collect()
}

impl Network for DistributedDataParallel {
    fn name(&self) -> &str {
        COMPONENT.name
    }
    fn spatial_dims(&self) -> usize {
        self.module.lock().spatial_dims()
    }
    fn multiples(&self) -> Vec<i64> {
        self.module.lock().multiples()
    }
    fn check_size(&self, size: &[i64]) -> Result<()> {
        self.module.lock().check_size(size)
    }
    fn in_channels(&self) -> usize {
        self.module.lock().in_channels()
    }
    fn out_channels(&self) -> usize {
        self.module.lock().out_channels()
    }
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let module = self.module.lock();
        let Some(reducer) = self.reducer.as_ref().filter(|_| mode.train) else { return module.forward(x, mode) };
        self.synchronize()?;
        if self.averages {
            reducer.before_forward().map_err(|error| distributed::lost("the backward pass", error))?;
        }
        let output = module.forward(x, mode)?;
        if self.averages {
            reducer.before_backward(&output).map_err(|error| distributed::lost("the backward pass", error))?;
        }
        Ok(output)
    }
    fn features(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.module.lock().features(x, mode)
    }
    fn head(&self) -> Option<Linear> {
        self.module.lock().head()
    }
    fn feature_channels(&self) -> usize {
        self.module.lock().feature_channels()
    }
    fn state(&self) -> &NetworkState {
        &self.state
    }
    fn prefix(&self) -> &'static str {
        "module."
    }
    fn average_gradients(&mut self, on: bool) -> bool {
        self.averages = on;
        true
    }
    fn synchronize(&self) -> Result<()> {
        match distributed::group().filter(|_| self.broadcast_buffers && self.reducer.is_some()) {
            Some(group) => group.broadcast("the copy of buffers", &buffers(&self.state)),
            None => Ok(()),
        }
    }
    fn file_sha256(&self) -> Option<&str> {
        self.file_sha256.as_deref()
    }
    fn load(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        self.module.lock().load(tensors)
    }
    fn to(&mut self, device: Device) -> Result<()> {
        self.module.lock().to(device)
    }
    fn device(&self) -> Device {
        self.module.lock().device()
    }
}
