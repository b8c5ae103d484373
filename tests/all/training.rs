//! A training as a user runs it: `configs/train.json` on a small sample set with a small network.

use crate::common::{results, text};
use segbundle::checkpoint::StateDict;
use segbundle::formats::nifti;
use segbundle::image::{Affine, DType, Voxels};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Five cases of 48×48×48 voxels of 8 mm, made once.
fn sample_data() -> &'static Path {
    static DATA: OnceLock<TempDir> = OnceLock::new();
    let data = DATA.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new(env!("CARGO_BIN_EXE_segbundle"))
            .args(["sample-data", "--cases", "6", "--size", "48", "48", "48", "--spacing", "8", "--output_dir"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", text(&made.stderr));
        folder
    });
    data.path()
}

pub struct Training(pub TempDir);

impl Training {
    /// Label files of the data, in order.
    fn labels(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path("data/labelsTr")).unwrap();
        let mut labels: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        labels.sort();
        labels
    }
    /// With the first `cases` of the sample set, to be changed at will.
    pub fn new(cases: usize) -> Training {
        let training = Training(tempfile::tempdir().unwrap());
        for folder in ["imagesTr", "labelsTr"] {
            std::fs::create_dir_all(training.path(&format!("data/{folder}"))).unwrap();
            let mut files: Vec<_> =
                std::fs::read_dir(sample_data().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            for file in &files[..cases] {
                std::fs::copy(file, training.path(&format!("data/{folder}")).join(file.file_name().unwrap())).unwrap();
            }
        }
        training
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn command(&self, options: &[&str], overrides: &[&str]) -> Command {
        self.command_named("run", options, overrides)
    }
    fn command_named(&self, name: &str, options: &[&str], overrides: &[&str]) -> Command {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/train.json");
        self.command_with(config.to_str().unwrap(), name, options, overrides)
    }
    /// With `configs` instead of train.json.
    pub fn command_with(&self, configs: &str, name: &str, options: &[&str], overrides: &[&str]) -> Command {
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,TERM", env!("CARGO_BIN_EXE_segbundle"), "--threads", "1"]).args(options);
        command.args([name, "--config_file", configs, "--logging_file", "False"]);
        command.args([
            "--dataset_dir",
            "data",
            "--highres",
            "False",
            "--batch_size",
            "2",
            "--max_epochs",
            "2",
            "--val_interval",
            "2",
        ]);
        command.args([
            "--device",
            "$torch.device('cpu')",
            "--network_def#init_filters",
            "8",
            "--network_def#blocks_down",
            "[1,1]",
        ]);
        command.args(["--network_def#blocks_up", "[1]", "--train#random_transforms#0#roi_size", "[16,16,16]"]);
        command.args(["--validate#crop#roi_size", "[32,32,32]", "--validate#inferer#roi_size", "[32,32,32]"]);
        command.args(overrides).current_dir(self.0.path());
        command
    }
    pub fn run(&self, overrides: &[&str]) -> Output {
        self.command(&[], overrides).output().unwrap()
    }
    pub fn resume(&self, overrides: &[&str]) -> Output {
        self.command(&["--resume"], overrides).output().unwrap()
    }
    /// Everything that a training that goes on starts from.
    pub fn state(&self) -> Vec<u8> {
        std::fs::read(self.path("models/resume/state.pt")).unwrap()
    }
    /// Replace the voxels of a file.
    fn change(&self, name: &str, dtype: DType, change: impl FnOnce(Vec<f32>) -> Voxels) {
        let path = self.path(name);
        let volume = nifti::read(&path).unwrap();
        let voxels = change(volume.to_f32_vec().unwrap());
        let layout = segbundle::image::Layout::contiguous(volume.layout.shape);
        nifti::write(&path, &voxels, &layout, &volume.affine, dtype, nifti::Options::default()).unwrap();
    }
}

pub fn ok(output: &Output) -> String {
    let log = text(&output.stderr);
    assert!(output.status.success(), "{log}");
    log
}

#[test]
fn a_training_logs_as_monai_does_and_keeps_the_best_weights() {
    let training = Training::new(5);
    let log = ok(&training.run(&[]));
    for line in [
        "Engine run resuming from iteration 0, epoch 0 until 2 epochs",
        "Epoch: 1/2, Iter: 2/2 -- train_loss: 5.",
        "Epoch[1] Metrics -- train_accuracy: 0.9",
        "Engine run resuming from iteration 0, epoch 1 until 2 epochs",
        "Got new best metric of val_mean_dice: 0.",
        "Epoch[2] Metrics -- val_accuracy: 0.9",
        "Key metric: train_accuracy best value: 0.9",
        "Epoch[2] Complete. Time taken: 00:00:",
    ] {
        assert!(log.contains(line), "expected \"{line}\" in {log}");
    }
    assert_eq!(results(&training.path("models")), ["model_lowres.pt", "previous.pt", "state.pt"]);
    let events = results(&training.path("eval"));
    assert!(events.len() == 2 && events.iter().all(|name| name.starts_with("events.out.tfevents.")), "{events:?}");
}

#[test]
fn equal_trainings_end_in_equal_bits_and_workers_have_their_own_random_numbers() {
    let (one, two, three) = (Training::new(5), Training::new(5), Training::new(5));
    ok(&one.run(&["--num_workers", "3"]));
    ok(&two.run(&["--num_workers", "3"]));
    ok(&three.run(&["--num_workers", "0"]));
    assert!(one.state() == two.state(), "two runs of one config differ");
    assert!(one.state() != three.state(), "crops do not depend on the workers");
}

/// Wait until the log has a line with `text`.
fn wait_for(child: &mut Child, text: &str) -> BufReader<std::process::ChildStderr> {
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the run ended without \"{text}\"");
    }
    log
}

