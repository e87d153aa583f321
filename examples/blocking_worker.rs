//! A worker without tokio: use it in a program of plain threads, such as the consumer of a queue, a command-line tool or a
//! synchronous web server. A background thread keeps the flags current; all other threads read them without a lock.
//!
//! ```text
//! POSTHOG_PROJECT_KEY=phc_… POSTHOG_SECRET_KEY=phs_… FLAGCACHE_URL='file:///var/cache/flagcache?service=checkout' \
//!     cargo run --example blocking_worker
//! ```
//!
//! A job is a line of the standard input: the key of a flag. Four threads process the jobs; the end of the input ends the program.

use std::io::{self, BufRead, BufReader};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use flagcache::blocking::FlagDefinitionPoller;
use flagcache::{PostHogApi, ProviderRegistry};
use serde::Deserialize;

/// The part of a flag's definition that a job needs. Any part can be read this way.
#[derive(Deserialize)]
struct Definition {
    active: bool,
}

/// Starts the poller, with the same builder as for the asynchronous handle.
pub(crate) fn start(api: PostHogApi, url: &str) -> anyhow::Result<FlagDefinitionPoller> {
    let store = ProviderRegistry::default().open(url)?;
    Ok(FlagDefinitionPoller::builder()
        .source(api)
        .flag_definition_cache_provider(store)
        .start()?)
}

/// One job: whether the flag of this key is switched on.
pub(crate) fn handle(flags: &FlagDefinitionPoller, key: &str) -> anyhow::Result<bool> {
    // One snapshot for the whole job: a change meanwhile is for the next one.
    let set = flags.definitions().context("there are no flags yet")?;
    match set.flag(key) {
        Some(flag) => Ok(flag.deserialize::<Definition>()?.active),
        None => Ok(false),
    }
}

/// Processes the jobs on several threads, and prints changes meanwhile.
pub(crate) fn work(
    flags: &FlagDefinitionPoller,
    jobs: impl Iterator<Item = String> + Send,
) -> anyhow::Result<()> {
    let (mut changes, jobs) = (flags.subscribe(), Mutex::new(jobs));
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        scope.spawn(move || {
            // Ends with the poller.
            while let Ok(change) = changes.next_within(Duration::MAX) {
                println!("changed: {:?}", change.diff);
            }
        });
        let workers = [(); 4].map(|()| {
            scope.spawn(|| {
                while let Some(key) = next() {
                    match handle(flags, &key) {
                        Ok(active) => println!("{key}: {}", if active { "on" } else { "off" }),
                        Err(error) => eprintln!("{key}: {error}"),
                    }
                }
            })
        });
        // A thread that panicked lost its own job only.
        workers.into_iter().for_each(|worker| drop(worker.join()));
        // Releases the lock at once, so that another worker leads without delay.
        Ok(flags.shutdown()?)
    })
}

fn main() -> anyhow::Result<()> {
    let url = std::env::var("FLAGCACHE_URL")
        .context("set FLAGCACHE_URL: file:///folder?service=name, for one")?;
    let flags = start(PostHogApi::from_env()?, &url)?;
    if let Err(error) = flags.wait_ready(Duration::from_secs(10)) {
        // The worker continues: it gets flags as soon as the API or the store is available.
        eprintln!("{error:#}");
    }
    work(
        &flags,
        BufReader::new(io::stdin()).lines().map_while(Result::ok),
    )
}
