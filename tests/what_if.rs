//! What a user sees when something is down, where no other test shows it whole: a real poller, a real store, a real request.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::time::Duration;

use flagcache::{FileStore, FlagDefinitionPoller, NotReadyError, PollerState, PostHogApi, Role};
use flagcache_providers::testing::{ApiReply, ApiStub, Definitions};
use flagcache_test_support::eventually;
use tempfile::TempDir;

const FLAGS: usize = 5;
/// So long that no tick comes while a test runs.
const NO_TICKS: Duration = Duration::from_secs(600);
const AMPLE: Duration = Duration::from_secs(30);

async fn stub() -> ApiStub {
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(Definitions::realistic(FLAGS, 1));
    stub
}

fn start(stub: &ApiStub, folder: &Path) -> FlagDefinitionPoller {
    let api = PostHogApi::builder()
        .host(stub.url())
        .project_key(ApiStub::PROJECT_KEY)
        .secret_key(ApiStub::SECRET_KEY);
    let store = FileStore::builder(folder, "checkout").build().unwrap();
    let poller = FlagDefinitionPoller::builder().source(api.build().unwrap());
    poller
        .flag_definition_cache_provider(store.provider())
        .poll_interval(NO_TICKS)
        .start()
        .unwrap()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    eventually(what, AMPLE, async || condition()).await;
}

#[tokio::test]
async fn workers_whose_folder_cannot_be_used_fetch_for_themselves() {
    let stub = stub().await;
    let place = TempDir::new().unwrap();
    // Not even root can make a folder in a file.
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();

    for worker in 1..=2 {
        let flags = start(&stub, &file.join("cache"));
        flags.wait_ready(AMPLE).await.unwrap();
        assert_eq!(flags.definitions().unwrap().len(), FLAGS);
        until("the load is over", || flags.status().counters.loads > 0).await;
        let status = flags.status();
        assert_eq!(
            (status.state, status.role),
            (PollerState::Ready, Role::Undecided)
        );
        assert_eq!(
            (status.counters.requests, stub.stats().requests),
            (1, worker)
        );
        let error = format!("{:#}", status.last_error.unwrap());
        assert!(
            error.contains("checkout.lock: a part of the path is a file; name a folder"),
            "{error}"
        );
        flags.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_worker_without_an_api_and_without_a_copy_has_no_flags_and_says_why() {
    let stub = stub().await;
    stub.always(ApiReply::status(503));
    let place = TempDir::new().unwrap();
    let flags = start(&stub, place.path());
    until("the load is over", || flags.status().counters.loads > 0).await;

    let not_ready = flags
        .wait_ready(Duration::from_millis(1))
        .await
        .unwrap_err();
    let NotReadyError::Timeout {
        last_error: Some(error),
        ..
    } = not_ready
    else {
        unreachable!("{not_ready}")
    };
    assert!(format!("{error:#}").contains("answered 503"), "{error:#}");
    assert!(flags.definitions().is_none());
    assert_eq!(flags.status().state, PollerState::Starting);

    stub.clear();
    flags.refresh().await.unwrap();
    assert_eq!(flags.definitions().unwrap().len(), FLAGS);
    assert_eq!(flags.status().state, PollerState::Ready);
    flags.shutdown().await.unwrap();
}
