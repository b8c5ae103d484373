//! The command line. Our own options stand before the subcommand, in kebab case; everything after `run` and `verify`
//! is MONAI's own arguments and config overrides. Logs go to stderr, data to stdout; exit codes are 0, 1 (a case or the
//! run failed), 2 (usage or config) and 130 (interrupted).

mod components;
mod console;
mod log;
mod run;
mod sample_data;
mod verify;

use crate::error::Result;
use clap::{Parser, Subcommand, ValueEnum};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "segbundle", version, about = "Run MONAI bundles for 3D CT segmentation without Python", arg_required_else_help = true)]
struct Cli {
    /// Threads to compute with [default: OMP_NUM_THREADS, else the physical cores this process may use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// What `amp: true` computes in on a CPU; MONAI computes in float32
    #[arg(long, value_name = "TYPE")]
    amp_dtype: Option<AmpType>,
    /// Log more (-v) or all (-vv)
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Log warnings and errors only
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum AmpType {
    Float32,
    Bfloat16,
}

#[derive(Subcommand)]
enum Command {
    /// Run a bundle's config: `run --config_file configs/inference.json [--key value ...]`
    #[command(disable_help_flag = true)]
    Run {
        /// MONAI's arguments (--config_file, --meta_file, --logging_file, --args_file, run_id, ...) and config overrides
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<String>,
    },
    /// Check a bundle's config without running it; takes the arguments of `run`
    #[command(disable_help_flag = true)]
    Verify {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<String>,
    },
    /// What a config can build, or the arguments of one component
    Components {
        /// Such as SlidingWindowInferer or monai.transforms.Spacingd
        name: Option<String>,
    },
    /// Write a sample set: CT-like phantoms (not patients) with labels
    SampleData(sample_data::Args),
}

/// Parse the arguments, run the subcommand, print an error.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    let console = console::Console::new(cli.verbose, cli.quiet);
    console.init_log();
    quiet_panics();
    match dispatch(cli, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(cli: Cli, console: &console::Console) -> Result<()> {
    match cli.command {
        Command::Run { args } => {
            set_up_torch(cli.threads);
            let amp = (cli.amp_dtype == Some(AmpType::Bfloat16)).then_some(tch::Kind::BFloat16);
            run::run(&args, amp, console)
        }
        Command::Verify { args } => verify::verify(&args),
        Command::Components { name } => components::components(name.as_deref()),
        Command::SampleData(args) => sample_data::sample_data(&args),
    }
}

/// Before the first tensor: the allocator that keeps its pages, CUDA if libtorch has it, and the thread count.
fn set_up_torch(threads: Option<u16>) {
    segbundle_native::install_allocator();
    let cuda = segbundle_native::load_cuda();
    if !cuda && std::path::Path::new("/proc/driver/nvidia/version").exists() {
        tracing::warn!("this machine has an NVIDIA GPU, but this libtorch computes on the CPU only; `make setup CUDA=1` brings the other");
    }
    let threads = threads.map_or_else(crate::env::compute_threads, usize::from);
    tch::set_num_threads(threads as i32);
    tracing::debug!("computing with {threads} threads");
}

/// A panic inside libtorch's bindings becomes an error with a message of its own; its raw text helps nobody twice.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| tracing::debug!("panic: {info}")));
}
