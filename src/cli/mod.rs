//! Command line. Options of segbundle precede the subcommand, in kebab case; arguments after `run`, `verify` and
//! `explain` are those of MONAI, and config overrides. Logs go to stderr, data to stdout. Exit codes are 0, 1 (a case
//! or the run failed), 2 (usage or config error), and 130 (Ctrl-C) or 143 (SIGTERM) for an interrupted run.

mod ckpt_export;
mod classes;
mod completions;
mod components;
mod console;
mod convert_weights;
mod download;
mod explain;
mod info;
mod init_bundle;
mod launch;
mod log;
mod merge_labels;
mod merge_runs;
mod monai;
mod part;
mod preview;
mod report;
mod run;
mod sample_data;
mod signals;
mod split_labels;
mod statistics;
mod verify;
mod verify_metadata;
mod verify_net_in_out;
mod view;
mod worker;

use crate::bundle::Rules;
use crate::err;
use crate::error::{Kind, Result};
use crate::run::{Part, Precision, RunOptions};
use crate::text::count;
use crate::tools::label_names::{self, Source};
use crate::tools::structures::Structures;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use monai::RawArgs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

#[derive(Parser)]
#[command(
    name = "segbundle",
    bin_name = "segbundle",
    version,
    about = "Run MONAI bundles for 3D CT segmentation without Python",
    arg_required_else_help = true
)]
struct Cli {
    /// Number of compute threads [default: OMP_NUM_THREADS, else the physical cores available to this process]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Precision used on CPU when the config sets `amp: true` [default: float32, as in MONAI]
    #[arg(long, value_name = "TYPE")]
    amp_dtype: Option<AmpType>,
    /// Skip cases whose result already exists and was made from the same input, weights and config
    #[arg(long)]
    skip_existing: bool,
    /// Process only part K (from 0) of N of the cases; `auto/N` takes K from the number of the task in an array job
    #[arg(long, value_name = "K/N", value_parser = part::parse)]
    part: Option<Part>,
    /// Make an override that no part of the run reads an error, not a warning
    #[arg(long)]
    strict: bool,
    /// Resume training from the last saved state
    #[arg(long)]
    resume: bool,
    /// Save the training state every N minutes, and after each epoch [default: 15]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    save_minutes: Option<u32>,
    /// Memory limit of the process, for example 8G or 1500M, in powers of 1024 [default: free memory, within cgroup limits]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_memory: Option<u64>,
    /// Log as text, or as one JSON object per line with message, location, hint, case, seconds and so on as fields
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// Also log the files that are read, the time of each transform, device, precision and convolutions
    #[arg(short, long, overrides_with = "verbose")]
    verbose: bool,
    /// Log only warnings and errors
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

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Parse `8G`, `1500M`, `2.5GiB` or `1000000`; units are powers of 1024, as in container tools.
fn parse_size(text: &str) -> std::result::Result<u64, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let power = match unit.to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err("expected a size such as 8G, 1500M or 2000000000".into()),
    };
    let number: f64 = number.parse().map_err(|_| "expected a size such as 8G, 1500M or 2000000000".to_owned())?;
    let bytes = number * 1024_f64.powi(power);
    if bytes >= (64 << 20) as f64 && bytes < 1e18 { Ok(bytes as u64) } else { Err("expected at least 64M".into()) }
}

