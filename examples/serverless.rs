//! Flags in a serverless function: use it where the process sleeps between two calls, so that nothing can poll in the
//! background. Each call looks whether the flags are young enough, and loads if they are not.
//!
//! ```text
//! POSTHOG_PROJECT_KEY=phc_… POSTHOG_SECRET_KEY=phs_… FLAGCACHE_URL='redis://cache:6379?service=checkout' \
//!     cargo run --features redis --example serverless
//! ```
//!
//! With the shared store a cold instance takes its flags from the copy, and one instance of them all pays for a refresh.

use std::time::Duration;

use anyhow::Context;
use flagcache::{FlagDefinitionPoller, PostHogApi, ProviderRegistry};

/// Done once for each instance, outside of the handler.
pub(crate) fn start(api: PostHogApi, url: &str) -> anyhow::Result<FlagDefinitionPoller> {
    let store = ProviderRegistry::bundled().open(url)?;
    Ok(FlagDefinitionPoller::builder()
        .source(api)
        .flag_definition_cache_provider(store)
        .manual()
        .start()?)
}

/// One call of the function. Gives the number of flags.
pub(crate) async fn handle(flags: &FlagDefinitionPoller) -> anyhow::Result<usize> {
    // Free while the last load is young. If it fails, the flags of the load before go on serving.
    if let Err(error) = flags.refresh_if_older_than(Duration::from_secs(30)).await {
        eprintln!("the flags are not refreshed: {error}");
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
    // When the platform ends the instance: frees the lead at once.
    Ok(flags.shutdown().await?)
}
