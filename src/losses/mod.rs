//! Loss functions. One file per `_target_`; [`support`] has what they share.
//!
//! On the CPU, softmax with integer labels never becomes a one-hot map or a softmax of the volume's size: see
//! [`segbundle_native::label_sums()`].

mod cross_entropy;
mod dice;
mod dice_ce;
mod dice_focal;
mod support;

use crate::component::Component;

pub static COMPONENTS: &[&Component] =
    &[&cross_entropy::COMPONENT, &dice::COMPONENT, &dice_ce::COMPONENT, &dice_focal::COMPONENT, &dice_focal::FOCAL];
