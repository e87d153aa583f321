//! A worker with exactly the default features, as a process.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use flagcache_providers::testing::ApiStub;
use flagcache_test_support::WorkerProcess;
use tempfile::TempDir;

const AMPLE: Duration = Duration::from_secs(40);

/// What else is in the build.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Build {
    Default,
    /// Another crate enables `reqwest/http2`.
    WithHttp2,
}

/// Builds the worker. Where it is.
pub(crate) fn executable(build: Build) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/real_http/worker/Cargo.toml"
        ))
        .arg("--target-dir")
        .arg(target);
    let name = match build {
        Build::Default => "default-worker-as-it-is",
        Build::WithHttp2 => {
            cargo.args(["--features", "http2"]);
            "default-worker-with-http2"
        }
    };
    let output = cargo.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // The next build has the same name.
    let copy = target.join(name);
    let new = target.join(format!("{name}.{}", std::process::id()));
    std::fs::copy(target.join("debug/default-worker"), &new).unwrap();
    std::fs::rename(new, &copy).unwrap();
    copy
}

pub(crate) struct Worker {
    worker: WorkerProcess<String>,
    /// How many answers were returned.
    answers: usize,
    _cache: TempDir,
}

impl Worker {
    /// Starts one that asks `host`, and has no proxy but those of `variables`.
    pub(crate) fn start(build: Build, host: &str, variables: &[(&str, &str)]) -> Self {
        Self::start_in(&[], build, host, variables)
    }

    /// The same below another command.
    pub(crate) fn start_in(
        below: &[&str],
        build: Build,
        host: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let cache = TempDir::new().unwrap();
        let executable = executable(build);
        let mut command = match below {
            [] => Command::new(executable),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(executable);
                command
            }
        };
        for name in [
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "NO_PROXY",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
        ] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command
            .arg(cache.path().join("cache"))
            .env("POSTHOG_HOST", host)
            .env("POSTHOG_PROJECT_KEY", ApiStub::PROJECT_KEY)
            .env("POSTHOG_SECRET_KEY", ApiStub::SECRET_KEY)
            .envs(variables.iter().copied());
        Self {
            worker: WorkerProcess::start(&mut command, |line| Some(line.to_owned())),
            answers: 0,
            _cache: cache,
        }
    }

    /// Performs one load, and returns its result.
    pub(crate) fn refresh(&mut self) -> String {
        // A worker that could not be built has ended; its report contains the reason.
        let _ = self.worker.process.send_line("refresh");
        let next = self.answers;
        self.answers += 1;
        self.worker
            .find(AMPLE, |answers| answers.get(next).cloned())
            .unwrap()
    }
}

/// The number of flags that a load brought.
#[track_caller]
pub(crate) fn flags(answer: &str) -> usize {
    let mut words = answer.split(' ');
    assert_eq!(words.next(), Some("ok"), "{answer}");
    words.next().unwrap().parse().unwrap()
}
