//! A worker that only reads: use it if another process writes, such as `examples/cron_writer.rs`. It needs no key, sends
//! no request, never leads and never writes, so read access to the store is enough.
//!
//! ```text
//! FLAGCACHE_URL='redis://cache:6379?service=checkout' cargo run --features redis --example reader
//! ```

use std::time::Duration;

use anyhow::Context;
use flagcache::{FlagDefinitionPoller, ProviderRegistry, ReadOnly};

/// Reads the copy in this store.
pub(crate) fn start(url: &str) -> anyhow::Result<FlagDefinitionPoller> {
    let store = ProviderRegistry::default().open(url)?;
    let flags = FlagDefinitionPoller::builder()
        .flag_definition_cache_provider(ReadOnly(store))
        // Longer than the writer's interval; otherwise the flags count as stale between two writes.
        .max_staleness(Duration::from_secs(15 * 60))
        .start()?;
    Ok(flags)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("FLAGCACHE_URL")
        .context("set FLAGCACHE_URL: file:///folder?service=name, for one")?;
    let flags = start(&url)?;
    let mut changes = flags.subscribe();
    loop {
        tokio::select! {
            Some(change) = changes.next() => println!("{:?} flags: {:?}", flags.status().flags, change.diff),
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    Ok(flags.shutdown().await?)
}
