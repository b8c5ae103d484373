//! Several ranks on the CPU: exchanges in one process, and the program started once per rank as torchrun does.

use crate::common::text;
use crate::training::{Training, ok};
use segbundle::checkpoint;
use segbundle_native::{ProcessGroup, Reducer, ReducerOptions, Reduction, Store};
use std::collections::HashMap;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor};

/// Time after which a test is not waited for.
const LIMIT: Duration = Duration::from_secs(300);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// ---------------------------------------------------------------- exchanges in one process

/// Calls `work` on one thread per rank of a group.
fn in_group<T: Send>(size: usize, work: impl Fn(usize, &ProcessGroup) -> T + Sync) -> Vec<T> {
    let (port, timeout, work) = (free_port(), Duration::from_secs(20), &work);
    std::thread::scope(|scope| {
        let rank = |rank: usize| {
            scope.spawn(move || {
                let store = Store::new("127.0.0.1", port, rank == 0, size, timeout).unwrap();
                let group = ProcessGroup::gloo(&store, rank, size, timeout).unwrap();
                let result = work(rank, &group);
                // Not a barrier, which uses a tensor that all threads of a process share.
                group.all_gather_bytes(&[]).unwrap();
                result
            })
        };
        let threads: Vec<_> = (0..size).map(rank).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn ranks_exchange_tensors_and_bytes() {
    let results = in_group(3, |rank, group| {
        let mut sum = Tensor::from_slice(&[rank as i64 + 1, 10]);
        group.all_reduce(&mut sum, Reduction::Sum).unwrap();
        let mut max = Tensor::from_slice(&[rank as i32]);
        group.all_reduce(&mut max, Reduction::Max).unwrap();
        let first = [Tensor::from_slice(&[rank as f32 + 0.5]), Tensor::from_slice(&[rank as i64])];
        group.broadcast(&first).unwrap();
        let bytes = group.all_gather_bytes(&vec![rank as u8; 2 * rank]).unwrap();
        let empty = group.all_gather_bytes(&[]).unwrap();
        let numbers = |tensor: &Tensor| Vec::<f64>::try_from(&tensor.to_kind(Kind::Double)).unwrap();
        (numbers(&sum), numbers(&max), first.map(|tensor| numbers(&tensor)), bytes, empty)
    });
    for (sum, max, first, bytes, empty) in results {
        assert_eq!((sum, max, first), (vec![6.0, 30.0], vec![2.0], [vec![0.5], vec![0.0]]));
        assert_eq!(bytes, [vec![], vec![1; 2], vec![2; 4]]);
        assert_eq!(empty, [vec![], vec![], Vec::<u8>::new()]);
    }
}

#[test]
fn the_first_value_of_a_key_stays_and_counters_add_up() {
    let store = Store::new("127.0.0.1", free_port(), true, 1, Duration::from_secs(5)).unwrap();
    assert_eq!(store.get("a").unwrap(), None);
    assert_eq!(store.set_first("a", b"one").unwrap(), b"one");
    assert_eq!(store.set_first("a", b"two").unwrap(), b"one");
    assert_eq!(store.get("a").unwrap().unwrap(), b"one");
    assert_eq!((store.add("n", 2).unwrap(), store.add("n", 0).unwrap()), (2, 2));
    assert!(!store.is_connecting().unwrap());
}

/// Two parameters, of which a pass uses both or the first only.
fn parameters(rank: usize) -> Vec<(String, Tensor)> {
    let one = |name: &str, value: f32| {
        let tensor = Tensor::full([4, 3], f64::from(value), (Kind::Float, Device::Cpu)).set_requires_grad(true);
        (name.to_owned(), tensor)
    };
    vec![one("a", 1.0 + rank as f32), one("b", 3.0 * rank as f32)]
}

#[test]
fn gradients_are_the_mean_over_the_ranks_and_accumulate_without_an_exchange() {
    let results = in_group(2, |rank, group| {
        let params = parameters(rank);
        let buffers = [Tensor::from_slice(&[rank as i64 + 5])];
        let options = ReducerOptions { find_unused: true, ..ReducerOptions::default() };
        let reducer = Reducer::new(group, &params, &buffers, &options).unwrap();
        let pass = |scale: f64, both: bool, averages: bool| {
            if averages {
                reducer.before_forward().unwrap();
            }
            let x = &params[0].1 * scale * (rank as f64 + 1.0);
            let y = if both { x + &params[1].1 * 2.0 } else { x };
            if averages {
                reducer.before_backward(&y).unwrap();
            }
            y.sum(Kind::Float).backward();
        };
        let gradient = |at: usize| params[at].1.grad().double_value(&[0, 0]);
        let starts = params.iter().map(|(_, tensor)| tensor.double_value(&[0, 0])).collect::<Vec<_>>();
        pass(10.0, true, true);
        let first = [gradient(0), gradient(1)];
        segbundle_native::clear_gradients(&params.iter().map(|(_, tensor)| tensor.shallow_clone()).collect::<Vec<_>>())
            .unwrap();
        pass(1.0, false, false);
        let local = gradient(0);
        pass(1.0, false, true);
        (starts, buffers[0].int64_value(&[0]), first, local, gradient(0))
    });
    for (rank, (starts, buffer, first, local, accumulated)) in results.into_iter().enumerate() {
        // Parameters and buffers of rank 0.
        assert_eq!((starts, buffer), (vec![1.0, 0.0], 5));
        // (10·1 + 10·2)/2, and 2 on both ranks.
        assert_eq!(first, [15.0, 2.0]);
        // 1·(rank + 1) once, then the mean of 2 and 4.
        assert_eq!((local, accumulated), (rank as f64 + 1.0, 3.0));
    }
}

/// Functions of autograd in C++ end in the same gradients: SegResNet's fused training blocks.
#[test]
fn fused_training_blocks_end_in_averaged_gradients() {
    use segbundle_native::training::{NormRelu, norm_head};
    let work = |rank: usize, group: Option<&ProcessGroup>| {
        let value = |shape: &[i64], from: f64| {
            let n: i64 = shape.iter().product();
            (Tensor::arange(n, (Kind::Float, Device::Cpu)) * 0.37 + from).sin().reshape(shape)
        };
        let shapes: [(&str, &[i64]); 4] = [("w", &[8]), ("b", &[8]), ("m", &[3, 8, 1, 1, 1]), ("o", &[3])];
        let params: Vec<(String, Tensor)> = shapes
            .iter()
            .map(|(name, shape)| ((*name).to_owned(), value(shape, 0.5).set_requires_grad(true)))
            .collect();
        let reducer = group.map(|group| Reducer::new(group, &params, &[], &ReducerOptions::default()).unwrap());
        if let Some(reducer) = &reducer {
            reducer.before_forward().unwrap();
        }
        let x = value(&[1, 8, 4, 4, 4], rank as f64);
        let norm = NormRelu { weight: &params[0].1, bias: &params[1].1, groups: 4, eps: 1e-5 };
        let y = norm_head(&x, norm, &params[2].1, &params[3].1).unwrap();
        if let Some(reducer) = &reducer {
            reducer.before_backward(&y).unwrap();
        }
        y.square().sum(Kind::Float).backward();
        params.iter().map(|(_, tensor)| tensor.grad().copy()).collect::<Vec<_>>()
    };
    let alone = [work(0, None), work(1, None)];
    for gradients in in_group(2, |rank, group| work(rank, Some(group))) {
        for (at, gradient) in gradients.iter().enumerate() {
            let mean = (&alone[0][at] + &alone[1][at]) / 2.0;
            assert_eq!((gradient - mean).abs().max().double_value(&[]), 0.0, "parameter {at}");
        }
    }
}

#[test]
fn a_rank_that_does_not_come_is_an_error_after_the_timeout() {
    let began = Instant::now();
    let store = Store::new("127.0.0.1", free_port(), true, 2, Duration::from_secs(1)).unwrap();
    assert!(ProcessGroup::gloo(&store, 0, 2, Duration::from_secs(1)).is_err());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

// ---------------------------------------------------------------- the program on several ranks

/// A process of the program, and what it has written so far.
struct Rank {
    child: Child,
    log: JoinHandle<String>,
}

struct Ended {
    status: ExitStatus,
    log: String,
    seconds: f64,
}

/// Processes that end with the test.
struct Ranks(Vec<Rank>, Instant);

impl Drop for Ranks {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|rank| drop(rank.child.kill()));
    }
}

impl Ranks {
    /// Starts `size` ranks of the command that `make` returns.
    fn start(size: usize, mut make: impl FnMut(usize) -> Command) -> Ranks {
        let port = free_port();
        let ranks = (0..size).map(|rank| {
            let mut command = make(rank);
            // A rank's own variables come first.
            let own: Vec<String> =
                command.get_envs().map(|(name, _)| name.to_string_lossy().into_owned()).collect::<Vec<_>>();
            for (name, value) in [
                ("MASTER_ADDR", "127.0.0.1".to_owned()),
                ("MASTER_PORT", port.to_string()),
                ("RANK", rank.to_string()),
                ("LOCAL_RANK", rank.to_string()),
                ("WORLD_SIZE", size.to_string()),
            ] {
                if !own.iter().any(|set| set == name) {
                    command.env(name, value);
                }
            }
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let mut stderr = child.stderr.take().unwrap();
            let log = std::thread::spawn(move || {
                let mut bytes = vec![];
                stderr.read_to_end(&mut bytes).unwrap();
                text(&bytes)
            });
            Rank { child, log }
        });
        Ranks(ranks.collect(), Instant::now())
    }
    fn signal(&self, rank: usize, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.0[rank].child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
    /// Waits for all ranks.
    fn wait(mut self) -> Vec<Ended> {
        let mut ended: Vec<Option<(ExitStatus, f64)>> = vec![None; self.0.len()];
        while ended.iter().any(Option::is_none) {
            assert!(self.1.elapsed() < LIMIT, "ranks have not ended: {ended:?}");
            for (rank, ended) in self.0.iter_mut().zip(&mut ended) {
                if ended.is_none() {
                    *ended = rank.child.try_wait().unwrap().map(|status| (status, self.1.elapsed().as_secs_f64()));
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let ranks = std::mem::take(&mut self.0);
        let joined = ranks.into_iter().zip(ended).map(|(rank, ended)| {
            let (status, seconds) = ended.unwrap();
            Ended { status, log: rank.log.join().unwrap(), seconds }
        });
        joined.collect()
    }
    /// Waits for all ranks, which succeed; their logs.
    fn succeed(self) -> Vec<String> {
        let one = |ended: Ended| {
            assert!(ended.status.success(), "{}", ended.log);
            ended.log
        };
        self.wait().into_iter().map(one).collect()
    }
}

fn configs(names: &[&str]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let paths = names.iter().map(|name| match name.ends_with(".json") {
        true => format!("'{name}'"),
        false => format!("'{}'", folder.join(format!("{name}.json")).display()),
    });
    format!("[{}]", paths.collect::<Vec<_>>().join(","))
}

/// No dropout and no random crops, so that the ranks' batches are those of one process.
const FIXED: [&str; 4] = [
    "--network_def#dropout_prob",
    "0.0",
    "--train#random_transforms",
    "[{'_target_':'CenterSpatialCropd','keys':['image','label'],'roi_size':[16,16,16]}]",
];

impl Training {
    /// A training on several ranks.
    fn ranks(&self, size: usize, options: &[&str], overrides: &[&str]) -> Ranks {
        let files = configs(&["train", "multi_gpu_train"]);
        Ranks::start(size, |_| self.command_with(&files, "run", options, overrides))
    }
}

/// The weights in a checkpoint.
fn weights(path: &Path) -> HashMap<String, Tensor> {
    checkpoint::load(path).unwrap().state_dict(None).unwrap().into_iter().collect()
}

/// Ten steps on four cases: of one process in batches of four, of two ranks in batches of two, of four in batches of one.
#[test]
fn ranks_train_the_weights_of_one_process_with_their_batches_together() {
    let trained = |ranks: usize, batch_size: &str| {
        let training = Training::new(5);
        let saver = "{'_target_':'CheckpointSaver','save_dir':'@ckpt_dir','save_dict':{'model':'@network'},\
                     'save_final':True,'final_filename':'trained.pt'}";
        let steps = "{'_target_':'StatsHandler','tag_name':'loss',\
                     'output_transform':'$monai.handlers.from_engine([\\'loss\\'], first=True)'}";
        let handlers = format!("[{saver},{steps},{steps}]");
        let more = [
            &FIXED[..],
            &["--batch_size", batch_size, "--max_epochs", "10", "--train#handlers", &handlers],
            &["--train#trainer#train_handlers", "$@train#handlers[: 2 if dist.get_rank() > 0 else None]"],
        ];
        // Every rank compares its weights with those of rank 0 at the end.
        let logs = training.ranks(ranks, &[], &more.concat()).succeed();
        assert!(logs[0].contains("Epoch: 10/10, Iter: 1/1 -- loss: "), "{}", logs[0]);
        weights(&training.path("models/trained.pt"))
    };
    let one = trained(1, "4");
    for (ranks, batch_size) in [(2, "2"), (4, "1")] {
        let several = trained(ranks, batch_size);
        assert_eq!(one.len(), several.len());
        for (name, weight) in &one {
            let difference = (weight - &several[name]).abs().max().double_value(&[]);
            // AdamW moves a weight by up to 1e-4 per step; gradients are added in another order.
            assert!(difference < 2e-5, "{ranks} ranks: {name} differs by {difference}");
        }
    }
}

/// A network trained for one step, for evaluations.
fn model() -> &'static [u8] {
    static MODEL: OnceLock<Vec<u8>> = OnceLock::new();
    MODEL.get_or_init(|| {
        let training = Training::new(3);
        ok(&training.run(&["--max_epochs", "1", "--val_interval", "1"]));
        std::fs::read(training.path("models/model_lowres.pt")).unwrap()
    })
}

/// The tables that an evaluation of `cases` cases writes.
fn evaluated(ranks: usize, cases: &str) -> (HashMap<String, Vec<u8>>, Vec<String>, serde_json::Value) {
    let training = Training::new(5);
    std::fs::create_dir_all(training.path("models")).unwrap();
    std::fs::write(training.path("models/model_lowres.pt"), model()).unwrap();
    let files = match ranks {
        0 => configs(&["train", "evaluate"]),
        _ => configs(&["train", "evaluate", "multi_gpu_evaluate"]),
    };
    let logs = Ranks::start(ranks.max(1), |_| {
        let mut command = crate::common::program(training.0.path());
        command.args(["--threads", "1", "run", "--config_file", &files, "--logging_file", "False"]);
        command.args(["--dataset_dir", "data", "--val_cases", cases, "--highres", "False"]);
        command.args(["--device", "$torch.device('cpu')", "--validate#inferer#roi_size", "[32,32,32]"]);
        command.args(["--network_def#init_filters", "8", "--network_def#blocks_down", "[1,1]"]);
        command.args(["--network_def#blocks_up", "[1]"]);
        command
    })
    .succeed();
    let tables = std::fs::read_dir(training.path("eval")).unwrap().map(|entry| entry.unwrap().path());
    let tables = tables.filter(|path| path.extension().is_some_and(|extension| extension == "csv"));
    let read = |path: std::path::PathBuf| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap())
    };
    let record = serde_json::from_slice(&std::fs::read(training.path("eval/run.json")).unwrap()).unwrap();
    (tables.map(read).collect(), logs, record)
}

#[test]
fn tables_of_an_evaluation_on_several_ranks_are_those_of_one_process() {
    let (one, ..) = evaluated(0, "5");
    assert!(one.contains_key("val_mean_dice_raw.csv") && one.contains_key("metrics.csv"), "{:?}", one.keys());
    for ranks in [2, 3] {
        let (several, logs, record) = evaluated(ranks, "5");
        assert!(several == one, "{ranks} ranks: {}", text(&several["val_mean_dice_raw.csv"]));
        let indices: Vec<u64> =
            record["cases"].as_array().unwrap().iter().map(|case| case["index"].as_u64().unwrap()).collect();
        assert_eq!((indices, record["status"].as_str()), (vec![0, 1, 2, 3, 4], Some("done")));
        assert!(logs[0].contains("[1/5]") && !logs[1].contains("Epoch[1] Metrics"), "{}", logs[1]);
    }
}

#[test]
fn an_evaluation_has_fewer_cases_than_ranks() {
    let (one, ..) = evaluated(0, "1");
    let (several, ..) = evaluated(3, "1");
    assert!(several == one, "{}", text(&several["val_mean_dice_raw.csv"]));
}

#[test]
fn a_training_on_ranks_that_is_interrupted_goes_on_to_the_same_bits() {
    let more = ["--max_epochs", "6", "--batch_size", "1", "--num_workers", "1"];
    let whole = Training::new(5);
    whole.ranks(2, &[], &more).succeed();
    let parts = Training::new(5);
    let ranks = parts.ranks(2, &[], &more);
    wait_until(|| parts.path("models/resume/state.pt").exists());
    // One rank: the other stops with it.
    ranks.signal(1, "INT");
    for Ended { status, log, .. } in ranks.wait() {
        assert_eq!(status.code(), Some(130), "{log}");
    }
    let logs = parts.ranks(2, &["--resume"], &more).succeed();
    assert!(logs[0].contains("resumed from epoch "), "{}", logs[0]);
    assert!(parts.state() == whole.state(), "the saved trainings differ");

    let killed = Training::new(5);
    let ranks = killed.ranks(2, &[], &more);
    wait_until(|| killed.path("models/resume/previous.pt").exists());
    (0..2).for_each(|rank| ranks.signal(rank, "KILL"));
    ranks.wait();
    killed.ranks(2, &["--resume"], &more).succeed();
    assert!(killed.state() == whole.state(), "the saved trainings differ after a kill");

    // Another number of ranks goes on, too, and says what changes.
    for ranks in [1, 3] {
        let more = ["--max_epochs", "8", "--batch_size", "1", "--num_workers", "1"];
        let logs = killed.ranks(ranks, &["--resume"], &more).succeed();
        assert!(logs[0].contains("this training was saved with ") && logs[0].contains("Epoch[8]"), "{}", logs[0]);
        std::fs::write(killed.path("models/resume/state.pt"), whole.state()).unwrap();
    }
}

fn wait_until(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "waited in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_killed_rank_ends_the_others_with_its_number() {
    for (dead, what) in [(1, "rank 1 failed: it was killed"), (0, "rank 0 failed: ")] {
        let training = Training::new(5);
        let ranks = training.ranks(2, &[], &["--max_epochs", "10000", "--val_interval", "10000"]);
        wait_until(|| training.path("models/resume/state.pt").exists());
        ranks.signal(dead, "KILL");
        let killed = ranks.1.elapsed().as_secs_f64();
        let Ended { status, log, seconds } = ranks.wait().swap_remove(1 - dead);
        assert!(status.code() == Some(1) && log.contains(what), "{log}");
        assert!(seconds - killed < 30.0, "{} s: {log}", seconds - killed);
    }
}

#[test]
fn a_rank_that_does_not_go_on_is_an_error_after_the_timeout() {
    let training = Training::new(5);
    let timeout = ["--rank_timeout", "$datetime.timedelta(seconds=5)"];
    let more = [&["--max_epochs", "10000", "--val_interval", "10000"][..], &timeout].concat();
    let ranks = training.ranks(2, &[], &more);
    wait_until(|| training.path("models/resume/state.pt").exists());
    ranks.signal(1, "STOP");
    let stopped = ranks.1.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_secs(20));
    ranks.signal(1, "CONT");
    for (rank, Ended { status, log, seconds }) in ranks.wait().into_iter().enumerate() {
        assert!(status.code() == Some(1) && log.contains("rank "), "rank {rank}: {log}");
        assert!(rank == 1 || seconds - stopped < 30.0, "{} s: {log}", seconds - stopped);
    }
}

#[test]
fn a_rank_that_fails_ends_the_others_with_its_error() {
    let training = Training::new(5);
    let files = configs(&["train", "multi_gpu_train"]);
    let ranks = Ranks::start(2, |rank| {
        let loss = if rank == 1 { "$1/0" } else { "$0" };
        training.command_with(&files, "run", &[], &["--more", loss, "--run", "['$@more','$@train#trainer.run()']"])
    });
    let ended = ranks.wait();
    assert!(ended[1].log.contains("division by zero") && !ended[1].log.contains("rank 0"), "{}", ended[1].log);
    assert!(ended[0].log.contains("rank 1 failed: ") && ended[0].log.contains("division by zero"), "{}", ended[0].log);
    assert!(ended.iter().all(|ended| !ended.status.success() && ended.seconds < 60.0), "{}", ended[0].log);
}

/// Ranks that only join the group, within five seconds.
fn joining(size: usize, environment: impl Fn(usize) -> Vec<(&'static str, String)>) -> Vec<Ended> {
    let folder = tempfile::tempdir().unwrap();
    let config = r#"{"imports": ["$import torch.distributed as dist", "$import datetime"],
        "initialize": ["$dist.init_process_group('gloo', timeout=datetime.timedelta(seconds=5))"],
        "run": ["$dist.barrier()", "$print(dist.get_rank(), dist.get_world_size(), dist.get_backend())"],
        "finalize": ["$dist.is_initialized() and dist.destroy_process_group()"]}"#;
    std::fs::write(folder.path().join("join.json"), config).unwrap();
    let ranks = Ranks::start(size, |rank| {
        let mut command = crate::common::program(folder.path());
        command.args(["run", "--config_file", "join.json", "--meta_file", "None"]).envs(environment(rank));
        command
    });
    ranks.wait()
}

#[test]
fn what_is_wrong_with_the_environment_is_said_at_once_by_all_ranks() {
    assert!(joining(3, |_| vec![]).iter().all(|ended| ended.status.success()));
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let one = |name: &'static str, value: &str| vec![(name, value.to_owned())];
    type Environment<'a> = Box<dyn Fn(usize) -> Vec<(&'static str, String)> + 'a>;
    let cases: [(usize, Environment, &str); 7] = [
        (1, Box::new(|_| one("RANK", "")), "the environment variable RANK is not set"),
        (1, Box::new(|_| one("WORLD_SIZE", "two")), "WORLD_SIZE is 'two', expected a number"),
        (1, Box::new(|_| one("MASTER_PORT", "99999")), "MASTER_PORT is '99999', expected a port"),
        (1, Box::new(|_| one("RANK", "1")), "found RANK 1 and WORLD_SIZE 1"),
        (1, Box::new(|_| one("MASTER_PORT", &port)), "the port is in use"),
        (2, Box::new(|rank| one("WORLD_SIZE", ["2", "3"][rank])), "WORLD_SIZE is "),
        (2, Box::new(|_| one("RANK", "0").into_iter().chain(one("WORLD_SIZE", "2")).collect()), "RANK 0"),
    ];
    for (size, environment, message) in cases {
        // Two processes with rank 0 both hold a store: the second one finds the port in use.
        for Ended { status, log, seconds } in joining(size, environment) {
            let both = message == "RANK 0";
            assert!(!status.success() && (both || log.contains(message)), "{message}: {log}");
            assert!(seconds < 20.0, "{seconds} s: {log}");
        }
    }
}

#[test]
fn a_rank_that_never_comes_is_named() {
    for Ended { status, log, seconds } in joining(2, |_| vec![("WORLD_SIZE", "3".to_owned())]) {
        assert!(!status.success(), "{log}");
        assert!(
            log.contains("expected 3 ranks, but after 5.0 s these have not come: 2") || log.contains("rank "),
            "{log}"
        );
        assert!((4.0..25.0).contains(&seconds), "{seconds} s: {log}");
    }
}

#[test]
fn without_ranks_a_config_that_asks_for_them_says_how_to_start_it() {
    let training = Training::new(3);
    let files = configs(&["train", "multi_gpu_train"]);
    let run = |name: &str| {
        let mut command = training.command_with(&files, name, &[], &[]);
        command.env_remove("RANK").env_remove("WORLD_SIZE").env("LOCAL_RANK", "0").output().unwrap()
    };
    let output = run("run");
    let log = text(&output.stderr);
    assert!(output.status.code() == Some(2) && log.contains("torchrun --standalone"), "{log}");
    // These commands connect to no other process.
    for name in ["verify", "explain"] {
        let output = run(name);
        assert!(output.status.success(), "{name}: {}{}", text(&output.stdout), text(&output.stderr));
    }
}
