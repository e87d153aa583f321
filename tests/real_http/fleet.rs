//! The fleet example, as a user runs it, through a TLS front with HTTP/2.

use std::process::Command;

use flagcache_providers::testing::ApiStub;
use flagcache_test_support::Certificates;
use serde_json::Value;
use tempfile::TempDir;

use crate::front::stub;
use crate::nginx::Nginx;

#[tokio::test(flavor = "multi_thread")]
async fn b9_69_the_fleet_example_runs_over_https() {
    let stub = stub(50).await;
    let certificates = Certificates::make();
    let front = Nginx::tls(&certificates, "server", true, &stub.url());
    let temporary = TempDir::new().unwrap();
    let test = std::env::current_exe().unwrap();
    let fleet = test.ancestors().nth(2).unwrap().join("examples/fleet");
    assert!(
        fleet.exists(),
        "{} is missing: run `cargo build --all-features --example fleet` first",
        fleet.display()
    );
    let mut command = Command::new(fleet);
    command
        .arg("--json")
        .env("TMPDIR", temporary.path())
        .env("POSTHOG_HOST", front.url())
        .env("POSTHOG_PROJECT_KEY", ApiStub::PROJECT_KEY)
        .env("POSTHOG_SECRET_KEY", ApiStub::SECRET_KEY)
        .env("SSL_CERT_FILE", certificates.path("root.crt"));
    let output = tokio::task::block_in_place(|| command.output().unwrap());
    let story = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{story}");
    let stdout = std::str::from_utf8(&output.stdout).unwrap();
    let _: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert!(
        front.log().iter().all(|line| line.starts_with("HTTP/1.1 ")),
        "{:?}",
        front.log()
    );
    assert!(stub.stats().requests > 0);
}
