//! Workers of PostHog's Python and Node SDKs, as `scripts/peers` installs them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use flagcache_providers::testing::{ApiReply, ApiStub};
use serde_json::{Value, json};

use crate::fleet::{AMPLE, Fleet};
use crate::process::Worker;
use crate::protocol::{Event, now};
use crate::redis::Server;
use crate::worker::{ASSIGNMENT, SERVICE};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sdk {
    Python,
    Node,
}

impl Sdk {
    pub(crate) const BOTH: [Self; 2] = [Self::Python, Self::Node];

    fn command(self) -> Command {
        let packages = packages();
        let workers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        let (program, worker) = match self {
            Self::Python => (
                packages.join("python/bin/python"),
                workers.join("worker.py"),
            ),
            Self::Node => (PathBuf::from("node"), workers.join("worker.mjs")),
        };
        let mut command = Command::new(program);
        command.arg(worker);
        command
    }
}

/// The folder in which the SDKs are. Without them these tests prove nothing, so they fail.
fn packages() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers");
    let missing = ["python", "node"]
        .into_iter()
        .find(|sdk| !folder.join(sdk).join("installed").exists());
    assert!(
        missing.is_none(),
        "PostHog's {} SDK is missing: run scripts/peers",
        missing.unwrap_or_default()
    );
    folder
}

/// Adds a worker of another SDK to a fleet. Its index.
pub(crate) fn start(fleet: &mut Fleet<Server>, sdk: Sdk, interval: Duration) -> usize {
    let assignment = json!({
        "api": fleet.api.url(),
        "redis": fleet.test_store.0.url(),
        "service": SERVICE,
        "project_key": ApiStub::PROJECT_KEY,
        "secret_key": ApiStub::SECRET_KEY,
        "interval_ms": interval.as_millis(),
        "lock_ttl_ms": fleet.settings.lock_ttl.as_millis(),
        "waits_to_begin": fleet.settings.waits_to_begin,
        "packages": packages().join("node"),
    });
    let index = fleet.workers.len();
    let name = format!("{sdk:?}-{index}").to_lowercase();
    let mut command = sdk.command();
    command.env(ASSIGNMENT, assignment.to_string());
    fleet.workers.push(Worker::start(&name, &mut command));
    index
}

/// A worker that leads and polls by itself is paused while the answer to its request, another set, is on its way.
pub(crate) fn pause_leader_in_a_get(fleet: &mut Fleet<Server>, leader: usize, set: Bytes) {
    let from = fleet.api.count();
    fleet
        .api
        .next(ApiReply::body(set).delay(Duration::from_secs(2)));
    // All other requests are answered 304.
    fleet.wait(AMPLE, "the request", |fleet| {
        fleet
            .api
            .gets_from(from)
            .iter()
            .any(|get| get.status == Some(200))
    });
    fleet.workers[leader].pause();
}

/// What a worker of another SDK makes of a flag.
pub(crate) fn evaluate(fleet: &mut Fleet<Server>, worker: usize, key: &str) -> Value {
    let ordered_at = now();
    fleet.workers[worker].send_line(&json!({ "evaluate": key }).to_string());
    let mut answer = None;
    fleet.wait(AMPLE, "the value of a flag", |fleet| {
        answer = fleet.workers[worker]
            .reports()
            .iter()
            .rev()
            .find_map(|report| match &report.event {
                Event::Evaluated { key: asked, value }
                    if asked == key && report.at >= ordered_at =>
                {
                    Some(value.clone())
                }
                _ => None,
            });
        answer.is_some()
    });
    answer.unwrap_or_default()
}
