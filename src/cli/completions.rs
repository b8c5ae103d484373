//! `segbundle completions` and `segbundle man`: files for shells and manuals, made from the declared arguments.

use super::monai::documented;
use crate::error::Result;
use crate::formats::atomic;
use crate::text::count;
use clap_complete::Shell;
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct CompletionsArgs {
    /// Shell that completes the arguments
    shell: Shell,
}

#[derive(clap::Args)]
pub struct ManArgs {
    /// Output folder
    #[arg(value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
}

pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut documented(), "segbundle", &mut script);
    super::show(&String::from_utf8_lossy(&script))
}

/// Writes a page for the program and one for each command.
pub fn man(args: &ManArgs) -> Result<()> {
    let mut cli = documented().disable_help_subcommand(true);
    cli.build();
    let pages: Vec<_> =
        std::iter::once(&cli).chain(cli.get_subcommands()).cloned().map(clap_mangen::Man::new).collect();
    for page in &pages {
        let mut text = vec![];
        page.render(&mut text)?;
        atomic::write_file(args.dir.join(page.get_filename()), |file, _| Ok(file.write_all(&text)?))?;
    }
    tracing::info!("wrote {} to {}", count(pages.len(), "manual page"), args.dir.display());
    Ok(())
}