#[test]
fn an_interrupted_training_goes_on_to_the_same_bits() {
    for workers in ["0", "2"] {
        let more = ["--num_workers", workers, "--batch_size", "1"];
        let whole = Training::new(5);
        ok(&whole.run(&more));
        let parts = Training::new(5);
        let mut child = parts.command(&[], &more).stderr(Stdio::piped()).spawn().unwrap();
        let mut rest = wait_for(&mut child, "Epoch: 1/2, Iter: 2/4");
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let mut log = String::new();
        rest.read_to_string(&mut log).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{log}");
        assert!(log.contains("`segbundle --resume run …` continues this training"), "{log}");
        assert!(log.contains("stopping after this iteration"), "{log}");
        let log = ok(&parts.resume(&more));
        assert!(log.contains("resumed from epoch ") && !log.contains("Epoch: 1/2, Iter: 1/4"), "{log}");
        assert!(parts.state() == whole.state(), "{workers} workers: the saved trainings differ");
        let best = |training: &Training| std::fs::read(training.path("models/model_lowres.pt")).unwrap();
        assert!(best(&parts) == best(&whole), "{workers} workers: the best weights differ");
    }
}

#[test]
fn a_longer_training_goes_on_from_a_finished_one() {
    let (long, short) = (Training::new(3), Training::new(3));
    ok(&long.run(&["--max_epochs", "3"]));
    ok(&short.run(&["--max_epochs", "1"]));
    let log = ok(&short.resume(&["--max_epochs", "3"]));
    assert!(log.contains("Engine run resuming from iteration 1, epoch 1 until 3 epochs"), "{log}");
    assert!(long.state() == short.state());
}

#[test]
fn a_damaged_state_gives_way_to_the_one_before_it() {
    let training = Training::new(3);
    ok(&training.run(&[]));
    let state = training.path("models/resume/state.pt");
    let whole = std::fs::read(&state).unwrap();
    std::fs::write(&state, &whole[..whole.len() / 2]).unwrap();
    let log = ok(&training.resume(&[]));
    assert!(log.contains("state.pt") && log.contains("previous.pt"), "{log}");
    assert!(training.state() == whole);
}

