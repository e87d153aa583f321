//! Every way of writing a provider that `#[flag_cache_provider]` accepts, run behind `Arc<dyn FlagDefinitionCacheProvider>`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "providers under test are helpers, which clippy takes for other code"
)]

mod arguments;
mod attributes;
mod blocking;
mod blocks;
mod crate_path;
mod hygiene;
mod outcomes;
mod panics;
mod shapes;
mod support;
