//! `segbundle view`: show images and label maps in the browser.

use super::signals;
use crate::error::Result;
use crate::server::Server;
use crate::text::count;
use crate::tools::view;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Output folder of a run, or images and label maps, or folders of them; label maps are recognized by their content
    /// and belong to images by name
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Images of label maps: one for all, or by name; PATHs then are label maps
    #[arg(long, value_name = "IMAGE", num_args = 1..)]
    image: Vec<PathBuf>,
    /// metadata.json of a bundle, for the names of the structures [default: names in the label map, else metadata.json
    /// beside it or in its bundle's configs folder]
    #[arg(long = "meta_file", alias = "meta-file", value_name = "FILE")]
    meta_file: Option<PathBuf>,
    /// Port on 127.0.0.1 [default: any free one]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    port: u16,
}

pub fn view(args: &Args) -> Result<()> {
    let niivue = view::niivue()?;
    let request = view::Request { paths: &args.paths, images: &args.image, meta_file: args.meta_file.as_deref() };
    let cases = view::find(&request)?;
    let (number, token) = (count(cases.len(), "case"), view::token()?);
    let stop = signals::stop_signals()?;
    let server = Server::start(view::router(cases, niivue, &token)?, args.port)?;
    super::show(&format!("http://{}/{token}/\n", server.address()))?;
    tracing::info!("showing {number} to programs on this machine that know this address; Ctrl-C stops");
    stop.wait();
    Ok(())
}
