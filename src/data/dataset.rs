//! Dataset (monai.data.dataset, MONAI 1.6.1): the cases of a datalist and their transforms.

use crate::bail;
use crate::component::{FromValue, Value};
use crate::contracts::{Dataset, Item, Sample, Transform, TransformContext, apply_all, seed_each};
use crate::error::Result;
use crate::random::RngStates;
use std::sync::Arc;

component! {
    /// Dataset of a list of cases, loaded and transformed on request.
    pub static COMPONENT = dataset "Dataset" in "monai.data" / "dataset";

    pub struct DatasetArgs {
        /// List of dicts, one per case: `[{'image': 'a.nii.gz'}, ...]`.
        #[no_effect_on_results]
        data: Vec<Value>,
        /// Transform or list of transforms to apply to each case.
        transform: Transforms = (),
    }

    build: |args| Ok(Listed { data: args.data, transforms: args.transform }),
}

/// A transform, a list of transforms, or None.
#[derive(Default)]
pub struct Transforms {
    /// The transforms in order of application.
    pub steps: Vec<Arc<dyn Transform>>,
    /// Whether the argument is a list. MONAI wraps it in a Compose, which seeds each transform, also in a list of one.
    pub listed: bool,
}

impl Transforms {
    /// MONAI's `set_random_state` of the argument.
    pub fn seed(&self, seed: u32, rng: &mut RngStates) {
        match self.steps.as_slice() {
            [one] if !self.listed => one.seed(seed, rng),
            several => seed_each(several, seed, rng),
        }
    }
}

impl FromValue for Transforms {
    fn expected() -> String {
        "transform, list of transforms or None".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::None => Some(Transforms::default()),
            value => match Arc::<dyn Transform>::from_value(value) {
                Some(one) => Some(Transforms { steps: vec![one], listed: false }),
                None => Vec::from_value(value).map(|steps| Transforms { steps, listed: true }),
            },
        }
    }
}

struct Listed {
    data: Vec<Value>,
    transforms: Transforms,
}

/// A dataset of one case.
pub fn single_case(entry: Value, transforms: &[Arc<dyn Transform>]) -> Arc<dyn Dataset> {
    let transforms = Transforms { steps: transforms.to_vec(), listed: true };
    Arc::new(Listed { data: vec![entry], transforms })
}

impl Dataset for Listed {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn len(&self) -> usize {
        self.data.len()
    }
    fn entry(&self, index: usize) -> Result<Value> {
        match self.data.get(index) {
            Some(entry) => Ok(entry.clone()),
            None => bail!("case index {index} is out of range for {} cases", self.data.len()),
        }
    }
    fn transforms(&self) -> &[Arc<dyn Transform>] {
        &self.transforms.steps
    }
    fn sample(&self, index: usize) -> Result<Sample> {
        sample(&self.entry(index)?)
    }
    fn seed(&self, seed: u32, rng: &mut RngStates) {
        self.transforms.seed(seed, rng);
    }
    fn get(&self, index: usize, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        apply_all(&self.transforms.steps, vec![self.sample(index)?], cx)
    }
}

/// Converts an entry of a datalist to a sample.
///
/// # Errors
/// The entry is not a dict with string keys.
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