#[derive(Subcommand)]
enum Command {
    /// Run a bundle's config, with the arguments of `python -m monai.bundle run`
    #[command(disable_help_flag = true)]
    Run(RawArgs),
    /// Check a config without running it; takes the arguments of `run`
    #[command(disable_help_flag = true)]
    Verify(RawArgs),
    /// Show shapes, windows, memory, time and output files of each case without running it; takes the arguments of
    /// `run`
    #[command(disable_help_flag = true)]
    Explain(RawArgs),
    /// Process cases that arrive as JSON lines on standard input, with a model that is loaded once; takes the arguments
    /// of `run`
    #[command(disable_help_flag = true)]
    Worker(RawArgs),
    /// Start the ranks of a distributed run on this node, as torchrun does
    Launch(launch::Args),
    /// List the components that a config can build, or describe one
    Components(components::Args),
    /// Write sample data: synthetic CT phantoms with labels, not patient data
    SampleData(sample_data::Args),
    /// Measure volume, centroid and HU of each structure in a label map, as CSV or JSON
    Statistics(statistics::Args),
    /// Draw a CT and its labels as a PNG: three slices and a legend
    Preview(preview::Args),
    /// Write one mask per structure in a label map
    SplitLabels(split_labels::Args),
    /// Merge one mask per structure into label maps, for a dataset in TotalSegmentator's layout
    MergeLabels(merge_labels::Args),
    /// Join the records of a run's parts (`--part`) in an output folder into run.json
    MergeRuns(merge_runs::Args),
    /// Write an HTML report about the output folder of a run: curves, metrics, pictures, volumes, failures
    Report(report::Args),
    /// Show images and label maps in the browser, on this machine only
    View(view::Args),
    /// Convert a checkpoint's weights: file format and precision
    ConvertWeights(convert_weights::Args),
    /// List the structures of a bundle: number, name, color and code
    Classes(classes::Args),
    /// Describe a bundle: versions, networks, structures, and which of its files exist
    Info(info::Args),
    /// Create a new bundle
    #[command(disable_help_flag = true, visible_alias = "init_bundle")]
    InitBundle(RawArgs),
    /// Check metadata.json against MONAI's bundle specification
    #[command(disable_help_flag = true, visible_alias = "verify_metadata")]
    VerifyMetadata(RawArgs),
    /// Check that a network's input and output are those of the metadata
    #[command(disable_help_flag = true, visible_alias = "verify_net_in_out")]
    VerifyNetInOut(RawArgs),
    /// Write a network and its weights as a TorchScript file
    #[command(disable_help_flag = true, visible_alias = "ckpt_export")]
    CkptExport(RawArgs),
    /// Download a bundle, or the large files of one
    #[command(disable_help_flag = true)]
    Download(RawArgs),
    /// Download the files that a bundle's large_files.yml lists
    #[command(disable_help_flag = true, visible_alias = "download_large_files")]
    DownloadLargeFiles(RawArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Write manual pages
    Man(completions::ManArgs),
}

impl Command {
    /// Whether the command uses the option with this id. Engines know which options of `run` they use.
    fn uses(&self, option: &str) -> bool {
        match self {
            Command::Run(_) => true,
            Command::Worker(_) => !matches!(option, "part" | "resume" | "save_minutes"),
            Command::Explain(_) => !matches!(option, "skip_existing" | "resume" | "save_minutes"),
            Command::Verify(_) => matches!(option, "strict" | "log_format" | "verbose" | "quiet"),
            Command::VerifyNetInOut(_) | Command::CkptExport(_) => {
                matches!(option, "threads" | "max_memory" | "strict" | "log_format" | "verbose" | "quiet")
            }
            _ => matches!(option, "log_format" | "verbose" | "quiet"),
        }
    }
}

/// The command line as clap parses it.
fn command_line() -> clap::Command {
    /// What a bug report needs, for `--version`; `-V` shows the first line.
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let (own, torch) = (env!("CARGO_PKG_VERSION"), env!("LIBTORCH_VERSION"));
        let features = segbundle_native::cpu().names();
        let features = if features.is_empty() { "no vector extensions".into() } else { features.join(", ") };
        format!("{own}\nlibtorch {torch}\nCPU: {features}\nthreads: {}", crate::env::compute_threads())
    });
    Cli::command().long_version(VERSION.as_str())
}

