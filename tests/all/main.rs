//! All integration tests in one binary; one module per topic.

mod bundle;
mod bundle_messages;
