//! A worker in a process of its own, which the tests talk to by lines and may kill.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// The environment of a worker.
pub(crate) const ROLE: &str = "FLAGCACHE_TEST_ROLE";
pub(crate) const FOLDER: &str = "FLAGCACHE_TEST_FOLDER";
/// Sets what a worker says apart from what the test harness prints.
const MARK: char = '@';

/// One thing that a worker said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) word: String,
    pub(crate) number: u64,
    /// When, on the clock of the machine, since the epoch.
    pub(crate) at: Duration,
}

impl Said {
    pub(crate) fn is(&self, word: &str, number: u64) -> bool {
        self.word == word && self.number == number
    }

    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.strip_prefix(MARK)?.split(' ');
        let word = parts.next()?.to_owned();
        let number = parts.next()?.parse().ok()?;
        let at = Duration::from_micros(parts.next()?.parse().ok()?);
        Some(Self { word, number, at })
    }
}

/// Says something to the test, from within a worker; `at` is when it was so.
pub(crate) fn say(word: &str, number: u64, at: Duration) {
    println!("{MARK}{word} {number} {}", at.as_micros());
}

/// Now, on the clock that all processes of a machine share.
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
}

pub(crate) struct WorkerProcess {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<Said>,
    said: Vec<Said>,
    /// How much of what was said a wait has passed over.
    waited: usize,
}

impl WorkerProcess {
    pub(crate) fn start(role: &str, folder: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "worker", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        thread::spawn(move || {
            let said = stdout
                .lines()
                .map_while(Result::ok)
                .filter_map(|line| Said::parse(&line));
            said.map(|said| tell.send(said))
                .take_while(Result::is_ok)
                .for_each(drop);
        });
        Self {
            child,
            stdin,
            lines,
            said: Vec::new(),
            waited: 0,
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Waits for the next thing of this kind.
    pub(crate) fn waits_for(&mut self, limit: Duration, is_it: impl Fn(&Said) -> bool) -> Said {
        let deadline = Instant::now() + limit;
        loop {
            while let Some(said) = self.said.get(self.waited) {
                self.waited += 1;
                if is_it(said) {
                    return said.clone();
                }
            }
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(said) => self.said.push(said),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("the worker never said it, only {:?}", self.said)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the worker ended; it said {:?}", self.said)
                }
            }
        }
    }

    /// What it said since this was last asked.
    pub(crate) fn heard(&mut self) -> Vec<Said> {
        let known = self.said.len();
        self.said.extend(self.lines.try_iter());
        self.said[known..].to_vec()
    }

    /// All that it ever said.
    pub(crate) fn all(&mut self) -> Vec<Said> {
        self.heard();
        self.said.clone()
    }

    /// SIGKILL. When it was sent.
    pub(crate) fn kill(&mut self) -> Duration {
        let at = now();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        at
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // Fails if it was killed before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
