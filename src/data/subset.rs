//! Subset (torch.utils.data.Subset, torch 2.11): items of a dataset, list or array at given indices.

use crate::component::{BuildContext, Object, Value};
use crate::contracts::{Dataset, DatasetHandle, RngStates, RunContext, Sample, Transform, TransformContext};
use crate::err;
use crate::error::{Kind, Result};
use crate::formats::digest::FileDigests;
use std::sync::Arc;

component! {
    /// Subset of a dataset at given indices.
    pub static COMPONENT = value "Subset" in "torch.utils.data" / "dataset";

    pub struct SubsetArgs {
        /// Dataset, list or array to select from.
        dataset: Value,
        /// Indices of the items, in order; negative ones count from the end.
        #[no_effect_on_results]
        indices: Vec<i64>,
    }

    differs: ["an index out of range is an error at once"],
    build in context: subset,
}

fn subset(args: SubsetArgs, context: &mut BuildContext) -> Result<Value> {
    let dataset = args.dataset.downcast::<DatasetHandle>();
    let length = match (&dataset, &args.dataset) {
        (Some(dataset), _) => Some(dataset.0.len()),
        (None, Value::Object(object)) => object.length(),
        (None, value) => value.as_sequence().map(|items| items.len()),
    };
    let length = length.ok_or_else(|| {
        err!("argument `dataset`: expected a dataset, list or array, found {}", args.dataset.type_name())
            .kind(Kind::Config)
    })?;
    context.charge(args.indices.len())?;
    let number = |index: &i64| {
        let at = if *index < 0 { length.checked_add_signed(*index as isize) } else { usize::try_from(*index).ok() };
        at.filter(|at| *at < length)
            .ok_or_else(|| err!("index {index} is out of range for {length} items").kind(Kind::Config))
    };
    let indices = args.indices.iter().map(number).collect::<Result<Vec<usize>>>()?;
    Ok(match dataset {
        Some(dataset) => Value::object(DatasetHandle(Arc::new(Subset { dataset: dataset.0.clone(), indices }))),
        None => Value::object(Picked { items: args.dataset, indices }),
    })
}

struct Subset {
    dataset: Arc<dyn Dataset>,
    indices: Vec<usize>,
}

impl Subset {
    fn at(&self, index: usize) -> Result<usize> {
        self.indices
            .get(index)
            .copied()
            .ok_or_else(|| err!("case index {index} is out of range for {} cases", self.indices.len()))
    }
}

impl Dataset for Subset {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn len(&self) -> usize {
        self.indices.len()
    }
    fn entry(&self, index: usize) -> Result<Value> {
        self.dataset.entry(self.at(index)?)
    }
    fn transforms(&self) -> &[Arc<dyn Transform>] {
        self.dataset.transforms()
    }
    fn prepare(&self, run: &RunContext, digests: Option<&FileDigests>) -> Result<()> {
        self.dataset.prepare(run, digests)
    }
    fn sample(&self, index: usize) -> Result<Sample> {
        self.dataset.sample(self.at(index)?)
    }
    fn reads_files(&self) -> bool {
        self.dataset.reads_files()
    }
    fn seed(&self, seed: u32, rng: &mut RngStates) {
        self.dataset.seed(seed, rng);
    }
    fn get(&self, index: usize, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        self.dataset.get(self.at(index)?, cx)
    }
}

/// Subset of a list or an array.
struct Picked {
    items: Value,
    indices: Vec<usize>,
}

impl Picked {
    fn item(&self, at: usize) -> Result<Value> {
        let at = self.indices.get(at).ok_or_else(|| {
            err!("Subset: index {at} is out of range for {} items", self.indices.len()).kind(Kind::Config)
        })?;
        match &self.items {
            Value::Object(object) => object.index(&Value::Int(*at as i64)),
            items => {
                let items = items.as_sequence().unwrap_or_default();
                items.get(*at).cloned().ok_or_else(|| {
                    err!("Subset: index {at} is out of range: the list was shortened").kind(Kind::Config)
                })
            }
        }
    }
}

impl Object for Picked {
    fn type_name(&self) -> &str {
        COMPONENT.name
    }
    fn length(&self) -> Option<usize> {
        Some(self.indices.len())
    }
    fn index(&self, index: &Value) -> Result<Value> {
        match index {
            Value::Int(i) if *i < 0 => self.item(self.indices.len().wrapping_add_signed(*i as isize)),
            Value::Int(i) => self.item(*i as usize),
            _ => Err(err!("Subset: expected an int as index, found {index:?}").kind(Kind::Config)),
        }
    }
    fn iterate(&self) -> Option<Result<Vec<Value>>> {
        Some((0..self.indices.len()).map(|at| self.item(at)).collect())
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        crate::component::discard(std::mem::take(&mut self.items));
    }
}
