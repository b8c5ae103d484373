//! Builds single networks of a config, checks them against the metadata, and exports them as TorchScript.
//!
//! MONAI source: `verify_net_in_out` and `ckpt_export` (monai.bundle.scripts, 1.6.1). Differences: exports are always
//! traced, and checked on a second size of the input; MONAI compiles the source of the network by default.

use super::tensor_format::TensorFormat;
use crate::bundle::{METADATA_ID, Plan, RunArgs, Session, Tree, Warning, id};
use crate::component::Table;
use crate::contracts::{Mode, Network, NetworkHandle, Shared};
use crate::err;
use crate::error::{Error, Kind, Result};
use crate::formats::atomic;
use crate::python::array::Type;
use crate::torch::trial::first_accepted;
use crate::torch::{Device, DeviceExt, guard, kind_of, type_of};
use segbundle_native as native;
use std::path::Path;
use tch::{CModule, Tensor};

/// A network of a config.
pub struct Built {
    /// The network.
    pub network: Shared<dyn Network>,
    /// The whole config, with the metadata.
    pub tree: Tree,
}

/// Builds the network with the id `network` of a config, and what it refers to.
///
/// # Errors
/// All problems of the items that the network refers to.
pub fn build(
    mut args: RunArgs,
    network: &str,
    table: &'static Table,
    warn: &mut dyn FnMut(&Warning),
) -> Result<Built, Vec<Error>> {
    let network = id::normalize(network);
    args.run_id.clone_from(&network);
    args.init_id.clone_from(&network);
    args.final_id.clone_from(&network);
    let plan = Plan::prepare(&args, table).map_err(|error| vec![error])?;
    let of_metadata = |warning: &&Warning| warning.get_id().is_some_and(|id| id::is_within(id, METADATA_ID));
    args.warnings.iter().chain(plan.warnings().iter().filter(|warning| !of_metadata(warning))).for_each(&mut *warn);
    if plan.tree.get(&network).is_none() {
        let error = err!("the config has no `{network}`").kind(Kind::Config).file(args.config_files.join(", "));
        let near = plan.tree.nearest(&network).or_else(|| plan.tree.get("network_def").map(|_| "network_def".into()));
        return Err(vec![error.suggest(near)]);
    }
    if !plan.problems().is_empty() {
        return Err(plan.problems().to_vec());
    }
    let tree = plan.tree.clone();
    let value = guard(|| Session::new(plan, None).get(&network)).map_err(|error| vec![error])?;
    let Some(handle) = value.downcast::<NetworkHandle>() else {
        let error = err!("expected a network, found {}", value.type_name()).kind(Kind::Config);
        return Err(vec![error.at(Some(&tree.place(&network)), &network)]);
    };
    Ok(Built { network: handle.0.clone(), tree })
}

/// Factors of the sizes in the metadata: `"2**p"`, `"16*n"`, `"*"`.
#[derive(Debug, Clone, Copy)]
pub struct Factors {
    /// Exponent.
    pub p: i64,
    /// Multiplier.
    pub n: i64,
    /// Size where any is allowed.
    pub any: i64,
}

impl Default for Factors {
    fn default() -> Factors {
        Factors { p: 1, n: 1, any: 1 }
    }
}

/// Shape and type of a network's input and output.
pub struct InOut {
    /// `[1, C, X, Y, Z]`
    pub input: (Vec<i64>, Type),
    /// `[1, K, X, Y, Z]`
    pub output: (Vec<i64>, Type),
}

/// Applies the network to random values of the shape and type that the metadata give for `image`, and compares the
/// output with those of `pred`. An output of another spatial shape is a warning, since MONAI does not compare it.
///
/// # Errors
/// The metadata lack entries, the network does not take the input, or the output has another number of channels or type.
pub fn verify_in_out(built: &Built, device: Device, factors: Factors, warn: &mut dyn FnMut(&Warning)) -> Result<InOut> {
    let Factors { p, n, any } = factors;
    let input = TensorFormat::of(&built.tree, "inputs", "image")?;
    let output = TensorFormat::of(&built.tree, "outputs", "pred")?;
    let located = |error: Error, format: &TensorFormat, key: &str| {
        let id = id::join(&format.id, key);
        error.kind(Kind::Config).at(Some(&built.tree.place(&id)), &id)
    };
    let shape = [vec![1, input.channels], input.size(p, n, any)?].concat();
    let mode = match (input.dtype, device) {
        (Type::F32, _) => Mode::EVAL,
        (Type::F16, Device::Cuda(_)) => Mode { autocast: Some(tch::Kind::Half), ..Mode::EVAL },
        (Type::F16, Device::Cpu) => {
            let error = err!("a float16 input needs a GPU, as in MONAI").hint("run on a GPU: `--device cuda:0`");
            return Err(located(error, &input, "dtype"));
        }
        (other, _) => {
            return Err(located(err!("expected float32 or float16, found {}", other.name()), &input, "dtype"));
        }
    };
    let mut network = built.network.lock();
    if network.in_channels() as i64 != input.channels {
        let error =
            err!("expected {} input channels, as of the network, found {}", network.in_channels(), input.channels);
        return Err(located(error, &input, "num_channels"));
    }
    network.to(device.check()?)?;
    let found = guard(|| {
        let x = Tensor::f_rand(&*shape, (tch::Kind::Float, device.tch()))?;
        network.forward(&x, mode)
    });
    let found = found.map_err(|error| located(error, &input, "spatial_shape"))?;
    let (size, kind) = (found.size(), found.kind());
    if size[1] != output.channels {
        let error = err!("expected {} channels from the network, found {}", output.channels, size[1]);
        return Err(located(error, &output, "num_channels"));
    }
    if kind_of(output.dtype) != Some(kind) {
        let found = type_of(kind).map_or_else(|| format!("{kind:?}"), |ty| ty.name().to_owned());
        let error = err!("expected {} from the network, found {found}", output.dtype.name());
        return Err(located(error, &output, "dtype"));
    }
    let expected = output.size(p, n, any)?;
    if size[2..] != expected {
        let error = err!("expected an output of {expected:?} voxels, found {:?}", &size[2..]);
        warn(&located(error, &output, "spatial_shape"));
    }
    let output = (size, type_of(kind).unwrap_or(output.dtype));
    Ok(InOut { input: (shape, input.dtype), output })
}

