//! `segbundle explain`: shows what `run` would do with the same arguments, from image headers and two seconds of
//! inference.

use super::console::Console;
use crate::bundle::Rules;
use crate::contracts::{
    CaseExplanation, Certainty, Engine, EvaluationExplanation, ExplainedInference, ExplainedStep, Explanation,
    OnPrediction, TrainingExplanation, VoxelLocation,
};
use crate::err;
use crate::error::Result;
use crate::run::{CHECKPOINT_FOLDER, EngineStart, RunContext, RunOptions};
use crate::text::{self, count};
use crate::workflow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Maximum number of files listed per case: there may be one mask for each of a hundred structures.
const SHOWN_FILES: usize = 8;

/// Print the explanation to stdout. Side effects of the config other than running its engine (loading a checkpoint,
/// setting a seed) happen as in a run.
///
/// # Errors
/// A case that cannot run.
pub fn explain(argv: &[String], rules: Rules, options: RunOptions, console: &Console) -> Result<()> {
    let Some(args) = super::monai::EXPLAIN.parse_run(argv, rules)? else { return Ok(()) };
    crate::distributed::simulate();
    let mut warn = super::console::warn;
    args.warnings.iter().for_each(&mut warn);
    let plan = super::run::prepared(&args, console, &mut warn)?;
    let mut explain = |engine: &dyn Engine, start: &Arc<EngineStart>| match engine.explain(start)? {
        Explanation::Evaluation(evaluation) => {
            super::show(&evaluation_text(&evaluation))?;
            match (evaluation.failures(), evaluation.cases.len()) {
                (0, _) => Ok(()),
                (failures, total) => {
                    Err(err!("{failures} of {} cannot run; the reasons are above", count(total, "case")))
                }
            }
        }
        Explanation::Training(training) => super::show(&training_text(&training)),
    };
    workflow::with_engines(plan, &Arc::new(RunContext::new(options)), &mut explain, &mut warn)
}

fn evaluation_text(explanation: &EvaluationExplanation) -> String {
    let mut out = String::new();
    let EvaluationExplanation { network, in_channels, out_channels, precision, device, threads, .. } = explanation;
    let _ = writeln!(
        out,
        "{network}, {in_channels} -> {out_channels} channels, {precision} on {device}, {threads} threads; {} may be used",
        text::bytes(explanation.memory_bytes)
    );
    write_postprocessing(explanation, &mut out);
    let total = explanation.cases.len();
    for (index, case) in explanation.cases.iter().enumerate() {
        let _ = writeln!(out, "\n[{}/{total}] {}", index + 1, case.name);
        write_case(case, &mut out);
    }
    let seconds: f64 = explanation.cases.iter().map(CaseExplanation::seconds).sum();
    let _ = writeln!(
        out,
        "\n{}: about {} in the network; {} cannot run",
        count(total, "case"),
        time_text(seconds),
        explanation.failures()
    );
    out
}

fn training_text(training: &TrainingExplanation) -> String {
    let mut out = format!(
        "training: {} in batches of {}, {} in an epoch, {}\n{}: {} parameters; weights, gradients and the optimizer's averages take about {}\n",
        count(training.cases, "case"),
        training.batch_size,
        count(training.iterations_per_epoch, "iteration"),
        count(training.epochs, "epoch"),
        training.network,
        training.parameters,
        text::bytes(training.parameters as u64 * 16),
    );
    let _ = match &training.saved_in {
        Some(folder) => writeln!(out, "saved after every epoch in {}", folder.display()),
        None => writeln!(out, "not saved: the config has no {CHECKPOINT_FOLDER}"),
    };
    out
}

