//! `torch.distributed` in a single process, where it is not initialized: reading the rank is an error, as in torch.

use super::common::{acts, none, pure};
use crate::component::{Args, Function, Value};
use crate::err;
use crate::error::{Kind, Result};

pub const FUNCTIONS: &[Function] = &[
    pure("torch.distributed.is_available", |args, _| {
        none("torch.distributed.is_available", args).map(|()| true.into())
    }),
    pure("torch.distributed.is_initialized", |args, _| {
        none("torch.distributed.is_initialized", args).map(|()| false.into())
    }),
    pure("torch.distributed.is_nccl_available", |args, _| {
        none("torch.distributed.is_nccl_available", args).map(|()| false.into())
    }),
    pure("torch.distributed.is_torchelastic_launched", |args, _| {
        none("torch.distributed.is_torchelastic_launched", args).map(|()| false.into())
    }),
    pure("torch.distributed.get_rank", |args, _| uninitialized("torch.distributed.get_rank", args)),
    pure("torch.distributed.get_world_size", |args, _| uninitialized("torch.distributed.get_world_size", args)),
    acts("torch.distributed.barrier", |args, _| uninitialized("torch.distributed.barrier", args)),
    acts("torch.distributed.destroy_process_group", |args, _| {
        uninitialized("torch.distributed.destroy_process_group", args)
    }),
    acts("torch.distributed.init_process_group", |_, _| {
        Err(err!("torch.distributed.init_process_group: multiple processes are not supported")
            .kind(Kind::Unsupported)
            .hint("run the bundle's single-GPU configs in one process"))
    }),
];

fn uninitialized(name: &str, _: Args) -> Result<Value> {
    Err(err!("{name}: default process group has not been initialized, please make sure to call init_process_group")
        .kind(Kind::Config)
        .hint("segbundle runs in one process; omit the multi-GPU config from the list of files"))
}
