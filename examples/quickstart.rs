//! One worker, whose flags stay current and are shared with the other workers of this machine. Start with this example.
//!
//! ```text
//! POSTHOG_PROJECT_KEY=phc_… POSTHOG_SECRET_KEY=phs_… cargo run --example quickstart
//! ```
//!
//! Run it twice at the same time: the second process sends no request. `POSTHOG_HOST` is `https://us.i.posthog.com` unless set.
//! `FLAGCACHE_URL` chooses another store: `redis://127.0.0.1:6379?service=quickstart`, with `--features redis`.

use std::error::Error;
use std::time::Duration;

use flagcache::{
    FileStore, FlagDefinitionCacheProvider, FlagDefinitionPoller, PostHogApi, ProviderRegistry,
};

/// The store with this URL, or a folder of this machine.
pub(crate) fn store(
    url: Option<&str>,
) -> Result<Box<dyn FlagDefinitionCacheProvider>, Box<dyn Error>> {
    match url {
        Some(url) => Ok(ProviderRegistry::default().open(url)?),
        // In production a folder that only your service can write to.
        None => Ok(Box::new(
            FileStore::builder("target/flagcache", "quickstart")
                .build()?
                .provider(),
        )),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let api = PostHogApi::from_env().unwrap_or_else(|error| {
        eprintln!(
            "{error}\nSet POSTHOG_PROJECT_KEY (phc_…) and, in a worker that may fetch, POSTHOG_SECRET_KEY (phs_…)."
        );
        std::process::exit(2);
    });
    let store = store(std::env::var("FLAGCACHE_URL").ok().as_deref())?;
    let flags = FlagDefinitionPoller::builder()
        .source(api)
        .flag_definition_cache_provider(store)
        .start()?;

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
    if let Err(error) = flags.shutdown().await {
        eprintln!("{error:#}"); // Such as a store that is down: nothing is lost by that.
    }
    Ok(())
}
