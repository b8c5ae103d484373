//! Commands with the arguments of `python -m monai.bundle`, which python-fire parses: any order, any spelling of
//! hyphens, Python literals as values, `--args_file`. [`CommandArgs`] declares the arguments for parsing, help,
//! completions and man pages.

use super::console::Console;
use crate::bundle::args::PARAMETERS;
use crate::bundle::{Arguments, Parameter, Rules, RunArgs};
use crate::data::datalist;
use crate::err;
use crate::error::{Error, Kind, Result};
use clap::{Arg, ArgAction, ValueHint};

/// The words after a command that clap leaves to [`CommandArgs::parse`].
#[derive(clap::Args)]
pub struct RawArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS", hide = true)]
    pub words: Vec<String>,
}

/// Arguments of a command.
pub struct CommandArgs {
    /// Name of the command.
    pub command: &'static str,
    /// Parameters in MONAI's order: words without a flag are assigned to the first ones.
    pub parameters: &'static [Parameter],
    /// The arguments in the line "Usage".
    pub usage: &'static str,
    /// Whether other arguments override values of the config.
    pub overrides: bool,
    /// Text at the end of the help.
    pub examples: &'static str,
}

/// All commands with such arguments.
const COMMANDS: &[&CommandArgs] = &[
    &RUN,
    &VERIFY,
    &EXPLAIN,
    &super::worker::ARGS,
    &super::init_bundle::ARGS,
    &super::verify_metadata::ARGS,
    &super::verify_net_in_out::ARGS,
    &super::ckpt_export::ARGS,
    &super::download::ARGS,
    &super::download::LARGE_FILES,
];

const USAGE: &str = "--config_file FILE [ARGS] [--KEY VALUE ...]";

/// `segbundle run`.
pub const RUN: CommandArgs = CommandArgs {
    command: "run",
    parameters: PARAMETERS,
    usage: USAGE,
    overrides: true,
    examples: "\
Examples:
  segbundle run --config_file configs/inference.json --datalist \"['a.nii.gz','b.nii.gz']\"
  segbundle run --config_file configs/inference.json --device cpu",
};
/// `segbundle verify`.
pub const VERIFY: CommandArgs = CommandArgs {
    command: "verify",
    examples: "\
Example:
  segbundle verify --config_file configs/inference.json --datalist \"['a.nii.gz','b.nii.gz']\"",
    ..RUN
};
/// `segbundle explain`.
pub const EXPLAIN: CommandArgs = CommandArgs {
    command: "explain",
    examples: "\
Example:
  segbundle --max-memory 4G explain --config_file configs/inference.json",
    ..RUN
};

const OVERRIDES: &str = "\
Any other argument overrides a config value:
  --output_dir out --displayable_configs#highres False --bundle_root DIR
";
const LISTS: &str = "\
A list of cases can be a file:
  --datalist cases.csv      column `image`, or the first one; further columns are further keys
  --datalist cases.jsonl    one path or object per line; cases.txt: one path per line
  --datalist -              paths or JSON lines from standard input
";
const OPTIONS: &str = "Options of segbundle precede the command; `segbundle --help` lists them.";

impl CommandArgs {
    /// The arguments that the words give; `None` if they ask for help, which is printed.
    ///
    /// # Errors
    /// See [`Arguments::parse`].
    pub fn parse(&self, words: &[String], rules: Rules) -> Result<Option<Arguments>> {
        if words.iter().any(|word| word == "--help" || word == "-h") {
            let mut cli = documented();
            let help = cli.find_subcommand_mut(self.command).map(|command| command.render_help().to_string());
            super::show(&help.unwrap_or_default())?;
            return Ok(None);
        }
        Arguments::parse(words, self.parameters, rules).map(Some)
    }

    /// The arguments of a run, with lists of cases read from their files; `None` if the words ask for help.
    ///
    /// # Errors
    /// Besides those of [`Arguments::into_run`]: an argument is an option of segbundle and not a key of the config; a list
    /// of cases cannot be read.
    pub fn parse_run(&self, words: &[String], rules: Rules) -> Result<Option<RunArgs>> {
        let Some(arguments) = self.parse(words, rules)? else { return Ok(None) };
        let mut args = arguments.into_run(rules)?;
        super::run::check_options(self.command, &args)?;
        datalist::read_overrides(&mut args)?;
        Ok(Some(args))
    }

    fn document(&self, command: clap::Command) -> clap::Command {
        let mut parameters: Vec<&Parameter> = self.parameters.iter().collect();
        parameters.sort_by_key(|parameter| parameter.name != "config_file");
        let args = parameters.iter().enumerate().map(|(at, parameter)| {
            let hint = match parameter.value {
                "FILE" => ValueHint::FilePath,
                "DIR" => ValueHint::DirPath,
                _ => ValueHint::Other,
            };
            let arg = Arg::new(parameter.name).long(parameter.name).value_name(parameter.value);
            arg.help(parameter.help).value_hint(hint).display_order(at)
        });
        let help = Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Print help");
        let lists = (self.parameters == PARAMETERS).then_some(LISTS);
        let notes = [self.overrides.then_some(OVERRIDES), lists, Some(OPTIONS), Some(self.examples)];
        let notes: Vec<&str> = notes.into_iter().flatten().filter(|note| !note.is_empty()).collect();
        command
            .override_usage(format!("segbundle [OPTIONS] {} {}", self.command, self.usage))
            .args(args)
            .arg(help.display_order(parameters.len()))
            .after_help(notes.iter().map(|note| note.trim_end()).collect::<Vec<_>>().join("\n\n"))
    }
}

/// Prints all errors except the last one, which is returned.
pub fn printed(mut errors: Vec<Error>, console: &Console) -> Error {
    let last = errors.pop().unwrap_or_else(|| err!("the config cannot run").kind(Kind::Config));
    errors.iter().for_each(|error| console.error(error));
    last
}

/// The whole command line, with the arguments that clap does not parse: for help, completions and man pages.
pub fn documented() -> clap::Command {
    COMMANDS
        .iter()
        .fold(super::command_line(), |cli, args| cli.mut_subcommand(args.command, |command| args.document(command)))
}
