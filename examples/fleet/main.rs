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
//! | `workspace`, `server` | the stores of one run, and their removal |
//! | `protocol`, `reporting` | the reports of a worker, and the decorators that send them |
//! | `process`, `record`, `fleet` | the parent process: worker processes and their reports |
//! | `phases`, `faults`, `ticks`, `shared`, `story` | the steps of a fleet, and the claims about it |
//! | `claims`, `figures`, `table`, `text`, `output` | the output |
//! | `view_model`, `view`, `screen` | the live view, on a terminal |

mod api;
mod args;
mod cache;
mod claims;
mod faults;
mod figures;
mod fleet;
mod output;
mod phases;
mod process;
mod protocol;
mod record;
mod reporting;
mod screen;
mod server;
mod shared;
mod signals;
mod story;
mod table;
mod text;
mod ticks;
mod view;
mod view_model;
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
use output::{Output, OutputMode};
use signals::{StopSignal, Suspension};
use workspace::Workspace;

const BAD_OPTIONS: u8 = 2;
/// The exit code that shells give a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;
/// The exit code that shells give a program whose output is closed.
const OUTPUT_CLOSED: u8 = 141;

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
            Output::new(OutputMode::Lines).print(args::USAGE);
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
        Err(problem) => usage_error(&problem),
    }
}

fn usage_error(problem: &dyn Display) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::from(BAD_OPTIONS)
}

fn output_mode(args: &StoryArgs) -> OutputMode {
    // Logs would be written over the view.
    let logs = std::env::var_os("RUST_LOG").is_some_and(|wanted| !wanted.is_empty());
    match args {
        StoryArgs { json: true, .. } => OutputMode::LinesOnStderr,
        StoryArgs { plain: true, .. } => OutputMode::Lines,
        _ if logs && std::io::stderr().is_terminal() => OutputMode::Lines,
        _ => OutputMode::View,
    }
}

/// How a story ends.
enum Ending {
    Finished(Box<Outcome>),
    Interrupted,
    OutputClosed,
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
        Err(problem) => return usage_error(&problem),
    };
    let mut workspace = match Workspace::new(args.cache.as_ref()) {
        Ok(workspace) => workspace,
        Err(problem) => return usage_error(&problem),
    };
    let checked = tokio::select! {
        checked = workspace.check() => Some(checked),
        () = stop_signal.received() => None,
    };
    match checked {
        Some(Ok(())) => {}
        Some(Err(problem)) => return usage_error(&problem),
        None => {
            return conclude_early(&workspace, &Output::new(output_mode(args).without_view()))
                .await;
        }
    }

    let output = Output::new(output_mode(args));
    let ending = {
        let mut running = pin!(story::run(args, credentials, &workspace, &output));
        let mut suspension = Suspension::new();
        loop {
            tokio::select! {
                outcome = &mut running => break Ending::Finished(Box::new(outcome)),
                () = stop_signal.received() => break Ending::Interrupted,
                () = output.closed() => break Ending::OutputClosed,
                () = suspension.received(), if output.is_live() => {
                    output.close_view();
                    suspension.suspend();
                    output.open_view();
                }
            }
        }
        // The processes end with the story that owned them.
    };
    output.end_view();
    match ending {
        Ending::Finished(outcome) => conclude(args, &outcome, &output),
        Ending::Interrupted => conclude_early(&workspace, &output).await,
        Ending::OutputClosed => {
            if let Err(problem) = workspace.clear().await {
                eprintln!("not all is removed: {problem}");
            }
            ExitCode::from(OUTPUT_CLOSED)
        }
    }
}

/// Removes everything that the run created.
async fn conclude_early(workspace: &Workspace, output: &Output) -> ExitCode {
    let end = "interrupted; all workers are ended";
    match workspace.clear().await {
        Ok(Some(cleared)) => output.log(format!("{end}, {cleared} removed")),
        Ok(None) => output.log(end),
        Err(problem) => output.log(format!("{end}, but not all is removed: {problem}")),
    }
    ExitCode::from(INTERRUPTED)
}

/// Prints the result of the story.
fn conclude(args: &StoryArgs, outcome: &Outcome, output: &Output) -> ExitCode {
    if outcome.unshared.cold_start.is_some() {
        output.print(&format!("\n{}", table::render(outcome)));
    }
    for claim in outcome.claims.iter().filter(|claim| !claim.held) {
        output.print(&format!(
            "does not hold: {} ({})",
            claim.claim, claim.measured
        ));
    }
    if let Some(error) = &outcome.error {
        output.print(&format!("the story ended early: {error}"));
    }
    if args.json {
        match serde_json::to_string(outcome) {
            Ok(line) => Output::new(OutputMode::Lines).print(&line),
            Err(error) => eprintln!("cannot print the result: {error}"),
        }
    }
    if outcome.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
