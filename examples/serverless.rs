//! Flags in a serverless function: use it if the platform suspends the process between two calls, so that nothing can poll in
//! the background. Each call loads the flags if they are too old.
//!
//! ```text
//! POSTHOG_PROJECT_KEY=phc_… POSTHOG_SECRET_KEY=phs_… FLAGCACHE_URL='redis://cache:6379?service=checkout' \
//!     cargo run --features redis --example serverless
//! ```
//!
//! With the shared store a cold instance reads its flags from the stored copy, and only one instance pays for a refresh.

use std::time::Duration;

use anyhow::Context;
use flagcache::{FlagDefinitionPoller, PostHogApi, ProviderRegistry};

/// Runs once per instance, outside of the handler.
pub(crate) fn start(api: PostHogApi, url: &str) -> anyhow::Result<FlagDefinitionPoller> {
    let store = ProviderRegistry::default().open(url)?;
    Ok(FlagDefinitionPoller::builder()
        .source(api)
        .flag_definition_cache_provider(store)
        .manual()
        .start()?)
}

/// One call of the function. Returns the number of flags.
pub(crate) async fn handle(flags: &FlagDefinitionPoller) -> anyhow::Result<usize> {
    // Costs nothing while the last load is recent. If the load fails, the previous flags stay.
    if let Err(error) = flags.refresh_if_older_than(Duration::from_secs(30)).await {
        eprintln!("the flags are not refreshed: {error:#}");
    }
    let set = flags.definitions().context("there are no flags yet")?;
    Ok(set.len())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("FLAGCACHE_URL")
        .context("set FLAGCACHE_URL: file:///folder?service=name, for one")?;
    let flags = start(PostHogApi::from_env()?, &url)?;
    for call in 1..=3 {
        println!(
            "call {call}: {} flags, {} loads so far",
            handle(&flags).await?,
            flags.status().counters.loads
        );
    }
    // When the platform ends the instance: releases the lock at once.
    Ok(flags.shutdown().await?)
}
