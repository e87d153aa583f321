//! One load for jobs that run and end, and the readers it writes for.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use flagcache::{
    FlagDefinitionCacheProvider, FlagDefinitionPoller, MemoryStore, PostHogApi, RefreshOnceError,
    RefreshOutcome, Role, refresh_once,
};
use flagcache_providers::testing::{ApiStub, Definitions};

fn api(stub: &ApiStub) -> PostHogApi {
    PostHogApi::builder()
        .host(stub.url())
        .project_key(ApiStub::PROJECT_KEY)
        .secret_key(ApiStub::SECRET_KEY)
        .build()
        .expect("a valid configuration")
}

#[tokio::test]
async fn a_job_pays_for_a_change_and_one_unit_otherwise() {
    let stub = ApiStub::start().await.expect("a free port");
    let mut definitions = Definitions::realistic(5, 1);
    stub.set_definitions(definitions.to_json());
    let store = MemoryStore::new();

    let first = refresh_once(api(&stub), store.provider())
        .await
        .expect("the first run");
    assert_eq!(
        (first.outcome, first.units_spent),
        (RefreshOutcome::Published, 10)
    );
    let second = refresh_once(api(&stub), store.provider())
        .await
        .expect("the second run");
    assert_eq!(
        (second.outcome, second.units_spent),
        (RefreshOutcome::Unchanged, 1)
    );
    assert_eq!(
        second.definitions.map(|set| set.len()),
        first.definitions.map(|set| set.len())
    );

    let key = definitions.keys().next().expect("a flag").to_owned();
    assert!(definitions.set_rollout(&key, 12.5), "the flag is there");
    stub.set_definitions(definitions.to_json());
    let third = refresh_once(api(&stub), store.provider())
        .await
        .expect("the third run");
    assert_eq!(
        (third.outcome, third.units_spent),
        (RefreshOutcome::Published, 10)
    );
}

#[tokio::test]
async fn a_job_leaves_a_led_store_alone_and_a_reader_reads_what_it_wrote() {
    let stub = ApiStub::start().await.expect("a free port");
    let store = MemoryStore::new();
    refresh_once(api(&stub), store.provider())
        .await
        .expect("the first run");

    let leader = store.provider();
    assert!(
        leader
            .should_fetch_flag_definitions()
            .await
            .expect("a decision"),
        "the job has released leadership"
    );
    let requests = stub.requests().len();
    let led = refresh_once(api(&stub), store.provider())
        .await
        .expect("a run beside a leader");
    assert_eq!(
        (led.outcome, led.units_spent),
        (RefreshOutcome::LedByAnother, 0)
    );
    assert_eq!(stub.requests().len(), requests);

    let reader = FlagDefinitionPoller::builder()
        .flag_definition_cache_provider(store.provider())
        .start()
        .expect("a start");
    reader
        .wait_ready(Duration::from_secs(5))
        .await
        .expect("flags");
    assert_eq!(reader.status().role, Role::Reader);
    reader.shutdown().await.expect("an end");
    assert_eq!(stub.requests().len(), requests, "a reader sends nothing");
}

#[tokio::test]
async fn a_job_says_what_failed() {
    let stub = ApiStub::start().await.expect("a free port");
    let without_key = PostHogApi::builder()
        .host(stub.url())
        .project_key(ApiStub::PROJECT_KEY)
        .build()
        .expect("a valid configuration");
    let refused = refresh_once(without_key, MemoryStore::new().provider()).await;
    assert!(matches!(refused, Err(RefreshOnceError::NoSecretKey)));

    let wrong = PostHogApi::builder()
        .host(stub.url())
        .project_key(ApiStub::PROJECT_KEY)
        .secret_key("phs_wrong")
        .build()
        .expect("a valid configuration");
    let error = refresh_once(wrong, MemoryStore::new().provider())
        .await
        .expect_err("a wrong key");
    let error = format!("{error:#} {error:?}");
    assert!(error.contains("401"), "{error}");
    assert!(!error.contains("phs_wrong"), "{error}");
}
