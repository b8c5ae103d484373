//! `segbundle launch`: start the ranks of a distributed run on this node, as torchrun does, without Python.

use super::signals::{self, StopSignals};
use crate::error::{Kind, Result};
use crate::text::count;
use crate::{bail, err};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time that the other ranks have to end after SIGTERM, before they are killed.
const GRACE: Duration = Duration::from_secs(30);
/// Interval at which the ranks and signals are looked at.
const POLL_EVERY: Duration = Duration::from_millis(10);
/// Bytes after which a line of a rank's output is broken.
const MAX_LINE: u64 = 64 << 10;
/// Lines of a rank's log in which the error of a failed rank is looked for.
const KEPT_LINES: usize = 64;
/// torchrun's port for runs on several nodes.
const PORT: u16 = 29500;

/// Options that continue the work of an earlier start.
const CONTINUE: [&str; 2] = ["--resume", "--skip-existing"];

#[derive(clap::Args)]
pub struct Args {
    /// Number of ranks on this node
    #[arg(long, alias = "nproc_per_node", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    nproc_per_node: u16,
    /// Number of nodes; start the same command on each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    nnodes: u16,
    /// Number of this node, from 0
    #[arg(long, alias = "node_rank", value_name = "N", default_value_t = 0)]
    node_rank: u16,
    /// Address of node 0 [default: 127.0.0.1 for one node]
    #[arg(long, alias = "master_addr", value_name = "HOST")]
    master_addr: Option<String>,
    /// Port on node 0 [default: a free one for one node, else 29500]
    #[arg(long, alias = "master_port", value_name = "PORT")]
    master_port: Option<u16>,
    /// Start all ranks again up to N times if one fails: a training from its last saved state, an inference with
    /// `--skip-existing`
    #[arg(long, alias = "max_restarts", value_name = "N", default_value_t = 0)]
    max_restarts: u32,
    /// Arguments of segbundle in each rank
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// How the ranks ended.
enum Outcome {
    Done,
    /// A signal was forwarded to the ranks.
    Interrupted,
    Failed {
        rank: usize,
        status: ExitStatus,
        /// The last error in the rank's log.
        error: String,
    },
}

/// Runs the ranks until all have ended.
pub fn launch(args: &Args) -> Result<()> {
    let (nodes, node) = (args.nnodes, args.node_rank);
    if node >= nodes {
        return Err(err!("`--node-rank`: expected 0 to {}, found {node}", nodes - 1).kind(Kind::Config));
    }
    if nodes > 1 && args.master_addr.is_none() {
        return Err(err!("`--master-addr` is missing: several nodes need the address of node 0").kind(Kind::Config));
    }
    let mut signals = signals::stop_signals()?;
    let mut restarts = 0;
    loop {
        let more: &[&str] = if restarts > 0 { &CONTINUE[..] } else { &[] };
        let (rank, status, error) = match Ranks::start(args, more)?.run(&mut signals) {
            Outcome::Done => return Ok(()),
            Outcome::Interrupted => return Err(err!("interrupted").kind(Kind::Cancelled)),
            Outcome::Failed { rank, status, error } => (rank, status, error),
        };
        let ended = ended(status);
        // A usage or config error would occur again.
        if restarts < args.max_restarts && status.code() != Some(2) {
            restarts += 1;
            tracing::warn!(
                "rank {rank} {ended}; all ranks are started again with {} ({restarts} of {})",
                CONTINUE.join(" "),
                count(args.max_restarts as usize, "restart")
            );
            continue;
        }
        let text = if error.is_empty() { String::new() } else { format!(":\n{error}") };
        return Err(err!("rank {rank} {ended}{text}").kind(if status.code() == Some(2) {
            Kind::Config
        } else {
            Kind::Run
        }));
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "failed".into(),
    }
}

/// The processes of one start.
struct Ranks(Vec<Rank>);

struct Rank {
    rank: usize,
    child: Child,
    ended: Option<ExitStatus>,
    /// The last lines of its log.
    log: Arc<Mutex<VecDeque<String>>>,
    output: Vec<JoinHandle<()>>,
}

impl Ranks {
    fn start(args: &Args, more: &[&str]) -> Result<Ranks> {
        let local = usize::from(args.nproc_per_node);
        let world = local * usize::from(args.nnodes);
        let address = args.master_addr.as_deref().unwrap_or("127.0.0.1");
        let port = match args.master_port {
            Some(port) => port,
            None if args.nnodes > 1 => PORT,
            None => free_port()?,
        };
        let first = local * usize::from(args.node_rank);
        tracing::info!("starting ranks {first} to {} of {world}; rank 0 is at {address}:{port}", first + local - 1);
        let program = std::env::current_exe().map_err(|error| err!("cannot find this program: {error}"))?;
        let mut ranks = Ranks(vec![]);
        for index in 0..local {
            let rank = first + index;
            let mut command = Command::new(&program);
            command.args(more.iter().filter(|option| !args.command.iter().any(|word| word == *option)));
            command.args(&args.command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.env("MASTER_ADDR", address).env_remove("TORCHELASTIC_USE_AGENT_STORE");
            for (name, value) in [
                ("RANK", rank),
                ("LOCAL_RANK", index),
                ("WORLD_SIZE", world),
                ("LOCAL_WORLD_SIZE", local),
                ("MASTER_PORT", usize::from(port)),
            ] {
                command.env(name, value.to_string());
            }
            if local > 1 && std::env::var_os("OMP_NUM_THREADS").is_none() {
                if index == 0 {
                    tracing::info!(
                        "each rank computes with one thread, as under torchrun; OMP_NUM_THREADS sets another number"
                    );
                }
                command.env("OMP_NUM_THREADS", "1");
            }
            // Dropping the ranks ends those that have started.
            let child = command.spawn().map_err(|error| err!("cannot start rank {rank}: {error}"))?;
            ranks.0.push(Rank::new(rank, child)?);
        }
        Ok(ranks)
    }

    fn run(mut self, signals: &mut StopSignals) -> Outcome {
        let mut failed: Option<(usize, ExitStatus)> = None;
        let (mut deadline, mut interrupted) = (None, false);
        while self.0.iter().any(|rank| rank.ended.is_none()) {
            for signal in signals.received() {
                interrupted = true;
                self.signal(signal);
            }
            for at in 0..self.0.len() {
                let Some((rank, status)) = self.0[at].poll() else { continue };
                if !status.success() && failed.is_none() && !interrupted {
                    failed = Some((at, status));
                    tracing::error!("rank {rank} {}; ending the others", ended(status));
                    self.signal(signal_hook::consts::SIGTERM);
                    deadline = Some(Instant::now() + GRACE);
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                tracing::warn!("killing the ranks that did not end within {} s", GRACE.as_secs());
                self.signal(signal_hook::consts::SIGKILL);
                deadline = None;
            }
            std::thread::sleep(POLL_EVERY);
        }
        for output in self.0.iter_mut().flat_map(|rank| rank.output.drain(..)) {
            let _ = output.join();
        }
        match failed {
            Some((at, status)) => Outcome::Failed { rank: self.0[at].rank, status, error: self.0[at].error() },
            None if interrupted => Outcome::Interrupted,
            None => Outcome::Done,
        }
    }

    /// Sends a signal to the ranks that have not ended.
    fn signal(&self, signal: i32) {
        for rank in self.0.iter().filter(|rank| rank.ended.is_none()) {
            if let Err(error) = segbundle_native::send_signal(rank.child.id(), signal) {
                tracing::debug!("cannot signal rank {}: {error}", rank.rank);
            }
        }
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        for rank in self.0.iter_mut().filter(|rank| rank.ended.is_none()) {
            let _ = rank.child.kill();
            let _ = rank.child.wait();
        }
    }
}

impl Rank {
    fn new(rank: usize, mut child: Child) -> Result<Rank> {
        let log: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            bail!("rank {rank} has no output");
        };
        let output = vec![
            std::thread::spawn(move || prefix(rank, out, &mut std::io::stdout(), None)),
            std::thread::spawn({
                let log = log.clone();
                move || prefix(rank, err, &mut std::io::stderr(), Some(&*log))
            }),
        ];
        Ok(Rank { rank, child, ended: None, log, output })
    }

    /// Whether the rank has ended since the last call.
    fn poll(&mut self) -> Option<(usize, ExitStatus)> {
        if self.ended.is_some() {
            return None;
        }
        self.ended = self.child.try_wait().ok().flatten();
        self.ended.map(|status| (self.rank, status))
    }

    /// The last error in the log: its line and those that follow.
    fn error(&self) -> String {
        let log = self.log.lock();
        let is_error = |line: &String| line.starts_with("error: ") || line.contains(r#""level":"ERROR""#);
        let start = log.iter().rposition(is_error).unwrap_or(log.len());
        log.iter().skip(start).map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
    }
}

/// Copies lines with the prefix `[rank 0] `, and keeps the last ones in `log`.
fn prefix(rank: usize, from: impl Read, to: &mut impl Write, log: Option<&Mutex<VecDeque<String>>>) {
    let mut input = BufReader::new(from);
    loop {
        let mut line = format!("[rank {rank}] ").into_bytes();
        let start = line.len();
        match input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        // One write per line keeps the lines of several ranks apart; output that nobody reads is dropped.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        if let Some(log) = log {
            let mut log = log.lock();
            log.push_back(String::from_utf8_lossy(&line[start..]).into_owned());
            if log.len() > KEPT_LINES {
                log.pop_front();
            }
        }
    }
}

fn free_port() -> Result<u16> {
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(port.map_err(|error| err!("cannot find a free port: {error}"))?.port())
}
