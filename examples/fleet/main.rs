//! A fleet of worker processes that share one copy of their flag definitions, and what it survives.
//!
//! ```text
//! cargo run --example fleet
//! ```
//!
//! Starts an API on this machine, then 4 processes that each ask it (the baseline), then 4 that share a file cache. Changes
//! a flag, kills the leader, damages the cached copy, shuts down; tells what happens, and fails if it is not what
//! flagcache promises. `--help` shows the options.
//!
//! | module | what lives there |
//! |---|---|
//! | `worker` | a worker process: **the part to copy**, a poller and a loop that uses its flags |
//! | `cache`, `api` | which store is shared, and which API is asked |
//! | `protocol`, `reporter`, `witness` | what a worker tells, how, and where it learns it |
//! | `process`, `record`, `fleet` | the other end: worker processes and what they told |
//! | `phases`, `faults`, `shared`, `story` | what happens to a fleet, and what is claimed of it |
//! | `claims`, `figures`, `table`, `narrator` | how it is told |

mod api;
mod args;
mod cache;
mod claims;
mod faults;
mod figures;
mod fleet;
mod narrator;
mod phases;
mod process;
mod protocol;
mod record;
mod reporter;
mod shared;
mod signals;
mod story;
mod table;
mod witness;
mod worker;

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use api::Credentials;
use args::{Command, StoryArgs};
use narrator::Narrator;
use signals::StopSignal;

const BAD_OPTIONS: u8 = 2;
/// What shells give a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    // `RUST_LOG=flagcache=info` shows what each worker does.
    let wanted = std::env::var("RUST_LOG").ok().and_then(|wanted| wanted.parse().ok());
    let wanted = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::ERROR));
    let to_stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(to_stderr).with(wanted).init();
    match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => {
            Narrator::new(false).print(args::USAGE);
            ExitCode::SUCCESS
        }
        Ok(Command::Worker(args)) => match worker::run(&args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}: {error}", args.name);
                ExitCode::FAILURE
            }
        },
        Ok(Command::Story(args)) => match surroundings(&args).await {
            Ok(credentials) => run_story(&args, credentials).await,
            Err(problem) => complain(&*problem),
        },
        Err(problem) => complain(&problem),
    }
}

/// The API's credentials, if the environment has any. An error if they, or the cache, cannot work.
async fn surroundings(args: &StoryArgs) -> Result<Option<Credentials>, Box<dyn Error>> {
    let credentials = Credentials::from_env()?;
    if let Some(credentials) = &credentials {
        credentials.check()?;
    }
    if let Some(cache) = &args.cache {
        cache.probe().await?;
    }
    Ok(credentials)
}

fn complain(problem: &dyn Display) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::from(BAD_OPTIONS)
}

async fn run_story(args: &StoryArgs, credentials: Option<Credentials>) -> ExitCode {
    let mut stop_signal = match StopSignal::listen() {
        Ok(signal) => signal,
        Err(error) => {
            eprintln!("cannot listen for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let narrator = Narrator::new(args.json);
    let outcome = tokio::select! {
        outcome = story::tell(args, credentials, &narrator) => outcome,
        // What the story holds goes with it: first the processes, then the folder.
        () = stop_signal.received() => {
            narrator.say("interrupted; all workers are ended and the cache folder is removed");
            return ExitCode::from(INTERRUPTED);
        }
    };
    if outcome.unshared.cold_start.is_some() {
        narrator.print(&format!("\n{}", table::render(&outcome)));
    }
    for claim in outcome.claims.iter().filter(|claim| !claim.held) {
        narrator.print(&format!("does not hold: {} ({})", claim.claim, claim.measured));
    }
    if let Some(error) = &outcome.error {
        narrator.print(&format!("the story ended early: {error}"));
    }
    if args.json {
        match serde_json::to_string(&outcome) {
            Ok(line) => Narrator::new(false).print(&line),
            Err(error) => eprintln!("cannot print the result: {error}"),
        }
    }
    if outcome.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
