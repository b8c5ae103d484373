//! `torch`: seeds, threads, GPUs and cuDNN settings.

use crate::component::{Args, BuildContext, FromValue, Function, Object, Value};
use crate::error::{Kind, Result};
use crate::python::common::{Constants, acts, none, one, reads};
use crate::{bail, err};
use std::sync::atomic::{AtomicBool, Ordering};

pub const CONSTANTS: Constants = &[("torch.backends.cudnn", || Value::object(Cudnn))];

pub const FUNCTIONS: &[Function] = &[
    reads("torch.cuda.is_available", |args, _| {
        none("torch.cuda.is_available", args)?;
        Ok(tch::Cuda::is_available().into())
    }),
    reads("torch.cuda.device_count", |args, _| {
        none("torch.cuda.device_count", args)?;
        Ok(tch::Cuda::device_count().into())
    }),
    reads("torch.get_num_threads", |args, _| {
        none("torch.get_num_threads", args)?;
        Ok(tch::get_num_threads().into())
    }),
    acts("torch.manual_seed", |args, _| {
        tch::manual_seed(one("torch.manual_seed", "seed", args)?);
        Ok(Value::None)
    }),
];

/// `torch.backends.cudnn`: global settings, forwarded to libtorch where tch supports them.
pub struct Cudnn;

/// A global switch of cuDNN.
struct Setting {
    name: &'static str,
    on: AtomicBool,
    /// Passes the value to libtorch; `None` where tch has no function for it, so that the value is only stored.
    apply: Option<fn(bool)>,
}

impl Setting {
    const fn new(name: &'static str, on: bool, apply: Option<fn(bool)>) -> Setting {
        Setting { name, on: AtomicBool::new(on), apply }
    }
    fn set(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
        if let Some(apply) = self.apply {
            apply(on);
        }
    }
}

static BENCHMARK: Setting = Setting::new("benchmark", false, Some(tch::Cuda::cudnn_set_benchmark));
static DETERMINISTIC: Setting = Setting::new("deterministic", false, None);
static ENABLED: Setting = Setting::new("enabled", true, Some(tch::Cuda::set_user_enabled_cudnn));
static ALLOW_TF32: Setting = Setting::new("allow_tf32", true, None);
static SETTINGS: [&Setting; 4] = [&BENCHMARK, &DETERMINISTIC, &ENABLED, &ALLOW_TF32];

impl Cudnn {
    fn setting(name: &str) -> Option<&'static Setting> {
        SETTINGS.into_iter().find(|setting| setting.name == name)
    }
    /// Set the flags as MONAI's `set_determinism` does.
    pub fn set_deterministic(on: bool) {
        DETERMINISTIC.set(on);
        if on {
            BENCHMARK.set(false);
        }
    }
}

impl Object for Cudnn {
    fn type_name(&self) -> &str {
        "torch.backends.cudnn"
    }
    fn attr_names(&self) -> Vec<&'static str> {
        SETTINGS.map(|setting| setting.name).to_vec()
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok(Cudnn::setting(name).map(|setting| setting.on.load(Ordering::Relaxed).into()))
    }
    fn set_attr(&self, name: &str, value: Value) -> Result<()> {
        let Some(setting) = Cudnn::setting(name) else {
            return Err(err!("torch.backends.cudnn has no setting `{name}`")
                .kind(Kind::Config)
                .hint(format!("available settings are {}", self.attr_names().join(", "))));
        };
        let Some(on) = bool::from_value(&value) else {
            bail!("torch.backends.cudnn.{name}: expected bool, found {value:?}")
        };
        setting.set(on);
        Ok(())
    }
    fn call_method(&self, name: &str, args: &mut Args, _call: &mut BuildContext) -> Result<Option<Value>> {
        if name != "is_available" {
            return Ok(None);
        }
        none(name, std::mem::take(args))?;
        Ok(Some(tch::Cuda::cudnn_is_available().into()))
    }
    fn equals(&self, other: &Value) -> bool {
        other.downcast::<Cudnn>().is_some()
    }
}