#[test]
fn a_state_of_another_training_is_refused_with_a_reason() {
    let training = Training::new(3);
    ok(&training.run(&[]));
    let before = training.state();
    for (more, what) in [
        (["--network_def#init_filters", "16"], "variables of SegResNet do not fit"),
        (["--batch_size", "1"], "has batches of 2 cases, this config of 1"),
        (["--val_cases", "2"], "has 2 cases, this config has 1"),
        (["--train#random_transforms#0#roi_size", "[16,16,32]"], "random_transforms::0::roi_size::2 (16, now 32)"),
        (["--num_workers", "1"], "had 4 workers, the config has 1"),
    ] {
        let output = training.resume(&[&more[..], &["--max_epochs", "3"]].concat());
        let log = text(&output.stderr);
        assert!(output.status.code() == Some(1) && log.contains(what) && log.contains("state.pt"), "{more:?}: {log}");
        assert!(training.state() == before, "{more:?}");
    }
}

#[test]
fn a_resume_or_start_that_fails_before_the_first_iteration_writes_no_checkpoint() {
    let training = Training::new(3);
    let saver = "{'_target_':'CheckpointSaver','save_dir':'@ckpt_dir','save_dict':{'model':'@network'},\
         'save_final':True,'final_filename':'trained.pt'}";
    let loader = "{'_target_':'CheckpointLoader','load_path':'missing.pt','load_dict':{'model':'@network'}}";
    let one = format!("[{saver}]");
    ok(&training.run(&["--train#handlers", &one, "--max_epochs", "1"]));
    let trained = || std::fs::read(training.path("models/trained.pt")).unwrap();
    let before = trained();
    let two = format!("[{saver},{loader}]");
    for (output, what) in [
        (
            training.resume(&["--train#handlers", &one, "--network_def#init_filters", "16"]),
            "variables of SegResNet do not fit",
        ),
        (training.run(&["--train#handlers", &two]), "missing.pt"),
    ] {
        let log = text(&output.stderr);
        assert!(output.status.code() == Some(1) && log.contains(what), "{log}");
        assert!(trained() == before, "{log}");
    }
}

#[test]
fn a_ckpt_dir_that_is_not_a_path_is_an_error() {
    let training = Training::new(3);
    for (value, what) in [("7", "expected a path, found int"), ("$1/0", "division by zero")] {
        let output = training.run(&["--ckpt_dir", value, "--train#handlers", "[]"]);
        let log = text(&output.stderr);
        assert!(output.status.code() != Some(0) && log.contains(what) && log.contains("ckpt_dir"), "{log}");
    }
}