/// Shape `[1, C, X, Y, Z]` of the smallest cube that the network accepts, which suffices to trace it.
///
/// # Errors
/// It accepts none of those that [`first_accepted`] tries.
pub fn smallest_input(network: &dyn Network) -> Result<Vec<i64>> {
    let (channels, device) = (network.in_channels() as i64, network.device().tch());
    first_accepted(&[channels], network.spatial_dims(), device, |x| network.forward(x, Mode::EVAL))
        .map(|(shape, _)| shape)
        .map_err(|error| error.hint("give a shape that it accepts: `--input_shape \"[1,1,96,96,96]\"`"))
}

/// Tolerances of [`export`].
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// Relative to the value of the network.
    pub relative: f64,
    /// Absolute.
    pub absolute: f64,
}

/// Writes a network as a TorchScript file for `torch.jit.load`, with `extra` files of a name and a text, and compares the
/// outputs of file and network for inputs of `shape` `[N, C, X, Y, Z]` and of another size. Returns the largest
/// difference.
///
/// # Errors
/// The network is a TorchScript file itself, `shape` does not fit it, or the outputs differ by more than `tolerance`: an
/// operation depends on the size of the input.
pub fn export(
    network: &dyn Network,
    shape: &[i64],
    extra: &[(String, String)],
    tolerance: Tolerance,
    path: &Path,
) -> Result<f64> {
    if network.file_sha256().is_some() {
        return Err(err!("expected a network that the config builds, found a TorchScript file")
            .kind(Kind::Config)
            .hint("copy the file: it can be loaded as it is"));
    }
    let axes = network.spatial_dims() + 2;
    if shape.len() != axes || shape.iter().any(|size| *size < 1) {
        return Err(err!("expected an input shape of {axes} sizes, [N, C, …], found {shape:?}").kind(Kind::Config));
    }
    let mut larger = shape.to_vec();
    larger[2] *= 2;
    let inputs = [shape, &*larger].map(|shape| Tensor::f_rand(shape, (tch::Kind::Float, network.device().tch())));
    let [first, second] = inputs;
    let inputs = [first?, second?];
    let expected = inputs.each_ref().map(|x| guard(|| network.forward(x, Mode::EVAL)));
    let [first, second] = expected;
    let expected = [first?, second?];
    let tensors: Vec<(&str, &Tensor)> = network.state().tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
    atomic::write_in_folder(path, |temporary| {
        let mut failed = None;
        let forward = &mut |x: &Tensor| match guard(|| network.forward(x, Mode::EVAL)) {
            Ok(output) => Some(output),
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        let traced = native::trace(temporary, network.name(), &tensors, &inputs[0], extra, forward);
        match failed {
            Some(error) => return Err(error),
            None => traced?,
        }
        let mut module = CModule::load_on_device(temporary, network.device().tch())?;
        module.f_set_eval()?;
        let mut worst = 0.0;
        for (x, expected) in inputs.iter().zip(&expected) {
            let found = guard(|| Ok(tch::no_grad(|| module.forward_ts(&[x]))?));
            let difference = found.and_then(|found| difference(&found, expected, tolerance)).map_err(|error| {
                error.context(format!("the exported network differs for an input of {:?}", x.size())).hint(
                    "an operation of this network depends on the size of the input: TorchScript would fix the size",
                )
            })?;
            worst = f64::max(worst, difference);
        }
        Ok(worst)
    })
}

fn difference(found: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Result<f64> {
    if found.size() != expected.size() {
        return Err(err!("expected an output of {:?}, found {:?}", expected.size(), found.size()));
    }
    let worst = found.f_sub(expected)?.f_abs()?.f_max()?.f_double_value(&[])?;
    if !found.f_allclose(expected, tolerance.relative, tolerance.absolute, true)? {
        return Err(err!("the outputs differ by up to {worst:e}"));
    }
    Ok(worst)
}
