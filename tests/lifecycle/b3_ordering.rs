//! B3: what comes late, and what belongs together.

use flagcache::{DefinitionsOrigin, ProviderErrorKind};
use flagcache_providers::testing::{Answer, Fault, Latch, ProviderMethod, Reply};
use tokio::time::sleep;

use crate::support::{Rig, body, foreign, millis, secs, stored};

use ProviderMethod::{FetchWithoutUpdate, Received, ShouldFetch};

const DOWN: Fault = Fault::Error(ProviderErrorKind::Unavailable);

#[tokio::test(start_paused = true)]
async fn b3_34_a_hedge_that_comes_after_the_read_is_ignored() {
    for late in [
        Reply::current(),
        Reply::failure(flagcache::FetchErrorKind::Unauthorized),
    ] {
        let rig = Rig::following_nothing();
        rig.provider
            .read()
            .then(Answer::value(Some(stored("read", "\"r\""))).after(millis(1500)));
        rig.provider.read().always(Some(stored("read", "\"r\"")));
        let gate = Latch::new();
        rig.api.then(late.once_open(&gate));
        let worker = rig.start();
        worker.api.requested(1).await;
        worker.loads(1).await;
        assert_eq!(worker.key().as_deref(), Some("read"));
        gate.open();
        sleep(secs(5)).await;
        let status = worker.poller.status();
        assert_eq!(
            (worker.key().as_deref(), status.api_failure, status.version),
            (Some("read"), None, 1)
        );
        assert!(
            worker.api.requests()[0].ended.is_some(),
            "the request was cut"
        );
        worker.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b3_34_a_read_that_comes_after_the_hedge_is_ignored() {
    let rig = Rig::following_nothing();
    rig.provider
        .read()
        .then(Answer::value(Some(stored("old", "\"o\""))).after(millis(1500)));
    let worker = rig.start();
    worker.loads(1).await;
    assert_eq!(worker.key().as_deref(), Some("a"));
    assert_eq!(worker.poller.status().origin, Some(DefinitionsOrigin::Api));
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b3_34_the_answer_of_a_call_that_was_cut_is_ignored() {
    let rig = Rig::following(stored("a", "\"a\""));
    let worker = rig.start_with(|builder| builder.read_failure(flagcache::ReadFailure::Keep));
    worker.loads(1).await;
    worker
        .provider
        .read()
        .then(Answer::value(Some(stored("late", "\"l\""))).after(secs(3)));
    worker.loads(2).await;
    sleep(secs(5)).await;
    assert_eq!(
        (worker.key().as_deref(), worker.poller.status().version),
        (Some("a"), 1)
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b3_35_a_304_counts_only_for_the_etag_that_was_sent() {
    // The hedge goes out before the stored copy, and with it an ETag, comes in.
    let rig = Rig::new();
    rig.provider
        .stored()
        .then(Answer::value(Some(stored("old", "\"o\""))).after(millis(1500)));
    rig.api.then(Reply::not_modified(None).after(secs(1)));
    let worker = rig.start();
    worker.loads(1).await;
    assert_eq!(
        worker.api.etags_sent(),
        [None, None],
        "the 304 to no ETag confirms nothing"
    );
    assert_eq!(worker.key().as_deref(), Some("a"));
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b3_36_publish_is_bounded_and_holds_up_no_reader() {
    let rig = Rig::new();
    rig.provider.publish().then_fault(Fault::Hang);
    let worker = rig.start();
    worker.provider.called(Received, 1).await;
    assert_eq!(
        worker.key().as_deref(),
        Some("a"),
        "memory is swapped before the publish"
    );
    worker.loads(1).await;
    let calls = worker.provider.calls();
    let publish = calls.iter().find(|call| call.method == Received).unwrap();
    assert_eq!(publish.ended.unwrap().0 - publish.started, secs(2));
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b3_37_rolled_back_flags_come_back_to_a_leader_that_followed_meanwhile() {
    let worker = Rig::new().start();
    worker.loads(1).await;
    // Another worker leads: it fetches and stores B. Then the flags are rolled back to A, and this worker leads again.
    worker.provider.decision().always(false);
    worker.provider.read().always(Some(stored("b", "\"b\"")));
    worker.loads(2).await;
    assert_eq!(worker.key().as_deref(), Some("b"));
    worker.provider.decision().always(true);
    worker.loads(3).await;
    assert_eq!(
        worker.api.etags_sent(),
        [None, Some("\"b\"".to_owned())],
        "never the ETag of other content"
    );
    assert_eq!(worker.key().as_deref(), Some("a"));
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b3_37_a_snapshot_without_an_etag_clears_it() {
    let worker = Rig::new().start();
    worker.loads(1).await;
    worker.provider.decision().then(false);
    worker.provider.read().always(Some(foreign("a")));
    worker.loads(3).await;
    assert_eq!(
        worker.api.etags_sent(),
        [None, None],
        "the content is the same, but its ETag is unconfirmed"
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b3_38_a_new_leaders_first_request_is_conditional() {
    // What one worker publishes holds ETag and time; another one that follows on it, and then leads, sends the ETag.
    let first = Rig::new().start();
    first.loads(1).await;
    let copy =
        flagcache::FlagDefinitionCacheData::from_json(first.provider.published()[0].to_json())
            .unwrap();
    assert_eq!(copy.etag(), Some("\"a\""));
    assert!(copy.fetched_at().is_some());
    first.finish().await;
    let second = Rig::following(copy).start();
    second.loads(1).await;
    second.provider.decision().always(true);
    second.loads(2).await;
    assert_eq!(second.api.etags_sent(), [Some("\"a\"".to_owned())]);
    assert_eq!(second.api.units(), 1);
    second.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b3_39_a_failed_publish_is_retried_in_the_next_load_without_a_refetch() {
    let rig = Rig::new();
    rig.provider
        .publish()
        .then_fault(DOWN)
        .then_fault(Fault::Panic);
    let worker = rig.start();
    worker.loads(2).await;
    assert_eq!(worker.published(), ["a", "a"], "one attempt per load");
    worker.loads(4).await;
    assert_eq!(worker.published(), ["a", "a", "a"], "until it is taken");
    assert_eq!(worker.api.units(), 10 + 3, "nothing was fetched again");
    assert_eq!(
        worker.methods()[worker.methods().len() - 2..],
        [ShouldFetch, FetchWithoutUpdate]
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b3_39_a_failed_publish_is_retried_while_the_api_fails() {
    let rig = Rig::new();
    rig.provider.publish().then_fault(DOWN);
    rig.api
        .then(Reply::current())
        .always(Reply::failure(flagcache::FetchErrorKind::Server));
    let worker = rig.start();
    worker.loads(2).await;
    assert_eq!(worker.published(), ["a", "a"]);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b3_39_a_former_leader_does_not_retry_a_failed_publish() {
    let rig = Rig::new();
    rig.provider.publish().then_fault(DOWN);
    let worker = rig.start();
    worker.loads(1).await;
    worker.provider.decision().then(false);
    worker
        .provider
        .read()
        .always(Some(stored("newer", "\"n\"")));
    worker.api.serve(body("newer"), Some("\"n\""));
    worker.loads(3).await;
    assert_eq!(worker.published(), ["a"]);
    worker.finish().await;
}