/// Warns of given options that the command does not use.
fn warn_of_unused_options(command: &Command, matches: &clap::ArgMatches) {
    let given = |arg: &&clap::Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    for arg in command_line().get_arguments().filter(given).filter(|arg| !command.uses(arg.get_id().as_str())) {
        let (option, name) = (arg.get_long().unwrap_or_default(), matches.subcommand_name().unwrap_or_default());
        tracing::warn!("`--{option}` has no effect on `{name}`");
    }
}

/// The program's option with the spelling of the override `key` (`max_memory`, `v`): `--max-memory`, and whether it
/// takes a value.
fn option(key: &str) -> Option<(String, bool)> {
    let (command, key) = (command_line(), key.replace('_', "-"));
    let short = |arg: &clap::Arg| arg.get_short().is_some_and(|short| key == short.to_string());
    let arg = command.get_arguments().find(|arg| arg.get_long() == Some(&*key) || short(arg))?;
    Some((format!("{}{key}", if short(arg) { "-" } else { "--" }), arg.get_action().takes_values()))
}

/// The structures of a bundle, as `read` returns them: those of `meta_file`, else of `configs/metadata.json`, else the
/// 104 of TotalSegmentator's dataset.
fn bundle_names(meta_file: Option<&Path>, read: fn(&Path) -> Result<Structures>) -> Result<Structures> {
    let here = Path::new("configs/metadata.json");
    match meta_file.or(Some(here).filter(|path| path.is_file())) {
        Some(path) => read(path),
        None => Structures::new((0..).zip(crate::tools::classes::NAMES.map(str::to_owned))),
    }
}

/// Names of the structures in a label map. Logs the file that they come from, or how to provide them.
fn names_of(labels: &Path, meta_file: Option<&Path>) -> Result<Structures> {
    let (structures, source) = label_names::of(labels, meta_file)?;
    match source {
        Source::Given | Source::LabelMap => {}
        Source::Metadata(path) => tracing::info!("read names of structures from {}", path.display()),
        Source::NotFound => tracing::warn!(
            "{} has no names of structures: label_1, label_2, … are used; `--meta_file metadata.json` provides names",
            labels.display()
        ),
    }
    Ok(structures)
}

/// Warns of labels in a label map without a name, unless there are no names at all.
fn warn_of_unnamed(path: &Path, labels: impl IntoIterator<Item = u32>, structures: &Structures) {
    if structures.is_empty() {
        return;
    }
    let unnamed: Vec<u32> = labels.into_iter().filter(|id| !structures.contains(*id)).collect();
    let Some(first) = unnamed.first() else { return };
    tracing::warn!(
        "{} has {} without a name, the first is {first}: do these names belong to this label map?",
        path.display(),
        count(unnamed.len(), "label"),
    );
}

/// # Errors
/// The output file has none of the `known` extensions.
fn check_extension(path: &Path, known: &[&str]) -> Result<()> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if known.contains(&&*extension) {
        return Ok(());
    }
    let shown: Vec<String> = known.iter().map(|known| format!(".{known}")).collect();
    Err(err!("expected a {} file as output, found `{}`", shown.join(" or "), path.display()).kind(Kind::Config))
}

