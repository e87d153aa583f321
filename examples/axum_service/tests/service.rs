//! The service as a process, with a stub of the API.
#![cfg(unix)]

#[path = "seen/dashboard.rs"]
mod dashboard;
#[path = "seen/status_page.rs"]
mod status_page;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use flagcache::testing::{ApiReply, ApiStub};
use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Longer than any step takes, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(60);

/// The first of these programs that is installed.
fn program(names: &[&str]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let installed = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file());
    installed.unwrap_or_else(|| panic!("none of {names:?} is installed"))
}

/// On for users whose plan is `pro`.
fn definitions() -> String {
    let condition = json!({ "properties": [{ "key": "plan", "operator": "exact", "value": "pro", "type": "person" }] });
    json!({ "flags": [{ "key": "new-checkout", "active": true, "filters": { "groups": [condition] } }] }).to_string()
}

/// A service that the test started. It is killed when dropped.
struct Service {
    process: Child,
    url: String,
    client: reqwest::Client,
}

impl Service {
    /// Starts one, and waits until it listens.
    async fn start(stub: &ApiStub, folder: &Path) -> Self {
        Self::start_with(stub, folder, &[]).await
    }

    /// Starts one with these variables too.
    async fn start_with(stub: &ApiStub, folder: &Path, variables: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_axum_service"))
            .envs(variables.iter().copied())
            .env("ADDRESS", SocketAddr::from(([127, 0, 0, 1], 0)).to_string())
            .env("POSTHOG_HOST", stub.url())
            .env("POSTHOG_PROJECT_KEY", ApiStub::PROJECT_KEY)
            .env("POSTHOG_SECRET_KEY", ApiStub::SECRET_KEY)
            .env(
                "FLAGCACHE_URL",
                format!("file://{}?service=shop", folder.display()),
            )
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = timeout(LIMIT, lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .expect("it says where it listens");
        let url = line.strip_prefix("listening on ").unwrap().to_owned();
        Self {
            process,
            url,
            client: reqwest::Client::new(),
        }
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = self
            .client
            .get(format!("{}{path}", self.url))
            .header("x-posthog-session-id", "session-1");
        let response = timeout(LIMIT, request.send()).await.unwrap().unwrap();
        (response.status(), response.text().await.unwrap())
    }

    async fn layout(&self, query: &str) -> String {
        let (status, body) = self.get(&format!("/checkout?{query}")).await;
        assert_eq!(status, StatusCode::OK);
        let body: Value = serde_json::from_str(&body).unwrap();
        body["layout"].as_str().unwrap().to_owned()
    }

    async fn health(&self) -> (StatusCode, Value) {
        let (status, body) = self.get("/healthz").await;
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Waits until it is healthy and reports this role.
    async fn ready(&self, role: &str) {
        let is_ready = async || {
            let (status, health) = self.health().await;
            status == StatusCode::OK && health["role"] == role
        };
        let ready = async {
            while !is_ready().await {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, ready).await.unwrap();
    }

    /// Sends SIGTERM, and waits until it has ended.
    async fn terminate(mut self) -> ExitStatus {
        let id = i32::try_from(self.process.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        timeout(LIMIT, self.process.wait()).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn requests_are_decided_and_their_exposures_arrive_at_the_latest_at_the_end() {
    let (stub, folder) = (
        ApiStub::start().await.unwrap(),
        tempfile::tempdir().unwrap(),
    );
    stub.set_definitions(definitions());
    let service = Service::start(&stub, folder.path()).await;
    service.ready("leader").await;
    for _ in 0..3 {
        assert_eq!(service.layout("user=ada&plan=pro").await, "new");
        assert_eq!(service.layout("user=grace&plan=free").await, "old");
    }
    assert_eq!(
        service.layout("user=linus").await,
        "old",
        "nothing is known of him: that decides nothing"
    );

    let (status, health) = service.health().await;
    assert_eq!(status, StatusCode::OK);
    let shown = [
        "state",
        "role",
        "flags",
        "version",
        "units_spent",
        "last_error",
        "undecidable_flags",
    ];
    let shown = shown.map(|name| health[name].clone());
    assert_eq!(json!(shown), json!(["ready", "leader", 1, 1, 10, null, []]));

    let (status, metrics) = service.get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    for line in [
        "flagcache_requests_total{status=\"ok\"} 1",
        "flagcache_units_spent_total 10",
        "flagcache_definitions_flags 1",
    ] {
        assert!(
            metrics.lines().any(|shown| shown == line),
            "{line} in\n{metrics}"
        );
    }

    assert!(service.terminate().await.success());
    let mut events: Vec<_> = stub.events().iter().map(exposure).collect();
    events.sort();
    let expected = [("ada", true), ("grace", false)];
    let expected = expected.map(|(user, on)| {
        json!([
            "$feature_flag_called",
            user,
            "new-checkout",
            on,
            "session-1",
            "/checkout"
        ])
        .to_string()
    });
    assert_eq!(events, expected);
}

/// The exposures: user, flag and page.
fn exposure(event: &Value) -> String {
    let of = |name: &str| event["properties"][name].clone();
    let session_and_path = (of("$session_id"), of("$request_path"));
    json!([
        event["event"],
        event["distinct_id"],
        of("$feature_flag"),
        of("$feature_flag_response"),
        session_and_path.0,
        session_and_path.1
    ])
    .to_string()
}

#[tokio::test]
async fn two_instances_share_one_request() {
    let (stub, folder) = (
        ApiStub::start().await.unwrap(),
        tempfile::tempdir().unwrap(),
    );
    stub.set_definitions(definitions());
    let first = Service::start(&stub, folder.path()).await;
    first.ready("leader").await;
    let second = Service::start(&stub, folder.path()).await;
    second.ready("follower").await;
    assert_eq!(second.layout("user=ada&plan=pro").await, "new");
    assert_eq!(stub.stats().requests, 1);
    assert!(first.terminate().await.success());
    second.ready("leader").await;
    assert!(second.terminate().await.success());
}

#[tokio::test]
async fn it_answers_and_ends_in_order_while_all_else_is_down() {
    let (stub, folder) = (
        ApiStub::start().await.unwrap(),
        tempfile::tempdir().unwrap(),
    );
    stub.always(ApiReply::status(503));
    let no_folder = folder.path().join("a-file");
    std::fs::write(&no_folder, "").unwrap();
    let service = Service::start(&stub, &no_folder).await;
    stub.wait_until(LIMIT, |stats| stats.requests > 0)
        .await
        .unwrap();
    let (status, health) = service.health().await;
    assert_eq!(
        (status, &health["state"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("starting"))
    );
    assert_eq!(service.layout("user=ada&plan=pro").await, "old");
    assert!(service.terminate().await.success());
    assert!(stub.events().is_empty(), "an exposure was captured");
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Calls the webhook, and returns the status.
async fn flags_changed(service: &Service, authorization: Option<&str>) -> StatusCode {
    let mut request = service
        .client
        .post(format!("{}/flags-changed", service.url))
        .body("{}");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    timeout(LIMIT, request.send())
        .await
        .unwrap()
        .unwrap()
        .status()
}

#[tokio::test]
async fn b12_84_a_webhook_at_a_follower_changes_the_whole_fleet_at_once() {
    let (stub, folder) = (
        ApiStub::start().await.unwrap(),
        tempfile::tempdir().unwrap(),
    );
    stub.set_definitions(definitions());
    let variables = [("WEBHOOK_SECRET", SECRET), ("POLL_SECONDS", "600")];
    let leader = Service::start_with(&stub, folder.path(), &variables).await;
    leader.ready("leader").await;
    let follower = Service::start_with(&stub, folder.path(), &variables).await;
    follower.ready("follower").await;

    let wrong = SECRET.replace('0', "1");
    for refused in [
        None,
        Some(SECRET),
        Some(""),
        Some("Bearer "),
        Some(wrong.as_str()),
    ] {
        assert_eq!(
            flags_changed(&follower, refused).await,
            StatusCode::UNAUTHORIZED
        );
    }
    let short = format!("Bearer {}", &SECRET[1..]);
    assert_eq!(
        flags_changed(&follower, Some(&short)).await,
        StatusCode::UNAUTHORIZED
    );
    let (status, _) = follower.get("/flags-changed").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(stub.requests().len(), 1, "none of them reached PostHog");

    stub.set_definitions(definitions().replace("new-checkout", "newer-checkout"));
    let authorization = format!("Bearer {SECRET}");
    assert_eq!(
        flags_changed(&follower, Some(&authorization)).await,
        StatusCode::ACCEPTED
    );
    let changed = async {
        for service in [&leader, &follower] {
            while service.health().await.1["version"] != 2 {
                sleep(Duration::from_millis(5)).await;
            }
        }
    };
    timeout(Duration::from_secs(10), changed).await.unwrap();
    for service in [leader, follower] {
        assert!(service.terminate().await.success());
    }

    // Without a secret there is no such route.
    let service = Service::start(&stub, folder.path()).await;
    assert_eq!(
        flags_changed(&service, Some(&authorization)).await,
        StatusCode::NOT_FOUND
    );
    assert!(service.terminate().await.success());
}

#[tokio::test]
async fn b12_84_a_storm_of_webhooks_costs_one_request_a_second() {
    const LASTS: Duration = Duration::from_secs(3);
    let (stub, folder) = (
        ApiStub::start().await.unwrap(),
        tempfile::tempdir().unwrap(),
    );
    stub.set_definitions(definitions());
    let variables = [("WEBHOOK_SECRET", SECRET), ("POLL_SECONDS", "600")];
    let service = Service::start_with(&stub, folder.path(), &variables).await;
    service.ready("leader").await;
    let before = stub.requests().len();
    let authorization = format!("Bearer {SECRET}");
    let begin = Instant::now();
    // A thousand a second, or as many as the machine can send.
    let senders = (0..100).map(|_| async {
        let mut sent = 0;
        while begin.elapsed() < LASTS {
            let status = flags_changed(&service, Some(&authorization)).await;
            let known = [StatusCode::ACCEPTED, StatusCode::TOO_MANY_REQUESTS];
            assert!(known.contains(&status), "{status}");
            sent += 1;
            sleep(Duration::from_millis(90)).await;
        }
        sent
    });
    let sent: usize = futures_util::future::join_all(senders)
        .await
        .into_iter()
        .sum();
    let seconds = begin.elapsed().as_secs_f64();
    let requests = stub.requests().len() - before;
    println!("{sent} webhooks in {seconds:.1} s cost {requests} requests");
    assert!(requests >= 1);
    assert!(
        requests as f64 <= seconds.ceil() + 1.0,
        "{requests} requests in {seconds} s"
    );
    assert!(service.terminate().await.success());
}
