//! `torch.distributed` over [`crate::distributed`]. In a dry run there is one rank.

use crate::component::{Accepted, Args, BuildContext, Declared, Function, Value};
use crate::distributed::{self, Backend, Rendezvous, TIMEOUT};
use crate::error::{Kind, Result};
use crate::python::common::{acts, none, reads};
use crate::{args, err};
use std::time::Duration;

pub const FUNCTIONS: &[Function] = &[
    reads("torch.distributed.is_available", |args, _| {
        none("torch.distributed.is_available", args).map(|()| true.into())
    }),
    reads("torch.distributed.is_initialized", |args, _| {
        none("torch.distributed.is_initialized", args).map(|()| distributed::is_initialized().into())
    }),
    reads("torch.distributed.is_nccl_available", |args, _| {
        none("torch.distributed.is_nccl_available", args).map(|()| Backend::Nccl.is_available().into())
    }),
    reads("torch.distributed.is_gloo_available", |args, _| {
        none("torch.distributed.is_gloo_available", args).map(|()| Backend::Gloo.is_available().into())
    }),
    reads("torch.distributed.is_torchelastic_launched", |args, _| {
        none("torch.distributed.is_torchelastic_launched", args)?;
        Ok(std::env::var_os("TORCHELASTIC_RUN_ID").is_some().into())
    }),
    reads("torch.distributed.get_rank", |args, context| {
        of_group("torch.distributed.get_rank", args, context, || Value::Int(distributed::rank() as i64))
    }),
    reads("torch.distributed.get_world_size", |args, context| {
        of_group("torch.distributed.get_world_size", args, context, || Value::Int(distributed::world_size() as i64))
    }),
    reads("torch.distributed.get_backend", |args, context| {
        let backend = || distributed::group().map_or(Backend::Gloo, |group| group.backend);
        of_group("torch.distributed.get_backend", args, context, || backend().name().into())
    }),
    acts("torch.distributed.barrier", |args, context| {
        of_group("torch.distributed.barrier", args, context, || Value::None)?;
        distributed::group().map_or(Ok(()), |group| group.barrier()).map(|()| Value::None)
    }),
    acts("torch.distributed.init_process_group", init),
    acts("torch.distributed.destroy_process_group", |args, context| {
        of_group("torch.distributed.destroy_process_group", args, context, || Value::None)?;
        distributed::leave().map(|()| Value::None)
    }),
];

args! {
    struct OfGroup {
        group: Value = (),
    }
}

/// Calls `get` if the group exists; `group` can only be the default one.
fn of_group(name: &str, args: Args, context: &BuildContext, get: impl FnOnce() -> Value) -> Result<Value> {
    if !OfGroup::parse(name, args)?.group.is_none() {
        return Err(err!("{name}: argument `group`: only the default group is supported").kind(Kind::Unsupported));
    }
    match context.is_dry_run() || distributed::is_initialized() {
        true => Ok(get()),
        false => Err(distributed::uninitialized().context(name)),
    }
}

args! {
    struct InitProcessGroup {
        /// `nccl` or `gloo`; None is nccl where it is available.
        backend: Option<String> = (),
        init_method: Option<String> = (),
        timeout: Option<Duration> = (),
        world_size: i64 = -1,
        rank: i64 = -1,
        store: Value = (),
        group_name: Accepted = "",
        pg_options: Accepted = (),
        device_id: Accepted = (),
    }
}

fn init(args: Args, context: &mut BuildContext) -> Result<Value> {
    const NAME: &str = "torch.distributed.init_process_group";
    let args = InitProcessGroup::parse(NAME, args)?;
    let config = |text: String| err!("{text}").kind(Kind::Config);
    let backend = match args.backend.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("gloo") => Backend::Gloo,
        Some("nccl") => Backend::Nccl,
        None if Backend::Nccl.is_available() => Backend::Nccl,
        None => Backend::Gloo,
        Some(other) => {
            return Err(config(format!("{NAME}: expected the backend 'nccl' or 'gloo', found '{other}'")));
        }
    };
    if !args.store.is_none() {
        return Err(config(format!("{NAME}: argument `store` is not supported")).kind(Kind::Unsupported));
    }
    let method = args.init_method.as_deref().unwrap_or("env://");
    if method != "env://" {
        return Err(config(format!("{NAME}: expected `init_method` 'env://', found '{method}'"))
            .kind(Kind::Unsupported)
            .hint("set MASTER_ADDR, MASTER_PORT, RANK and WORLD_SIZE, and omit init_method"));
    }
    let [rank, size] = [args.rank, args.world_size].map(|given| usize::try_from(given).ok());
    let rendezvous = || Rendezvous::from_environment(rank, size);
    distributed::init(backend, rendezvous, args.timeout.unwrap_or(TIMEOUT), context.run().cancel.clone())
        .map_err(|error| error.context(NAME))?;
    Ok(Value::None)
}
