//! `ignite.engine.Events`, represented by their values.

pub const CONSTANTS: super::common::Constants = &[
    ("ignite.engine.Events.STARTED", || "started".into()),
    ("ignite.engine.Events.COMPLETED", || "completed".into()),
    ("ignite.engine.Events.EPOCH_STARTED", || "epoch_started".into()),
    ("ignite.engine.Events.EPOCH_COMPLETED", || "epoch_completed".into()),
    ("ignite.engine.Events.ITERATION_STARTED", || "iteration_started".into()),
    ("ignite.engine.Events.ITERATION_COMPLETED", || "iteration_completed".into()),
    ("ignite.engine.Events.GET_BATCH_STARTED", || "get_batch_started".into()),
    ("ignite.engine.Events.GET_BATCH_COMPLETED", || "get_batch_completed".into()),
    ("ignite.engine.Events.DATALOADER_STOP_ITERATION", || "dataloader_stop_iteration".into()),
    ("ignite.engine.Events.EXCEPTION_RAISED", || "exception_raised".into()),
    ("ignite.engine.Events.TERMINATE", || "terminate".into()),
    ("ignite.engine.Events.TERMINATE_SINGLE_EPOCH", || "terminate_single_epoch".into()),
    ("ignite.engine.Events.INTERRUPT", || "interrupt".into()),
];
