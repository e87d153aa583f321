//! A fleet of worker processes that share one copy of their flag definitions, and what it survives.
//!
//! ```text
//! cargo run --example fleet
//! ```
//!
//! Starts an API on this machine, then 4 processes that each poll it (the baseline), then 4 that share a file cache. Changes
//! flags, kills the leader, damages the stored copy, shuts down; prints what happens, and fails if it is not what
//! flagcache promises. `--help` shows the options.
//!
//! | module | contents |
//! |---|---|
//! | `worker` | a worker process: **the part to copy**, a poller and a loop that uses its flags |
//! | `cache`, `api` | which store is shared, and which API is asked |
//! | `workspace`, `copy_location`, `server` | the location of the copies, and their removal |
//! | `protocol`, `reporter`, `witness` | the reports of a worker, and the decorators that send them |
//! | `process`, `record`, `fleet` | the parent process: worker processes and their reports |
//! | `phases`, `changes`, `faults`, `ticks`, `shared`, `story` | the steps of a fleet, and the claims about it |
//! | `claims`, `figures`, `table`, `narrator` | the output |
//! | `board`, `view`, `screen` | the live view, on a terminal |

mod api;
mod args;
mod board;
mod cache;
mod changes;
mod claims;
mod copy_location;
mod faults;
mod figures;
mod fleet;
mod narrator;
mod phases;
mod process;
mod protocol;
mod record;
mod reporter;
mod screen;
mod server;
mod shared;
mod signals;
mod story;
mod table;
mod ticks;
mod view;
mod witness;
mod worker;
mod workspace;

use std::fmt::Display;
use std::io::IsTerminal;
use std::pin::pin;
use std::process::ExitCode;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use api::Credentials;
use args::{Command, StoryArgs};
use figures::Outcome;
use narrator::{Manner, Narrator};
use signals::{StopSignal, Suspension};
use workspace::Workspace;

const BAD_OPTIONS: u8 = 2;
/// The exit code that shells give a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;
/// The exit code that shells give a program whose output is closed.
const UNHEARD: u8 = 141;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    // `RUST_LOG=flagcache=info` shows what each worker does.
    let wanted = std::env::var("RUST_LOG")
        .ok()
        .and_then(|wanted| wanted.parse().ok());
    let wanted = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::ERROR));
    let to_stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(to_stderr)
        .with(wanted)
        .init();
    match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => {
            Narrator::new(Manner::Lines).print(args::USAGE);
            ExitCode::SUCCESS
        }
        Ok(Command::Worker(args)) => match worker::run(&args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}: {error}", args.name);
                ExitCode::FAILURE
            }
        },
        Ok(Command::Story(args)) => run_story(&args).await,
        Err(problem) => complain(&problem),
    }
}

fn complain(problem: &dyn Display) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::from(BAD_OPTIONS)
}

fn manner(args: &StoryArgs) -> Manner {
    // Logs would be written over the view.
    let logs = std::env::var_os("RUST_LOG").is_some_and(|wanted| !wanted.is_empty());
    match args {
        StoryArgs { json: true, .. } => Manner::LinesOnStderr,
        StoryArgs { plain: true, .. } => Manner::Lines,
        _ if logs && std::io::stderr().is_terminal() => Manner::Lines,
        _ => Manner::View,
    }
}

/// How a story ends.
enum Ending {
    Finished(Box<Outcome>),
    Interrupted,
    Unheard,
}

async fn run_story(args: &StoryArgs) -> ExitCode {
    // First, so that from here on nothing is left behind.
    let mut stop_signal = match StopSignal::listen() {
        Ok(signal) => signal,
        Err(error) => {
            eprintln!("cannot listen for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let credentials = match Credentials::checked_from_env() {
        Ok(credentials) => credentials,
        Err(problem) => return complain(&problem),
    };
    let mut workspace = match Workspace::new(args.cache.as_ref()) {
        Ok(workspace) => workspace,
        Err(problem) => return complain(&problem),
    };
    let checked = tokio::select! {
        checked = workspace.check() => Some(checked),
        () = stop_signal.received() => None,
    };
    match checked {
        Some(Ok(())) => {}
        Some(Err(problem)) => return complain(&problem),
        None => {
            return conclude_early(&workspace, &Narrator::new(manner(args).without_view())).await;
        }
    }

    let narrator = Narrator::new(manner(args));
    let ending = {
        let mut running = pin!(story::run(args, credentials, &workspace, &narrator));
        let mut suspension = Suspension::new();
        loop {
            tokio::select! {
                outcome = &mut running => break Ending::Finished(Box::new(outcome)),
                () = stop_signal.received() => break Ending::Interrupted,
                () = narrator.unheard() => break Ending::Unheard,
                () = suspension.received(), if narrator.is_live() => {
                    narrator.close_view();
                    suspension.suspend();
                    narrator.open_view();
                }
            }
        }
        // The processes end with the story that owned them.
    };
    narrator.end_view();
    match ending {
        Ending::Finished(outcome) => conclude(args, &outcome, &narrator),
        Ending::Interrupted => conclude_early(&workspace, &narrator).await,
        Ending::Unheard => {
            if let Err(problem) = workspace.clear().await {
                eprintln!("not all is removed: {problem}");
            }
            ExitCode::from(UNHEARD)
        }
    }
}

/// Removes everything that the run created.
async fn conclude_early(workspace: &Workspace, narrator: &Narrator) -> ExitCode {
    let end = "interrupted; all workers are ended";
    match workspace.clear().await {
        Ok(Some(cleared)) => narrator.log(format!("{end}, {cleared} removed")),
        Ok(None) => narrator.log(end),
        Err(problem) => narrator.log(format!("{end}, but not all is removed: {problem}")),
    }
    ExitCode::from(INTERRUPTED)
}

/// Prints what the story came to.
fn conclude(args: &StoryArgs, outcome: &Outcome, narrator: &Narrator) -> ExitCode {
    if outcome.unshared.cold_start.is_some() {
        narrator.print(&format!("\n{}", table::render(outcome)));
    }
    for claim in outcome.claims.iter().filter(|claim| !claim.held) {
        narrator.print(&format!(
            "does not hold: {} ({})",
            claim.claim, claim.measured
        ));
    }
    if let Some(error) = &outcome.error {
        narrator.print(&format!("the story ended early: {error}"));
    }
    if args.json {
        match serde_json::to_string(outcome) {
            Ok(line) => Narrator::new(Manner::Lines).print(&line),
            Err(error) => eprintln!("cannot print the result: {error}"),
        }
    }
    if outcome.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
