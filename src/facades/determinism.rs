//! `monai.utils.set_determinism` and `get_seed` (monai.utils.misc, MONAI 1.6.1).

use super::torch::Cudnn;
use crate::args;
use crate::component::{Args, BuildContext, Declared, Function, Value};
use crate::error::Result;
use crate::python::common::{acts, none, reads};
use crate::python::monai_utils::sequence;
use std::sync::atomic::{AtomicI64, Ordering};

pub const FUNCTIONS: &[Function] = &[
    acts("monai.utils.set_determinism", set_determinism),
    acts("monai.utils.misc.set_determinism", set_determinism),
    reads("monai.utils.get_seed", |args, _| {
        none("monai.utils.get_seed", args)?;
        Ok(seed().map_or(Value::None, |seed| Value::Int(i64::from(seed))))
    }),
];

args! {
    struct SetDeterminism {
        seed: Option<i64> = i64::from(i32::MAX),
        use_deterministic_algorithms: Option<bool> = (),
        additional_settings: Value = (),
    }
}
/// The seed set by the config, -1 for none; global to the process, as in MONAI.
static SEED: AtomicI64 = AtomicI64::new(-1);

/// The seed of the last `set_determinism`, if any.
pub fn seed() -> Option<u32> {
    u32::try_from(SEED.load(Ordering::Relaxed)).ok()
}

/// Seeds torch's generators and makes cuDNN deterministic; random transforms read the seed with [`seed`].
fn set_determinism(args: Args, call: &mut BuildContext) -> Result<Value> {
    let args = SetDeterminism::parse("monai.utils.set_determinism", args)?;
    let seed = args.seed.map(|seed| seed.rem_euclid(1 << 32));
    if let Some(seed) = seed {
        tch::manual_seed(seed);
        if !args.additional_settings.is_none() {
            for setting in
                sequence(&args.additional_settings)?.unwrap_or_else(|| vec![args.additional_settings.clone()])
            {
                setting.call(Args::positional([seed.into()]), call)?;
            }
        }
    }
    SEED.store(seed.unwrap_or(-1), Ordering::Relaxed);
    Cudnn::set_deterministic(seed.is_some());
    Ok(Value::None)
}
