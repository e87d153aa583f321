//! A worker process, seen from its parent.

use std::env::current_exe;
use std::io::{self, IsTerminal};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use flagcache_test_support::Process;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep};

use crate::api::Credentials;
use crate::args::WorkerArgs;
use crate::cache::CacheUrl;
use crate::output::FleetDisplay;
use crate::protocol::{Event, Order, Report, UnixMicros};

/// A running worker, which ends with this program at the latest.
#[derive(Debug)]
pub(crate) struct WorkerProcess {
    pub(crate) name: String,
    process: Process,
}

/// A report, and who sent it.
pub(crate) type Message = (String, Report);

impl WorkerProcess {
    /// Starts this program as a worker. Its reports go to `reports`.
    pub(crate) fn start(
        args: &WorkerArgs,
        credentials: &Credentials,
        cache: Option<&CacheUrl>,
        reports: UnboundedSender<Message>,
        display: &FleetDisplay,
    ) -> io::Result<Self> {
        let spoils_view = display.is_live && io::stderr().is_terminal();
        let mut command = Command::new(current_exe()?);
        command
            .args(args.to_args())
            .envs(credentials.to_env())
            .envs(cache.map(CacheUrl::to_env))
            .stderr(if spoils_view {
                Stdio::piped()
            } else {
                Stdio::inherit()
            });
        let mut process = Process::start_piped(&mut command)?;
        let (reported, errors) = (process.lines(), process.error_lines());
        let worker = Self {
            name: args.name.clone(),
            process,
        };
        display.view_model.started(&args.name);
        let (name, own_display) = (args.name.clone(), display.clone());
        std::thread::Builder::new()
            .name(args.name.clone())
            .spawn(move || forward(&name, reported, &reports, &own_display))?;
        let (name, own_display) = (args.name.clone(), display.clone());
        std::thread::Builder::new()
            .name(args.name.clone())
            .spawn(move || show(&name, errors, &own_display))?;
        Ok(worker)
    }

    pub(crate) fn order(&mut self, order: Order) -> io::Result<()> {
        // A line is far shorter than the buffer of a pipe, so this does not wait.
        self.process.send_line(order.as_str())
    }

    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// Asks the worker to shut down.
    pub(crate) fn terminate(&mut self) -> io::Result<()> {
        self.process.terminate()
    }

    /// How it ended; `None` if it has not within `timeout`.
    pub(crate) async fn ended(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        const POLL_INTERVAL: Duration = Duration::from_millis(2);
        let deadline = Instant::now() + timeout;
        loop {
            match self.process.exit()? {
                None if Instant::now() < deadline => sleep(POLL_INTERVAL).await,
                status => return Ok(status),
            }
        }
    }
}

/// Runs on a thread until the worker's output ends, which happens with the worker at the latest.
fn forward(
    name: &str,
    lines: impl Iterator<Item = String>,
    reports: &UnboundedSender<Message>,
    display: &FleetDisplay,
) {
    let forward = |report: Report| {
        display.view_model.reported(display.fleet, name, &report);
        let _ = reports.send((name.to_owned(), report));
    };
    // A line cut short by a kill is no report.
    lines
        .filter_map(|line| serde_json::from_str(&line).ok())
        .for_each(forward);
    forward(Report {
        at: UnixMicros::now(),
        event: Event::Gone,
    });
}

/// Adds a worker's standard error to the story, because it would damage the view.
fn show(name: &str, errors: impl Iterator<Item = String>, display: &FleetDisplay) {
    for line in errors {
        display.view_model.log(format!("         {name}: {line}"));
    }
}