#[test]
fn odd_sets_are_trained_on() {
    let training = Training::new(2);
    // One case in a batch of four, with more workers than cases, and a crop without any structure.
    let label = std::fs::read_dir(training.path("data/labelsTr"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .min()
        .unwrap();
    training.change(&format!("data/labelsTr/{}", label.to_str().unwrap()), DType::U8, |x| {
        Voxels::U8(vec![0; x.len()].into())
    });
    let log = ok(&training.run(&["--batch_size", "4", "--num_workers", "6"]));
    assert!(log.contains("Epoch: 2/2, Iter: 1/1 -- train_loss: "), "{log}");
}

/// A file of the training, how it is spoilt, and what is said of it.
type Fault = (&'static str, fn(&Training, &str), &'static str);

#[test]
fn bad_input_ends_the_training_with_its_file_named_and_nothing_lost() {
    let faults: [Fault; 5] = [
        ("labelsTr", |training, file| std::fs::remove_file(training.path(file)).unwrap(), "is missing"),
        (
            "labelsTr",
            |training, file| training.change(file, DType::U8, |x| Voxels::U8(vec![200; x.len()].into())),
            "found label 200",
        ),
        (
            "imagesTr",
            |training, file| training.change(file, DType::F32, |x| Voxels::F32(vec![f32::NAN; x.len()].into())),
            "NaN",
        ),
        ("labelsTr", |training, file| std::fs::write(training.path(file), b"no image").unwrap(), "expected"),
        ("labelsTr", crop, "voxels"),
    ];
    for (folder, spoil, message) in faults {
        let training = Training::new(3);
        ok(&training.run(&["--max_epochs", "1", "--val_interval", "1"]));
        let best = std::fs::read(training.path("models/model_lowres.pt")).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(training.path("data/imagesTr"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        let file = format!("data/{folder}/{}", names[0].to_str().unwrap());
        spoil(&training, &file);
        let output = training.resume(&["--max_epochs", "2", "--val_interval", "1", "--cache_rate", "0"]);
        let log = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}: {log}");
        let error = log.split("error: ").last().unwrap();
        assert!(
            error.contains(message) && error.contains(names[0].to_str().unwrap()),
            "expected \"{message}\" of {file} in {log}"
        );
        assert!(std::fs::read(training.path("models/model_lowres.pt")).unwrap() == best, "{message}");
        segbundle::checkpoint::load(training.path("models/resume/state.pt")).unwrap();
    }
}

#[test]
fn a_failed_first_iteration_keeps_the_final_weights_of_an_earlier_training() {
    let training = Training::new(3);
    let saver = "{'_target_': 'CheckpointSaver', 'save_dir': '@ckpt_dir', 'save_dict': {'model': '@network'}, \
                 'save_final': True, 'final_filename': 'final.pt'}";
    let arguments = ["--max_epochs", "1", "--train#handlers#2", saver];
    ok(&training.run(&arguments));
    let final_weights = std::fs::read(training.path("models/final.pt")).unwrap();
    for label in std::fs::read_dir(training.path("data/labelsTr")).unwrap() {
        let label = format!("data/labelsTr/{}", label.unwrap().file_name().to_str().unwrap());
        training.change(&label, DType::U8, |x| Voxels::U8(vec![200; x.len()].into()));
    }
    let output = training.run(&[&arguments[..], &["--seed", "7"]].concat());
    assert!(!output.status.success() && text(&output.stderr).contains("found label 200"), "{}", text(&output.stderr));
    assert!(std::fs::read(training.path("models/final.pt")).unwrap() == final_weights);
}

#[test]
fn folders_that_cannot_be_written_are_found_before_the_first_epoch() {
    let training = Training::new(3);
    std::fs::write(training.path("file"), "").unwrap();
    for (argument, message) in
        [("--ckpt_dir", "the training could not be saved"), ("--validate#handlers#2#save_dir", "CheckpointSaver: ")]
    {
        let output = training.run(&[argument, "file/models"]);
        let log = text(&output.stderr);
        assert!(!output.status.success() && log.contains(message) && !log.contains("Epoch"), "{argument}: {log}");
    }
}

/// Leave out the last slices of a label.
fn crop(training: &Training, file: &str) {
    let path = training.path(file);
    let volume = nifti::read(&path).unwrap();
    let [c, x, y, z] = volume.layout.shape;
    let voxels = Voxels::U8(vec![1; c * x * y * (z / 2)].into());
    let layout = segbundle::image::Layout::contiguous([c, x, y, z / 2]);
    nifti::write(&path, &voxels, &layout, &volume.affine, DType::U8, nifti::Options::default()).unwrap();
}

#[test]
fn a_loss_that_is_not_finite_ends_the_training_before_the_weights_are_spoilt() {
    let training = Training::new(3);
    ok(&training.run(&["--max_epochs", "1", "--val_interval", "1"]));
    let (state, best) = (training.state(), std::fs::read(training.path("models/model_lowres.pt")).unwrap());
    // The saved learning rate counts in a training that goes on, so this one begins anew from its own weights.
    let output = training.run(&["--max_epochs", "9", "--val_interval", "9", "--init_LR", "1e30"]);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    let error = log.split("error: ").last().unwrap();
    assert!(error.contains("the loss is ") && error.contains("iteration ") && error.contains("imagesTr/s00"), "{log}");
    assert!(std::fs::read(training.path("models/model_lowres.pt")).unwrap() == best);
    assert!(training.state() == state || log.contains("Epoch[1] Complete"), "{log}");
    segbundle::checkpoint::load(training.path("models/resume/failed.pt")).unwrap();
}

#[test]
fn a_training_is_explained_without_reading_a_case() {
    let training = Training::new(5);
    let command = training.command(&[], &[]);
    let args: Vec<_> =
        command.get_args().map(|arg| if arg == "run" { "explain".into() } else { arg.to_owned() }).collect();
    let output = Command::new("env").args(args).current_dir(training.0.path()).output().unwrap();
    ok(&output);
    let said = text(&output.stdout);
    assert!(said.contains("training: 4 cases in batches of 2, 2 iterations in an epoch, 2 epochs"), "{said}");
    assert!(said.contains("saved after every epoch in ./models/resume"), "{said}");
    assert!(!training.path("models").exists() && !training.path("eval").exists());
}

#[test]
fn a_full_disk_leaves_the_last_good_files_and_is_an_error() {
    let training = Training::new(3);
    ok(&training.run(&["--max_epochs", "1", "--val_interval", "1"]));
    let state = training.state();
    // No file may grow beyond 200 KiB: the weights alone still fit, the whole training does not.
    let command = training.command(&["--resume"], &["--max_epochs", "2", "--val_interval", "2"]);
    let script = "trap '' XFSZ; ulimit -f 400; exec env \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .args(command.get_args())
        .current_dir(training.0.path())
        .output()
        .unwrap();
    let log = text(&output.stderr);
    assert!(
        output.status.code() == Some(1) && log.contains("the previous state is kept") && !log.contains("ZipWriter"),
        "{log}"
    );
    assert!(training.state() == state);
    segbundle::checkpoint::load(training.path("models/model_lowres.pt")).unwrap();
    assert!(!results(&training.path("models")).iter().any(|name| name.contains(".partial-")));
}

#[test]
fn a_validation_that_lacks_a_case_makes_no_best_epoch() {
    let training = Training::new(4);
    let labels = training.labels();
    std::fs::write(labels.last().unwrap(), b"no label").unwrap();
    let output = training.run(&["--val_cases", "2", "--val_interval", "1", "--cache_rate", "0.0"]);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("1 of 2 cases failed, so the validation has no result"), "{log}");
    assert!(
        !log.contains("Got new best metric of val_mean_dice") && !training.path("models/model_lowres.pt").exists(),
        "{log}"
    );
}

#[test]
fn a_new_training_puts_an_earlier_one_aside_so_that_resume_cannot_mix_them_up() {
    let training = Training::new(3);
    ok(&training.run(&["--max_epochs", "1"]));
    let first = training.state();
    let log = ok(&training.run(&["--max_epochs", "1", "--seed", "7"]));
    assert!(log.contains("held an earlier training"), "{log}");
    assert_eq!(std::fs::read(training.path("models/resume/earlier.pt")).unwrap(), first);
    let second = training.state();
    assert!(second != first && !training.path("models/resume/previous.pt").exists());
    let log = ok(&training.run(&["--max_epochs", "1", "--seed", "8"]));
    assert!(log.contains("earlier-2.pt"), "{log}");
    for (name, state) in [("earlier.pt", first), ("earlier-2.pt", second)] {
        assert!(std::fs::read(training.path("models/resume").join(name)).unwrap() == state, "{name}");
    }
}

#[test]
fn verify_and_run_list_all_missing_files_of_a_training_at_once() {
    let training = Training::new(5);
    let labels = training.labels();
    labels[..3].iter().for_each(|label| std::fs::remove_file(label).unwrap());
    std::fs::write(labels.last().unwrap(), b"no label").unwrap();
    std::fs::write(training.path("models"), b"no folder").unwrap();
    let verify = training.command_named("verify", &[], &["--val_cases", "1"]).output().unwrap();
    let report = text(&verify.stdout);
    assert_eq!(verify.status.code(), Some(2), "{report}");
    for part in ["3 of 4 files under `label` are missing: data/labelsTr/", "expected a NIfTI header", "models"] {
        assert!(report.contains(part), "expected \"{part}\" in {report}");
    }
    std::fs::remove_file(training.path("models")).unwrap();
    let run = training.run(&["--val_cases", "1"]);
    let log = text(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{log}");
    assert!(log.contains("3 of 4 files under `label` are missing: data/labelsTr/"), "{log}");
    assert!(!log.contains("Epoch") && !training.path("models").exists(), "{log}");
}

#[test]
fn a_state_that_does_not_say_what_it_was_trained_on_is_resumed() {
    let training = Training::new(3);
    ok(&training.run(&["--max_epochs", "1"]));
    let path = training.path("models/resume/state.pt");
    let StateDict::Dict(mut entries) = segbundle::checkpoint::load(&path).unwrap().state().unwrap() else { panic!() };
    let before = entries.len();
    entries.retain(|(key, _)| !matches!(key, StateDict::Str(key) if key == "data"));
    assert_eq!(entries.len(), before - 1);
    segbundle::checkpoint::save_state(&path, &StateDict::Dict(entries)).unwrap();
    ok(&training.resume(&["--train#random_transforms#0#roi_size", "[16,16,32]"]));
}

#[test]
fn what_a_changed_config_does_not_change_is_said() {
    let training = Training::new(3);
    ok(&training.run(&["--max_epochs", "1"]));
    let log = ok(&training.resume(&["--max_epochs", "2", "--init_LR", "0.5"]));
    assert!(log.contains("the config has changed since this training was saved") && log.contains("init_LR"), "{log}");
}

#[test]
fn a_training_that_a_handler_has_ended_stays_ended() {
    let training = Training::new(3);
    let stopper = "{'_target_':'EarlyStopHandler','patience':1,'score_function':'$lambda engine: 0.0'}";
    let initialize = "['$monai.utils.set_determinism(seed=1)', '$@train#stopper.set_trainer(@train#trainer)']";
    let handlers = "['@train#stopper']";
    let overrides =
        ["--max_epochs", "6", "--train#stopper", stopper, "--train#handlers", handlers, "--initialize", initialize];
    let log = ok(&training.run(&overrides));
    assert!(log.contains("Terminate signaled. Engine will stop after current iteration is finished."), "{log}");
    let ended = training.state();
    let log = ok(&training.resume(&overrides));
    assert!(log.contains("a handler ended this training in epoch 2"), "{log}");
    assert_eq!(training.state(), ended);
}

/// A batch norm sees a batch before its loss fails.
#[test]
fn a_failed_iteration_leaves_no_trace_in_running_statistics() {
    let whole = Training::new(3);
    let overrides = ["--network_def#norm", "BATCH", "--cache_rate", "0.0", "--num_workers", "0", "--max_epochs", "1"];
    ok(&whole.run(&overrides));
    let broken = Training::new(3);
    let label =
        std::fs::read_dir(broken.path("data/labelsTr")).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let good = std::fs::read(&label).unwrap();
    let name = format!("data/labelsTr/{}", label.file_name().unwrap().to_str().unwrap());
    broken.change(&name, DType::U8, |values| Voxels::U8(vec![200; values.len()].into()));
    let output = broken.run(&overrides);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    std::fs::write(&label, good).unwrap();
    ok(&broken.resume(&overrides));
    assert_eq!(broken.state(), whole.state());
}

/// A validation after an iteration, with a handler behind it that changes the learning rate.
#[test]
fn handlers_that_an_interrupt_kept_from_an_iteration_are_told_when_it_goes_on() {
    let handlers = "[{'_target_':'ValidationHandler','validator':'@validate#evaluator','interval':1,'epoch_level':False},\
                     {'_target_':'LrScheduleHandler','epoch_level':False,'lr_scheduler':\
                      {'_target_':'torch.optim.lr_scheduler.StepLR','optimizer':'@optimizer','step_size':1,'gamma':0.5}}]";
    let overrides = ["--train#handlers", handlers, "--validate#inferer#overlap", "0.9"];
    let whole = Training::new(3);
    ok(&whole.run(&overrides));
    let broken = Training::new(3);
    let mut child = broken.command(&[], &overrides).stderr(Stdio::piped()).spawn().unwrap();
    // The validation's; the training's goes until 2 epochs.
    let mut rest = wait_for(&mut child, "Engine run resuming from iteration 0, epoch 0 until 1 epochs");
    let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    let mut log = String::new();
    rest.read_to_string(&mut log).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(log.contains("stopping after this window"), "{log}");
    ok(&broken.resume(&overrides));
    assert_eq!(broken.state(), whole.state());
}

#[test]
fn a_missing_folder_of_several_datasets_is_one_mistake() {
    let training = Training::new(1);
    let output = training.command_named("verify", &[], &["--dataset_dir", "nowhere"]).output().unwrap();
    let report = text(&output.stdout);
    assert_eq!(report.matches("`dataset_dir`: the folder nowhere does not exist").count(), 1, "{report}");
}

#[test]
fn values_by_case_of_an_interrupted_validation_are_those_of_all_cases() {
    let handlers = "[{'_target_':'MetricsSaver','save_dir':'metrics','metric_details':'*','batch_transform':\
                    \"$lambda x: [xx['image'].meta for xx in x]\"}]";
    let more = ["--val_cases", "3", "--validate#inferer#overlap", "0.9", "--validate#handlers", handlers];
    let rows = |training: &Training| std::fs::read_to_string(training.path("metrics/val_mean_dice_raw.csv")).unwrap();
    let whole = Training::new(5);
    ok(&whole.run(&more));
    let parts = Training::new(5);
    let mut child = parts.command(&["-v"], &more).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = wait_for(&mut child, "Engine run resuming from iteration 0, epoch 1 until 2 epochs");
    // The first case is computed, the second is in the network.
    let mut line = String::new();
    while !line.contains("AsDiscreted: ") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0);
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert!(!parts.path("metrics/val_mean_dice_raw.csv").exists(), "the validation was complete");
    ok(&parts.resume(&more));
    assert_eq!(rows(&parts), rows(&whole));
    assert_eq!(rows(&whole).lines().count(), 4);
}

/// The network's size is 2^levels: no crop of 15 voxels can be halved.
#[test]
fn a_crop_that_the_network_cannot_take_is_an_error_with_the_cases_and_the_argument() {
    let training = Training::new(5);
    let output = training.run(&["--train#random_transforms#0#roi_size", "[15,16,16]"]);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    let line = log.lines().find(|line| line.contains("expected axes that are multiples of 2, found [15, 16, 16]"));
    assert!(line.is_some_and(|line| line.contains("cases ") && line.contains(".nii.gz")), "{log}");
    assert!(log.contains("`roi_size`") && log.contains("SpatialPadd"), "{log}");
}

#[test]
fn a_label_that_does_not_lie_on_its_image_ends_a_training_before_its_first_epoch() {
    type Change = fn(&mut Affine);
    let faults: [(&str, Change); 3] = [
        ("saved with the identity", |affine| *affine = Affine::IDENTITY),
        ("off by 9 mm", |affine| affine.0[0][3] += 9.0),
        ("mirrored", |affine| affine.0[0][0] = -affine.0[0][0]),
    ];
    // The last case is one of the validation.
    for (case, cache_rate) in [(0, "1.0"), (0, "0.0"), (3, "0.0")] {
        for (what, change) in faults {
            let training = Training::new(4);
            let files = |folder: &str| {
                let entries = std::fs::read_dir(training.path(&format!("data/{folder}"))).unwrap();
                let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
                files.sort();
                files
            };
            let (image, label) = (files("imagesTr").swap_remove(case), files("labelsTr").swap_remove(case));
            let mut volume = nifti::read(&label).unwrap();
            change(&mut volume.affine);
            let dtype = volume.voxels.dtype();
            nifti::write(&label, &volume.voxels, &volume.layout, &volume.affine, dtype, Default::default()).unwrap();
            let output = training.run(&["--val_cases", "2", "--val_interval", "1", "--cache_rate", cache_rate]);
            let log = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{what}: {log}");
            let error = log.split("error: ").last().unwrap();
            let name = |path: &Path| path.strip_prefix(training.0.path()).unwrap().display().to_string();
            assert!(error.contains(&name(&image)) && error.contains(&name(&label)), "{what}: {log}");
            assert!(error.contains(" mm apart"), "{what}: {log}");
            assert!(what != "off by 9 mm" || error.contains("corners are 9.0 mm apart"), "{log}");
            assert!(!log.contains("Engine run resuming") && !training.path("models/resume").exists(), "{what}: {log}");
        }
    }
}

/// The lines of ignite 0.5.5 for `ValidationHandler(..., exec_at_start=True)`: the trainer stands in epoch 0.
#[test]
fn a_validation_at_the_start_is_that_of_epoch_0() {
    let training = Training::new(3);
    let handlers =
        "[{'_target_':'ValidationHandler','validator':'@validate#evaluator','interval':1,'exec_at_start':True}]";
    let log = ok(&training.run(&["--max_epochs", "1", "--train#handlers", handlers]));
    let lines = [
        "Engine run resuming from iteration 0, epoch -1 until 1 epochs",
        "Epoch[0] Metrics -- ",
        "at epoch: 0",
        "Epoch[0] Complete.",
    ];
    for line in lines {
        assert!(log.contains(line), "expected \"{line}\" in {log}");
    }
}

/// ignite handles exceptions; a KeyboardInterrupt is none.
#[test]
fn an_interrupted_training_writes_no_final_checkpoint() {
    let training = Training::new(3);
    let handlers = "[{'_target_':'ValidationHandler','validator':'@validate#evaluator','interval':999},\
          {'_target_':'CheckpointSaver','save_dir':'@ckpt_dir','save_dict':{'model':'@network'},'save_final':True}]";
    let overrides = ["--train#handlers", handlers, "--max_epochs", "500", "--batch_size", "1"];
    let mut child = training.command(&["-v"], &overrides).stderr(Stdio::piped()).spawn().unwrap();
    let mut rest = wait_for(&mut child, "iteration 2");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    rest.read_to_string(&mut String::new()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!results(&training.path("models")).iter().any(|name| name.starts_with("model_final")));
}

#[test]
fn a_second_training_in_a_checkpoint_folder_is_refused_as_is_a_part_of_one() {
    let training = Training::new(3);
    let many = ["--batch_size", "1", "--max_epochs", "1000"];
    let mut first = training.command(&[], &many).stderr(Stdio::piped()).spawn().unwrap();
    let _log = wait_for(&mut first, "Epoch: 1/1000, Iter: 1/");
    let second = training.command(&[], &many).output().unwrap();
    let log = text(&second.stderr);
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(second.status.code(), Some(1), "{log}");
    assert!(log.contains("another run writes to ") && log.contains("models/resume: process "), "{log}");
    let part = training.command(&["--part", "0/2"], &[]).output().unwrap();
    let log = text(&part.stderr);
    assert!(part.status.code() == Some(2) && log.contains("SupervisedTrainer needs all cases"), "{log}");
}
