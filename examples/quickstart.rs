//! One worker: flags that stay current, and are shared with the other workers of this machine.
//!
//! ```text
//! POSTHOG_PROJECT_KEY=phc_… POSTHOG_SECRET_KEY=phs_… cargo run --example quickstart
//! ```
//!
//! Start it twice at a time: the second one sends no request. `POSTHOG_HOST` is `https://us.i.posthog.com` unless set.

use std::error::Error;
use std::time::Duration;

use flagcache::{FileStore, FlagDefinitionPoller, PostHogApi};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let api = PostHogApi::from_env().unwrap_or_else(|error| {
        eprintln!(
            "{error}\nSet POSTHOG_PROJECT_KEY (phc_…) and, in a worker that may fetch, POSTHOG_SECRET_KEY (phs_…)."
        );
        std::process::exit(2);
    });
    // In production a folder that only your service can write to.
    let store = FileStore::builder("target/flagcache", "quickstart").build()?;
    let flags = FlagDefinitionPoller::builder().source(api).flag_definition_cache_provider(store.provider()).start()?;

    flags.wait_ready(Duration::from_secs(10)).await?;
    let mut changes = flags.subscribe();
    for flag in flags.definitions().iter().flat_map(|set| set.flags()) {
        println!("{}", flag.key());
    }
    loop {
        tokio::select! {
            Some(change) = changes.next() => println!("changed: {:?}", change.diff),
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    Ok(flags.shutdown().await?)
}
