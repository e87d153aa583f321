//! A worker that boots while the shared store and the API are both down: use it if a restart during an outage must not lose the
//! flags. The shared store comes first, because it elects the leader; a file of this machine is the fallback.
//!
//! ```text
//! POSTHOG_PROJECT_KEY=phc_… POSTHOG_SECRET_KEY=phs_… FLAGCACHE_URL='redis://cache:6379?service=checkout' \
//!     cargo run --features redis --example tiered_boot [folder]
//! ```
//!
//! Start it, end it with Ctrl-C, disconnect the network and start it again: the flags are there, marked stale. The folder must
//! outlive the process, such as a volume of the node.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use flagcache::{FileStore, FlagDefinitionPoller, PostHogApi, ProviderRegistry, Tiered};

/// Shares the store with this URL, with a copy in this folder as fallback.
pub(crate) fn start(
    api: PostHogApi,
    url: &str,
    folder: &Path,
) -> anyhow::Result<FlagDefinitionPoller> {
    let fleet = ProviderRegistry::default().open(url)?;
    let machine = FileStore::builder(folder, "checkout").build()?;
    let provider = Tiered::new(fleet).fallback(machine.provider());
    Ok(FlagDefinitionPoller::builder()
        .source(api)
        .flag_definition_cache_provider(provider)
        .start()?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("FLAGCACHE_URL")
        .context("set FLAGCACHE_URL: redis://host?service=name, for one")?;
    let folder = std::env::args_os()
        .nth(1)
        .unwrap_or("target/flagcache".into());
    let flags = start(PostHogApi::from_env()?, &url, Path::new(&folder))?;

    flags.wait_ready(Duration::from_secs(10)).await?;
    let status = flags.status();
    println!(
        "{} with {} flags",
        status.state,
        status.flags.unwrap_or_default()
    );
    tokio::signal::ctrl_c().await?;
    Ok(flags.shutdown().await?)
}
