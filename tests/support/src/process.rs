//! [`Process`] and [`WorkerProcess`]: child processes of a test.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A child process. Dropping it kills it and waits for its end, so it never outlives the test.
#[derive(Debug)]
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
}

impl Process {
    /// Starts a command as it is.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.spawn()?;
        let input = child.stdin.take();
        Ok(Self { child, input })
    }

    /// Starts a command without input and output.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start_silent(command: &mut Command) -> io::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self::start(command)
    }

    /// Starts a command with a pipe for its input and one for its output. The pipes close when this process ends in any
    /// way, even killed, so that the child can end then too.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start_piped(command: &mut Command) -> io::Result<Self> {
        Self::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its input.
    ///
    /// # Errors
    /// If its input is not a pipe, or is closed.
    pub fn send_line(&mut self, line: &str) -> io::Result<()> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(format!("{line}\n").as_bytes())
    }

    /// Closes its input.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// An iterator over the lines of its output, which blocks until the next line. Empty if the output is not a pipe,
    /// or was taken before.
    pub fn lines(&mut self) -> impl Iterator<Item = String> + Send + use<> {
        lines(self.child.stdout.take())
    }

    /// The lines of its standard error, as [`lines`](Self::lines).
    pub fn error_lines(&mut self) -> impl Iterator<Item = String> + Send + use<> {
        lines(self.child.stderr.take())
    }

    /// How it ended, if it has ended.
    ///
    /// # Errors
    /// If the status of the process cannot be read.
    pub fn exit(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for its end. `None` if it still runs after `timeout`.
    ///
    /// # Errors
    /// If the status of the process cannot be read.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.exit()? {
                None if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                exit => return Ok(exit),
            }
        }
    }

    /// Kills it: SIGKILL, or the equivalent where there are no signals. Waits for its end.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Pauses it (SIGSTOP): its connections stay open, and it does nothing.
    ///
    /// # Errors
    /// If it has ended.
    #[cfg(unix)]
    pub fn pause(&self) -> io::Result<()> {
        self.signal(rustix::process::Signal::STOP)
    }

    /// Resumes it (SIGCONT).
    ///
    /// # Errors
    /// If it has ended.
    #[cfg(unix)]
    pub fn resume(&self) -> io::Result<()> {
        self.signal(rustix::process::Signal::CONT)
    }

    /// Asks it to shut down: SIGTERM, as from any process manager. Where there are no signals, its input is closed.
    ///
    /// # Errors
    /// If it has ended.
    pub fn terminate(&mut self) -> io::Result<()> {
        #[cfg(unix)]
        return self.signal(rustix::process::Signal::TERM);
        #[cfg(not(unix))]
        {
            self.close_input();
            Ok(())
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has ended.
    #[cfg(unix)]
    pub fn signal(&self, signal: rustix::process::Signal) -> io::Result<()> {
        let id = rustix::process::Pid::from_child(&self.child);
        Ok(rustix::process::kill_process(id, signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that the process has already ended. SIGKILL also ends a paused process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(output: Option<impl Read + Send>) -> impl Iterator<Item = String> + Send {
    let lines = output.map(|output| BufReader::new(output).lines().map_while(Result::ok));
    lines.into_iter().flatten()
}

/// A child process that takes orders on its standard input, one a line, and reports on its standard output.
#[derive(Debug)]
pub struct WorkerProcess<R> {
    /// The process itself.
    pub process: Process,
    incoming: Receiver<R>,
    reports: Vec<R>,
}

impl<R: Send + 'static> WorkerProcess<R> {
    /// Starts a worker. `parse` converts lines of its output into reports; other lines are ignored.
    ///
    /// # Panics
    ///
    /// If the program cannot be started.
    pub fn start(
        command: &mut Command,
        parse: impl Fn(&str) -> Option<R> + Send + 'static,
    ) -> Self {
        let mut process = Process::start_piped(command)
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let lines = process.lines();
        let (sender, incoming) = channel();
        std::thread::spawn(move || {
            // It ends with the worker's output, or when the worker is dropped.
            let _ = lines
                .filter_map(|line| parse(&line))
                .try_for_each(|report| sender.send(report));
        });
        Self {
            process,
            incoming,
            reports: Vec::new(),
        }
    }

    /// Sends an order.
    ///
    /// # Panics
    ///
    /// If the worker has ended.
    pub fn order(&mut self, line: &str) {
        self.process
            .send_line(line)
            .unwrap_or_else(|error| panic!("cannot send {line:?} to a worker: {error}"));
    }

    /// All its reports so far.
    pub fn reports(&mut self) -> &[R] {
        self.reports.extend(self.incoming.try_iter());
        &self.reports
    }

    /// Waits until `find` finds something in the reports. `None` if it does not within `timeout`, or before the worker
    /// ends.
    pub fn find<T>(
        &mut self,
        timeout: Duration,
        mut find: impl FnMut(&[R]) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(found) = find(self.reports()) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            self.reports.push(self.incoming.recv_timeout(left).ok()?);
        }
    }
}