fn write_postprocessing(explanation: &EvaluationExplanation, out: &mut String) {
    let (classes, features) = (explanation.out_channels, explanation.blended_channels);
    let how = if features < classes {
        format!("windows are blended as {features} features, the last layer is applied once per voxel after that")
    } else {
        format!("windows are blended as {features} channels")
    };
    let _ = writeln!(out, "  windows              {how}");
    // From the first operation that needs all channels on, or after the first result, nothing is fused with the windows.
    let (mut dense, mut discrete) = (false, false);
    for (name, effect) in &explanation.postprocessing {
        let what = match effect {
            OnPrediction::Labels | OnPrediction::Masks | OnPrediction::Relabeled if discrete => {
                "executed as a separate step, on labels or masks"
            }
            OnPrediction::Recorded if dense => "computed on all channels",
            OnPrediction::Labels if dense => "one class index per voxel, from all channels",
            OnPrediction::Masks if dense => "one byte per channel and voxel, from all channels",
            OnPrediction::Recorded => "fused with the next operation, box by box",
            OnPrediction::Labels => "fused with the windows: one class index per voxel, not all channels at once",
            OnPrediction::Masks => "fused with the windows: one byte per channel and voxel",
            OnPrediction::Moved => "one pass over the result, nearest-neighbor",
            OnPrediction::Interpolated => {
                "all channels on the network's grid, interpolated one at a time by the next operation"
            }
            OnPrediction::AllChannels | OnPrediction::Relabeled => {
                "needs all channels at once, four bytes per voxel each"
            }
            OnPrediction::Written => "compressed and written while the next case is in the network",
            OnPrediction::Other => "executed as a separate step",
        };
        discrete |= matches!(effect, OnPrediction::Labels | OnPrediction::Masks);
        dense |= matches!(effect, OnPrediction::Interpolated | OnPrediction::AllChannels);
        let _ = writeln!(out, "  {:<20} {what}", name);
    }
}

fn write_case(case: &CaseExplanation, out: &mut String) {
    let mut before: Option<&ExplainedStep> = None;
    for step in &case.steps {
        let same = before.is_some_and(|before| before.shape == step.shape && before.affine == step.affine);
        let note = match (step.certainty, same) {
            (Certainty::UpperBound, _) => "  upper bound: depends on voxels or random numbers",
            (Certainty::Unknown, _) => "  unknown: depends on a function in the config",
            (Certainty::Exact, true) => "  unchanged",
            (Certainty::Exact, false) if step.voxels == VoxelLocation::Streamed => "  while the file is read",
            (Certainty::Exact, false) => "",
        };
        let [c, x, y, z] = step.shape;
        let [a, b, d] = step.affine.spacing_mm();
        let _ = writeln!(
            out,
            "  {:<20} {c} × {x}×{y}×{z}  {a:.2}×{b:.2}×{d:.2} mm  {}{note}",
            step.transform,
            step.dtype.name()
        );
        before = Some(step);
    }
    if let Some(inference) = &case.inference {
        write_inference(inference, out);
    }
    if !case.memory.is_empty() {
        let parts: Vec<String> =
            case.memory.iter().map(|(what, bytes)| format!("{what} {}", text::bytes(*bytes))).collect();
        let _ =
            writeln!(out, "  memory               about {}: {}", text::bytes(case.memory_bytes()), parts.join(", "));
    }
    for path in case.outputs.iter().take(SHOWN_FILES) {
        let exists = if path.exists() { " (exists)" } else { "" };
        let _ = writeln!(out, "  writes               {}{exists}", path.display());
    }
    if case.outputs.len() > SHOWN_FILES {
        let _ = writeln!(out, "  writes               and {} more files", case.outputs.len() - SHOWN_FILES);
    }
    if let Some(error) = &case.error {
        let _ = writeln!(out, "  error: {}", error.to_string().replace('\n', "\n  "));
    }
}

fn write_inference(inference: &ExplainedInference, out: &mut String) {
    let plan = &inference.plan;
    let again = if plan.strips > 1 {
        format!(" ({} including repeated ones, in {} strips)", plan.runs, plan.strips)
    } else {
        String::new()
    };
    let _ = writeln!(out, "  windows              {} of {}{again}", plan.windows, shape_text(plan.window));
    let _ = writeln!(
        out,
        "  time                 about {} in the network ({} for a window, from {} voxels)",
        time_text(inference.seconds_per_window * plan.runs as f64),
        time_text(inference.seconds_per_window),
        shape_text(inference.measured)
    );
}

fn shape_text([x, y, z]: [usize; 3]) -> String {
    format!("{x}×{y}×{z}")
}

fn time_text(seconds: f64) -> String {
    text::duration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}
