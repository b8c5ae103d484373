//! `segbundle verify-net-in-out`: check a network of a config against the shapes and types in the metadata.

use super::console::Console;
use super::monai::{CommandArgs, printed};
use crate::bundle::args::{ARGS_FILE, CONFIG_FILE, META_FILE};
use crate::bundle::{Parameter, Rules};
use crate::component::{FromValue, Value};
use crate::err;
use crate::error::{Kind, Result};
use crate::registry;
use crate::run::RunOptions;
use crate::text::count;
use crate::tools::bundle::network::{self, Factors};
use crate::torch::{Device, limit_tensors};

pub const ARGS: CommandArgs = CommandArgs {
    command: "verify-net-in-out",
    parameters: &[
        Parameter::new("net_id", "ID", "Network in the config, such as network_def"),
        META_FILE,
        CONFIG_FILE,
        Parameter::new("device", "DEVICE", "Device of the network [default: cuda:0 if available, else cpu]"),
        Parameter::new("p", "N", "Value of p in sizes such as \"2**p\" [default: 1]"),
        Parameter::new("n", "N", "Value of n in sizes such as \"16*n\" [default: 1]"),
        Parameter::new("any", "N", "Size of axes that may have any size, \"*\" [default: 1]"),
        Parameter::new("extra_forward_args", "DICT", "Not supported: the networks take an image only"),
        ARGS_FILE,
    ],
    usage: "NET_ID --config_file FILE [ARGS] [--KEY VALUE ...]",
    overrides: true,
    examples: "\
Examples:
  segbundle verify-net-in-out network_def --config_file configs/inference.json
  segbundle verify-net-in-out network_def --config_file configs/inference.json --n 12 --device cpu",
};

/// Prints the shapes and types of input and output.
///
/// # Errors
/// The network does not fit the metadata.
pub fn verify_net_in_out(words: &[String], rules: Rules, options: RunOptions, console: &Console) -> Result<()> {
    let Some(mut arguments) = ARGS.parse(words, rules)? else { return Ok(()) };
    let net_id = arguments.text("net_id")?.ok_or_else(|| {
        err!("no network is given")
            .kind(Kind::Config)
            .hint("name it first: `segbundle verify-net-in-out network_def …`")
    })?;
    let factors = Factors {
        p: arguments.positive("p")?.unwrap_or(1),
        n: arguments.positive("n")?.unwrap_or(1),
        any: arguments.positive("any")?.unwrap_or(1),
    };
    if arguments.take("extra_forward_args").is_some_and(|node| !node.children().is_empty()) {
        return Err(err!("`--extra_forward_args` is not supported: the networks take an image only")
            .kind(Kind::Unsupported)
            .file("command line"));
    }
    let default = if tch::Cuda::is_available() { Device::Cuda(0) } else { Device::Cpu };
    let device = match arguments.text("device")? {
        None => default,
        Some(name) => Device::from_value(&Value::str(&name)).ok_or_else(|| {
            err!("unknown device '{name}': expected {}", Device::expected()).kind(Kind::Config).file("command line")
        })?,
    };
    let args = arguments.into_run(rules)?;
    limit_tensors(&options)?;
    let warn = &mut super::console::warn;
    let built = network::build(args, &net_id, registry::table(), warn).map_err(|errors| printed(errors, console))?;
    let found = network::verify_in_out(&built, device, factors, warn)?;
    let network = built.network.lock();
    let ((input, input_type), (output, output_type)) = (&found.input, &found.output);
    super::show(&format!(
        "{net_id}: {}, {} on {device}\n  input   {input:?} {}\n  output  {output:?} {}\nchannels and types are those of the metadata\n",
        network.name(),
        count(network.state().tensors.len(), "tensor"),
        input_type.name(),
        output_type.name(),
    ))
}