/// Print to stdout. A closed pipe (`| head`) is not an error.
fn show(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(err!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

/// Parses the arguments, runs the subcommand and prints its error.
pub fn main() -> ExitCode {
    let parsed = command_line().try_get_matches().and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(e) => {
            // `segbundle help run` shows all arguments of the command.
            let whole = (e.kind() == ErrorKind::DisplayHelp).then(|| monai::documented().try_get_matches().err());
            let _ = whole.flatten().as_ref().unwrap_or(&e).print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    let console = console::Console::new(cli.verbose, cli.quiet, cli.log_format == LogFormat::Json);
    console.init_log();
    quiet_panics();
    warn_of_unused_options(&cli.command, &matches);
    match dispatch(cli, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.error(&error);
            ExitCode::from(signals::exit_code(&error))
        }
    }
}

fn dispatch(cli: Cli, console: &console::Console) -> Result<()> {
    let options = || {
        set_up_torch(cli.threads);
        RunOptions {
            amp_precision: cli.amp_dtype.map(|given| match given {
                AmpType::Bfloat16 => Precision::Bfloat16,
                AmpType::Float32 => Precision::Float32,
            }),
            memory_bytes: cli.max_memory.unwrap_or_else(crate::env::free_memory_bytes),
            skip_existing: cli.skip_existing,
            part: cli.part,
            rank: None,
            resume: cli.resume,
            save_every: cli.save_minutes.map(|minutes| Duration::from_secs(60 * u64::from(minutes))),
        }
    };
    let rules = Rules { strict: cli.strict, ..Rules::from_environment() };
    match &cli.command {
        Command::Run(args) => {
            signals::hold_signals()?;
            let rank = crate::env::rank()
                .map(|(rank, size)| Part::new(rank, size).map_err(|error| error.context("RANK and WORLD_SIZE")));
            run::run(&args.words, rules, RunOptions { rank: rank.transpose()?, ..options() }, console)
        }
        Command::Worker(args) => {
            signals::hold_signals()?;
            worker::worker(&args.words, rules, RunOptions { part: None, resume: false, ..options() }, console)
        }
        Command::Explain(args) => explain::explain(&args.words, rules, options(), console),
        Command::Verify(args) => verify::verify(&args.words, rules),
        Command::Launch(args) => launch::launch(args),
        Command::Components(args) => components::components(args),
        Command::SampleData(args) => sample_data::sample_data(args),
        Command::Statistics(args) => statistics::statistics(args),
        Command::Preview(args) => preview::preview(args),
        Command::SplitLabels(args) => split_labels::split_labels(args),
        Command::MergeLabels(args) => merge_labels::merge_labels(args),
        Command::MergeRuns(args) => merge_runs::merge_runs(args),
        Command::Report(args) => report::report(args),
        Command::View(args) => view::view(args),
        Command::ConvertWeights(args) => convert_weights::convert_weights(args),
        Command::Classes(args) => classes::classes(args),
        Command::Info(args) => info::info(args),
        Command::InitBundle(args) => init_bundle::init_bundle(&args.words, rules),
        Command::VerifyMetadata(args) => verify_metadata::verify_metadata(&args.words, rules),
        Command::VerifyNetInOut(args) => verify_net_in_out::verify_net_in_out(&args.words, rules, options(), console),
        Command::CkptExport(args) => ckpt_export::ckpt_export(&args.words, rules, options(), console),
        Command::Download(args) => download::download(&args.words, rules, console),
        Command::DownloadLargeFiles(args) => download::download_large_files(&args.words, rules, console),
        Command::Completions(args) => completions::completions(args),
        Command::Man(args) => completions::man(args),
    }
}

/// Set up libtorch before the first tensor: the caching allocator, CUDA if this libtorch has it, the thread count.
fn set_up_torch(threads: Option<u16>) {
    segbundle_native::install_allocator();
    let cuda = segbundle_native::load_cuda();
    if !cuda && std::path::Path::new("/proc/driver/nvidia/version").exists() {
        tracing::warn!(
            "this machine has an NVIDIA GPU, but this libtorch was built for CPU only; `make setup CUDA=1` downloads the CUDA build"
        );
    }
    let threads = threads.map_or_else(crate::env::compute_threads, usize::from);
    tch::set_num_threads(threads as i32);
    tracing::debug!("computing with {threads} threads");
}

/// Log the text of a panic at debug level only: panics in libtorch's bindings are converted to errors with a message.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| tracing::debug!("panic: {info}")));
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("8G"), Ok(8 << 30));
        assert_eq!(parse_size("1.5GiB"), Ok(3 << 29));
        assert_eq!(parse_size("100mb"), Ok(100 << 20));
        assert_eq!(parse_size("100000000"), Ok(100_000_000));
        for wrong in ["", "G", "8X", "-8G", "1K", "1e9", "nan"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
