//! Loss functions, one file per `_target_`; `support` contains the shared argument types and checks.
//!
//! On the CPU, losses of softmax and integer labels allocate neither a one-hot map nor a softmax of the volume's size:
//! see [`segbundle_native::label_sums()`].

mod cross_entropy;
mod dice;
mod dice_ce;
mod dice_focal;
mod support;

use crate::component::Component;

/// Losses that a config can name.
pub static COMPONENTS: &[&Component] =
    &[&cross_entropy::COMPONENT, &dice::COMPONENT, &dice_ce::COMPONENT, &dice_focal::COMPONENT, &dice_focal::FOCAL];
