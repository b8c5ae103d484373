//! Dataset: a datalist and the transforms of its cases (monai.data.dataset, MONAI 1.6.1).

use crate::component::{Component, Declared, Effect, FromValue, Value};
use crate::contracts::{Cx, Dataset, DatasetHandle, Item, Sample, Transform, apply_all, seed_each};
use crate::error::Result;
use crate::random::Streams;
use crate::{args, bail};
use std::sync::Arc;

args! {
    /// Arguments of Dataset.
    pub struct DatasetArgs {
        /// One dict per case: `[{'image': 'a.nii.gz'}, ...]`.
        data: Vec<Value>,
        /// Applied to each case: a transform, a list of them, or None.
        transform: Transforms = (),
    }
}

pub static COMPONENT: Component = Component {
    name: "Dataset",
    path: "monai.data.Dataset",
    aliases: &["monai.data.dataset.Dataset"],
    doc: "Cases from a list, read and transformed when they are asked for.",
    params: DatasetArgs::PARAMS,
    differences: &[],
    effect: Effect::Pure,
    build: |args, _| {
        let args = DatasetArgs::parse("Dataset", args)?;
        Ok(Value::object(DatasetHandle(Arc::new(Listed { data: args.data, transforms: args.transform.0 }))))
    },
};

/// A transform, a list of transforms, or None.
pub struct Transforms(pub Vec<Arc<dyn Transform>>);

impl FromValue for Transforms {
    fn expected() -> String {
        "transform, list of transforms or None".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::None => Some(Transforms(vec![])),
            value => Arc::<dyn Transform>::from_value(value).map(|one| vec![one]).or_else(|| Vec::from_value(value)).map(Transforms),
        }
    }
}

struct Listed {
    data: Vec<Value>,
    transforms: Vec<Arc<dyn Transform>>,
}

impl Dataset for Listed {
    fn name(&self) -> &'static str {
        "Dataset"
    }
    fn len(&self) -> usize {
        self.data.len()
    }
    fn entry(&self, index: usize) -> Result<Value> {
        match self.data.get(index) {
            Some(entry) => Ok(entry.clone()),
            None => bail!("the dataset has {} cases, case {index} was asked for", self.data.len()),
        }
    }
    fn transforms(&self) -> &[Arc<dyn Transform>] {
        &self.transforms
    }
    fn sample(&self, index: usize) -> Result<Sample> {
        sample(&self.entry(index)?)
    }
    fn seed(&self, seed: u32, streams: &mut Streams) {
        // MONAI makes a Compose of a list; one transform is seeded itself.
        match self.transforms.as_slice() {
            [one] => one.seed(seed, streams),
            several => seed_each(several, seed, streams),
        }
    }
    fn get(&self, index: usize, cx: &mut Cx) -> Result<Vec<Sample>> {
        apply_all(&self.transforms, vec![self.sample(index)?], cx)
    }
}

/// An entry of a datalist as a sample.
pub(super) fn sample(entry: &Value) -> Result<Sample> {
    let Value::Dict(dict) = entry else {
        bail!("expected a dict for each case, such as {{'image': 'a.nii.gz'}}, found {entry:?}");
    };
    let mut sample = Sample::default();
    for (key, value) in dict.items() {
        match key.as_str() {
            Some(name) => sample.set(name, Item::Value(value)),
            None => bail!("a case's keys must be strings, found {:?}", key.to_value()),
        }
    }
    Ok(sample)
}
