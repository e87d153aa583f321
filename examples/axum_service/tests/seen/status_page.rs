//! The page `/status`, in a browser.

use std::path::Path;

use flagcache::testing::{ApiReply, ApiStub};
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use super::{LIMIT, Service, definitions, program};

/// A key that would be a picture and a script if it were not escaped.
const KEY: &str = "<img src=x onerror=alert(1)>&\"'";

/// Runs a browser without a window on this page. Returns what it prints.
async fn browse(browser: &Path, profile: &Path, arguments: &[&str], url: &str) -> String {
    let mut command = Command::new(browser);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(arguments)
        .arg(url)
        .kill_on_drop(true);
    let output = timeout(LIMIT, command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
#[ignore = "needs Chromium or Chrome"]
async fn a_person_sees_the_state_in_a_browser_and_nothing_of_it_is_markup() {
    let browser = program(&["chromium", "chromium-browser", "google-chrome"]);
    let (stub, folder) = (
        ApiStub::start().await.unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let sticky = json!({ "key": KEY, "active": true, "ensure_experience_continuity": true,
        "filters": { "groups": [{ "properties": [], "rollout_percentage": 100 }] } });
    stub.set_definitions(json!({ "flags": [sticky] }).to_string());
    let service = Service::start(&stub, &folder.path().join("store")).await;
    service.ready("leader").await;

    let (page, profile) = (
        format!("{}/status", service.url),
        folder.path().join("profile"),
    );
    let dom = browse(&browser, &profile, &["--dump-dom"], &page).await;
    for shown in [
        "<h1>ready</h1>",
        "<dt>Role</dt><dd>leader</dd>",
        "<dt>Flags</dt><dd>1</dd>",
        "<dt>Spent since the start</dt><dd>10</dd>",
        "<p>None: the last load had no error.</p>",
        "&lt;img src=x onerror=alert(1)&gt;&amp;\"'",
    ] {
        assert!(dom.contains(shown), "{shown} in\n{dom}");
    }
    assert!(!dom.contains("<img") && !dom.contains("<script"), "{dom}");

    let picture = folder.path().join("status.png");
    let screenshot = format!("--screenshot={}", picture.display());
    browse(&browser, &profile, &[&screenshot], &page).await;
    let picture = std::fs::read(picture).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
}

#[tokio::test]
async fn the_page_names_the_methods_of_the_store_that_failed() {
    let (stub, folder) = (
        ApiStub::start().await.unwrap(),
        tempfile::tempdir().unwrap(),
    );
    stub.set_definitions(definitions());
    stub.always(ApiReply::status(503));
    let no_folder = folder.path().join("a-file");
    std::fs::write(&no_folder, "").unwrap();
    let service = Service::start(&stub, &no_folder).await;
    stub.wait_until(LIMIT, |stats| stats.requests > 0)
        .await
        .unwrap();
    let shown = [
        "<h1>starting</h1>",
        "<td>should_fetch_flag_definitions</td>",
        "<dt>Last load</dt>",
        "<dd>server</dd>",
    ];
    let has_all = async || {
        let (_, page) = service.get("/status").await;
        shown.iter().all(|part| page.contains(part))
    };
    let appears = async {
        while !has_all().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let in_time = timeout(LIMIT, appears).await;
    assert!(in_time.is_ok(), "{}", service.get("/status").await.1);
}
