//! The writer of a fleet that only reads: use it if no worker may fetch or hold a secret key. A cron job, a deployment
//! step or a serverless timer runs it; the workers are `examples/reader.rs`.
//!
//! ```text
//! POSTHOG_PROJECT_KEY=phc_… POSTHOG_SECRET_KEY=phs_… FLAGCACHE_URL='redis://cache:6379?service=checkout' \
//!     cargo run --features redis --example cron_writer
//! ```
//!
//! A run costs 1 unit if nothing has changed. If the API or the store fails, it exits with 1 and leaves the stored copy as it
//! is; the next run tries again.

use anyhow::Context;
use flagcache::{PostHogApi, ProviderRegistry, RefreshedOnce, refresh_once};

/// Updates the copy in this store.
pub(crate) async fn run(api: PostHogApi, url: &str) -> anyhow::Result<RefreshedOnce> {
    let store = ProviderRegistry::default().open(url)?;
    Ok(refresh_once(api, store).await?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("FLAGCACHE_URL")
        .context("set FLAGCACHE_URL: file:///folder?service=name, for one")?;
    let refreshed = run(PostHogApi::from_env()?, &url).await?;
    println!(
        "{:?} for {} units",
        refreshed.outcome, refreshed.units_spent
    );
    Ok(())
}
