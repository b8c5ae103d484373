//! Compose: apply transforms in sequence.
//!
//! Source: monai/transforms/compose.py of MONAI 1.6.1.

use crate::component::{Accepted, FromValue, OneOrMany, Value};
use crate::contracts::{
    Certainty, RngStates, Sample, Step, Transform, TransformContext, VoxelAccess, apply_all, seed_each,
};
use crate::error::Result;
use std::sync::Arc;

component! {
    /// Chain transforms.
    pub static COMPONENT = transform "Compose" in "monai.transforms" / "compose";

    pub struct ComposeArgs {
        /// Transforms in order of application.
        transforms: Option<OneOrMany<Member>> = (),
        /// No effect: transforms after one that returns several samples are always applied to each of them.
        map_items: Accepted = true,
        /// No effect: transforms take one sample.
        unpack_items: Accepted = false,
        /// No effect: an error always names the transform and describes the data under its keys.
        log_stats: Accepted = false,
        /// No effect: transforms are never lazy; resampling twice interpolates twice.
        lazy: Accepted = false,
        /// No effect: only used with lazy transforms.
        overrides: Accepted = (),
    }

    differs: [
        "A Compose inside another is flattened.",
        "Plain functions as transforms are not supported; Lambdad takes them.",
    ],
    build: |args| {
        let steps = match args.transforms {
            None => Vec::new(),
            Some(OneOrMany::One(step)) => vec![step],
            Some(OneOrMany::Many(steps)) => steps,
        };
        Ok(Compose::new(steps.into_iter().map(|Member(step)| step)))
    },
}

/// One entry of the argument `transforms`.
#[derive(Clone)]
pub struct Member(Arc<dyn Transform>);

impl FromValue for Member {
    fn expected() -> String {
        "transform".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        Arc::<dyn Transform>::from_value(value).map(Member)
    }
}

/// A sequence of transforms.
pub struct Compose {
    steps: Vec<Arc<dyn Transform>>,
    /// The transforms before flattening: a nested Compose draws a seed of its own.
    nested: Vec<Arc<dyn Transform>>,
}

impl Compose {
    /// Creates a sequence; every Compose among `steps` is flattened.
    pub fn new(steps: impl IntoIterator<Item = Arc<dyn Transform>>) -> Self {
        let nested: Vec<_> = steps.into_iter().collect();
        let mut flat = Vec::new();
        for step in nested.iter().cloned() {
            // A nested Compose was flattened when it was created: one level is enough.
            if step.is_chain() { flat.extend(step.children().iter().cloned()) } else { flat.push(step) }
        }
        Compose { steps: flat, nested }
    }
}

impl Transform for Compose {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn plan(&self, mut sample: Sample) -> Result<Step<'_>> {
        let mut certainty = Certainty::Exact;
        for step in &self.steps {
            let after = step.plan(sample).map_err(|error| error.context(step.name()))?;
            (sample, certainty) = (after.sample, certainty.max(after.certainty));
        }
        Ok(Step { sample, certainty, access: VoxelAccess::InMemory })
    }
    fn apply(&self, sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        apply_all(&self.steps, vec![sample], cx)
    }
    fn children(&self) -> &[Arc<dyn Transform>] {
        &self.steps
    }
    fn is_chain(&self) -> bool {
        true
    }
    fn is_random(&self) -> bool {
        true
    }
    fn seed(&self, seed: u32, rng: &mut RngStates) {
        seed_each(&self.nested, seed, rng);
    }
}
