//! Batches of samples for training and for expressions that iterate over a loader.

use super::pass::{LoaderPass, LoaderPosition, MakeItem, PassItem, PassWorker};
use crate::component::Value;
use crate::contracts::{CaseContext, Loader, Sample, TransformContext};
use crate::err;
use crate::error::{Error, Result};
use crate::random::RngStates;
use crate::torch::guard;
use std::sync::Arc;

/// Samples of one forward pass.
pub struct Batch {
    /// The datalist entry of each sample.
    pub entries: Vec<Value>,
    /// Results of the transforms; a random crop returns several samples per entry, with one entry for each.
    pub samples: Vec<Sample>,
}

/// Iterator over the batches of a pass, loaded by worker threads.
pub struct Batches(LoaderPass<'static, Result<Batch>>);

impl Batches {
    /// Begins a pass, which draws from torch's generator. `epoch`: see [`PassItem::Batch`]. `before`: position at the end of
    /// the previous pass.
    pub fn begin(
        loader: &Arc<Loader>,
        epoch: usize,
        before: Option<&LoaderPosition>,
        case: &CaseContext,
    ) -> Result<Batches> {
        let item = PassItem::Batch { epoch };
        let (pass, workers) = LoaderPass::begin(loader, item, before, case.budget_bytes, make(loader, case))?;
        Batches::start(pass, workers)
    }

    /// Resumes a pass, without draws from torch's generator.
    pub fn resume(loader: &Arc<Loader>, position: LoaderPosition, case: &CaseContext) -> Result<Batches> {
        let (pass, workers) =
            LoaderPass::resume(loader, PassItem::Batch { epoch: 0 }, position, case.budget_bytes, make(loader, case))?;
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
        match self.0.take() {
            None if !self.0.is_complete() => Some(Err(err!("a thread that loads data ended unexpectedly"))),
            next => next,
        }
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

/// Adds the case's name to an error that does not name one of its files.
fn named(error: Error, entry: &Value) -> Error {
    if error.is_of_data() { error } else { error.context(case_name(entry)) }
}

/// Name of a case in messages: its `image`, or the whole entry.
pub fn case_name(entry: &Value) -> String {
    let image = match entry {
        Value::Dict(dict) => dict.get("image"),
        _ => None,
    };
    image.as_ref().unwrap_or(entry).to_string()
}
