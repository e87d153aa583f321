//! A worker process, seen from its parent.

use std::env::current_exe;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep};

use crate::api::Credentials;
use crate::args::WorkerArgs;
use crate::cache::CacheUrl;
use crate::narrator::Stage;
use crate::protocol::{Event, Order, Report, UnixMicros};

/// A running worker. Dropping it kills it and waits for its end, so it never outlives this program.
///
/// Its standard input is a pipe for [`Order`]s. It closes when this process ends in any way, even killed, and the worker
/// ends then too.
#[derive(Debug)]
pub(crate) struct WorkerProcess {
    pub(crate) name: String,
    child: Child,
}

/// A report, and who sent it.
pub(crate) type Message = (String, Report);

impl WorkerProcess {
    /// Starts this very program as a worker. What it reports goes to `reports`.
    pub(crate) fn start(
        args: &WorkerArgs,
        credentials: &Credentials,
        cache: Option<&CacheUrl>,
        reports: UnboundedSender<Message>,
        stage: &Stage,
    ) -> io::Result<Self> {
        let spoils_view = stage.is_live && io::stderr().is_terminal();
        let mut child = Command::new(current_exe()?)
            .args(args.to_args())
            .envs(credentials.to_env())
            .envs(cache.map(CacheUrl::to_env))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if spoils_view {
                Stdio::piped()
            } else {
                Stdio::inherit()
            })
            .spawn()?;
        let (output, complaints) = (child.stdout.take(), child.stderr.take());
        let worker = Self {
            name: args.name.clone(),
            child,
        };
        stage.board.started(&args.name);
        if let Some(output) = output {
            let (name, stage) = (args.name.clone(), stage.clone());
            let forward = move || forward(&name, output, &reports, &stage);
            std::thread::Builder::new()
                .name(args.name.clone())
                .spawn(forward)?;
        }
        if let Some(complaints) = complaints {
            let (name, stage) = (args.name.clone(), stage.clone());
            let show = move || show(&name, complaints, &stage);
            std::thread::Builder::new()
                .name(args.name.clone())
                .spawn(show)?;
        }
        Ok(worker)
    }

    pub(crate) fn order(&mut self, order: Order) -> io::Result<()> {
        // A line is far shorter than what a pipe holds, so this does not wait.
        let input = self.child.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(order.line().as_bytes())
    }

    /// Sends SIGKILL, or the equivalent where there are no signals.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Asks the worker to shut down: SIGTERM, as from any process manager. Where there are no signals, its input is closed.
    pub(crate) fn terminate(&mut self) -> io::Result<()> {
        #[cfg(unix)]
        {
            use rustix::process::{Pid, Signal, kill_process};
            Ok(kill_process(Pid::from_child(&self.child), Signal::TERM)?)
        }
        #[cfg(not(unix))]
        {
            self.child.stdin = None;
            Ok(())
        }
    }

    /// How it ended; `None` if it has not within `limit`.
    pub(crate) async fn ended(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        const BETWEEN_LOOKS: Duration = Duration::from_millis(2);
        let deadline = Instant::now() + limit;
        loop {
            match self.child.try_wait()? {
                None if Instant::now() < deadline => sleep(BETWEEN_LOOKS).await,
                status => return Ok(status),
            }
        }
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // They fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs on a thread until the worker's output ends, which happens with the worker at the latest.
fn forward(name: &str, output: ChildStdout, reports: &UnboundedSender<Message>, stage: &Stage) {
    let forward = |report: Report| {
        stage.board.reported(stage.fleet, name, &report);
        let _ = reports.send((name.to_owned(), report));
    };
    let lines = BufReader::new(output).lines().map_while(Result::ok);
    // A line cut short by a kill is no report.
    lines
        .filter_map(|line| serde_json::from_str(&line).ok())
        .for_each(forward);
    forward(Report {
        at: UnixMicros::now(),
        event: Event::Gone,
    });
}

/// What a worker writes to its standard error would spoil the view; it becomes part of the story.
fn show(name: &str, complaints: ChildStderr, stage: &Stage) {
    for line in BufReader::new(complaints).lines().map_while(Result::ok) {
        stage.board.log(format!("         {name}: {line}"));
    }
}
