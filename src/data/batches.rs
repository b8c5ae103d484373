//! Batches of samples for training and for expressions that iterate over a loader.

use super::pass::{LoaderPass, LoaderPosition, MakeItem, PassItem, PassWorker};
use crate::component::Value;
use crate::contracts::{CaseContext, Loader, Sample, TransformContext};
use crate::err;
use crate::error::{Error, Result};
use crate::random::RngStates;
use crate::torch::guard;
use std::sync::Arc;

/// Samples that go through the network together.
pub struct Batch {
    /// The datalist's entries that they came from.
    pub entries: Vec<Value>,
    pub samples: Vec<Sample>,
}

/// A pass over a loader, batch by batch, whose workers are threads.
pub struct Batches(LoaderPass<'static, Result<Batch>>);

impl Batches {
    /// Begins a pass, which draws from torch's generator. `before`: where the pass before it ended.
    pub fn begin(loader: &Arc<Loader>, before: Option<&LoaderPosition>, case: &CaseContext) -> Result<Batches> {
        let (pass, workers) =
            LoaderPass::begin(loader, PassItem::Batch, before, case.budget_bytes, make(loader, case))?;
        Batches::start(pass, workers)
    }

    /// Resumes a pass; draws nothing.
    pub fn resume(loader: &Arc<Loader>, position: LoaderPosition, case: &CaseContext) -> Result<Batches> {
        let (pass, workers) =
            LoaderPass::resume(loader, PassItem::Batch, position, case.budget_bytes, make(loader, case))?;
        Batches::start(pass, workers)
    }

    fn start(
        pass: LoaderPass<'static, Result<Batch>>,
        workers: Vec<PassWorker<'static, Result<Batch>>>,
    ) -> Result<Batches> {
        for worker in workers {
            let thread = std::thread::Builder::new().name("loader".into()).spawn(|| worker.run());
            thread.map_err(|error| err!("cannot start a thread that loads data: {error}"))?;
        }
        Ok(Batches(pass))
    }

    /// The next batch; `None` at the end of the pass.
    pub fn next_batch(&mut self) -> Option<Result<Batch>> {
        self.0.take()
    }

    /// The position after the last batch.
    pub fn position(&self) -> LoaderPosition {
        self.0.position()
    }
}

fn make(loader: &Arc<Loader>, case: &CaseContext) -> Arc<MakeItem<'static, Result<Batch>>> {
    let (loader, case) = (loader.clone(), case.clone());
    Arc::new(move |_, cases, rng| {
        let batch = guard(|| load(&loader, cases, rng, &case));
        let bytes = batch.iter().flat_map(|batch| &batch.samples).map(Sample::bytes).sum();
        (batch, bytes)
    })
}

fn load(loader: &Loader, cases: &[usize], rng: &mut RngStates, case: &CaseContext) -> Result<Batch> {
    let (mut entries, mut samples) = (vec![], vec![]);
    for &index in cases {
        case.check()?;
        let entry = loader.dataset.entry(index)?;
        let mut cx = TransformContext { case, writes: &mut vec![], rng };
        let loaded = loader.dataset.get(index, &mut cx).map_err(|error| named(error, &entry))?;
        entries.extend(std::iter::repeat_n(entry, loaded.len()));
        samples.extend(loaded);
    }
    Ok(Batch { entries, samples })
}

/// An error of a case, with the case's name if no file is named yet.
fn named(error: Error, entry: &Value) -> Error {
    match error.get_file() {
        Some(_) => error,
        None => error.context(case_name(entry)),
    }
}

/// What to call a case of a datalist: its image.
pub fn case_name(entry: &Value) -> String {
    let image = match entry {
        Value::Dict(dict) => dict.get("image"),
        _ => None,
    };
    image.as_ref().unwrap_or(entry).to_string()
}
