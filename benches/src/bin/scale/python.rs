//! Workers of PostHog's Python SDK, which share through Redis as its documentation shows. `scripts/peers` installs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use flagcache_providers::testing::ApiStub;
use flagcache_test_support::Process;
use serde_json::{Value, json};

use crate::worker::SERVICE;
use crate::workers::AMPLE;

/// Dropped, all its processes are killed.
pub(crate) struct Pythons {
    _processes: Vec<Process>,
    /// How many flags each worker has.
    flags: Vec<u64>,
    receiver: Receiver<(usize, u64)>,
}

impl Pythons {
    /// The interpreter that has the SDK; `None` if `scripts/peers` has not been run.
    pub(crate) fn interpreter() -> Option<PathBuf> {
        let target = std::env::current_exe()
            .unwrap()
            .parent()?
            .parent()?
            .to_owned();
        let folder = target.join("peers/python");
        folder
            .join("installed")
            .exists()
            .then(|| folder.join("bin/python"))
    }

    /// Starts the workers, one process each.
    pub(crate) fn start(
        python: &Path,
        api: &str,
        redis: &str,
        interval: Duration,
        workers: usize,
    ) -> Self {
        let assignment = json!({
            "api": api,
            "redis": redis,
            "service": SERVICE,
            "project_key": ApiStub::PROJECT_KEY,
            "secret_key": ApiStub::SECRET_KEY,
            "interval_ms": interval.as_millis(),
            // As in PostHog's example: a lock that outlasts two polls by far.
            "lock_ttl_ms": 60_000,
            "waits_to_begin": false,
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/worker.py");
        let (sender, receiver) = channel();
        let processes = (0..workers).map(|worker| {
            let mut command = Command::new(python);
            command
                .arg(&script)
                .env("FLAGCACHE_TEST_ASSIGNMENT", assignment.to_string());
            let mut process = Process::start_piped(&mut command).unwrap();
            let (lines, sender) = (process.lines(), sender.clone());
            thread::spawn(move || listen(worker, lines, &sender));
            process
        });
        Self {
            _processes: processes.collect(),
            flags: vec![0; workers],
            receiver,
        }
    }

    /// Waits until all have so many flags. How long that took.
    pub(crate) fn all_have(&mut self, flags: u64) -> Duration {
        let begun = Instant::now();
        while self.flags.iter().any(|has| *has != flags) {
            let left = AMPLE.saturating_sub(begun.elapsed());
            let (worker, has) = self
                .receiver
                .recv_timeout(left)
                .expect("a change that reaches all");
            self.flags[worker] = has;
        }
        begun.elapsed()
    }
}

/// Lines that begin with `@` are the worker's; a change names its number of flags.
fn listen(worker: usize, lines: impl Iterator<Item = String>, sender: &Sender<(usize, u64)>) {
    for line in lines {
        let event: Option<Value> = line
            .strip_prefix('@')
            .and_then(|json| serde_json::from_str(json).ok());
        if let Some(flags) = event.and_then(|event| event.get("flags")?.as_u64()) {
            let _ = sender.send((worker, flags));
        }
    }
}
