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

static BENCHMARK: AtomicBool = AtomicBool::new(false);
static DETERMINISTIC: AtomicBool = AtomicBool::new(false);
static ALLOW_TF32: AtomicBool = AtomicBool::new(true);
static ENABLED: AtomicBool = AtomicBool::new(true);

impl Cudnn {
    fn setting(name: &str) -> Option<&'static AtomicBool> {
        match name {
            "benchmark" => Some(&BENCHMARK),
            "deterministic" => Some(&DETERMINISTIC),
            "allow_tf32" => Some(&ALLOW_TF32),
            "enabled" => Some(&ENABLED),
            _ => None,
        }
    }
    fn set(name: &str, on: bool) {
        if let Some(setting) = Cudnn::setting(name) {
            setting.store(on, Ordering::Relaxed);
        }
        match name {
            "benchmark" => tch::Cuda::cudnn_set_benchmark(on),
            "enabled" => tch::Cuda::set_user_enabled_cudnn(on),
            // tch has no function for these settings; the value is only stored.
            _ => {}
        }
    }
    /// Set the flags as MONAI's `set_determinism` does.
    pub fn set_deterministic(on: bool) {
        Cudnn::set("deterministic", on);
        if on {
            Cudnn::set("benchmark", false);
        }
    }
}

impl Object for Cudnn {
    fn type_name(&self) -> &str {
        "torch.backends.cudnn"
    }
    fn attr_names(&self) -> Vec<&'static str> {
        vec!["benchmark", "deterministic", "enabled", "allow_tf32"]
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok(Cudnn::setting(name).map(|setting| setting.load(Ordering::Relaxed).into()))
    }
    fn set_attr(&self, name: &str, value: Value) -> Result<()> {
        if Cudnn::setting(name).is_none() {
            return Err(err!("torch.backends.cudnn has no setting `{name}`")
                .kind(Kind::Config)
                .hint("available settings are benchmark, deterministic, enabled and allow_tf32"));
        }
        let Some(on) = bool::from_value(&value) else {
            bail!("torch.backends.cudnn.{name}: expected bool, found {value:?}")
        };
        Cudnn::set(name, on);
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
