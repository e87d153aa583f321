//! B2: what the API's answers do to memory, to the store and to the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use flagcache::{
    FetchError, FetchErrorKind, FetchResponse, FlagDefinitionPoller, FlagDefinitionPollerBuilder,
    FlagDefinitionSource, FleetStatus, OnQuotaLimited, OnUnauthorized, PollerState,
};
use flagcache_providers::testing::{ProviderMethod, Reply, ScriptedSource};
use serde_json::json;
use tokio::time::sleep;

use crate::support::{Logs, Rig, TICK, Worker, body, millis, secs, stored};

use ProviderMethod::{FetchWithoutUpdate, Get, Peek, Received, ShouldFetch};

/// A leader that has fetched the set `a`.
async fn leader() -> Worker {
    leader_with(|builder| builder).await
}

async fn leader_with(
    configure: impl FnOnce(FlagDefinitionPollerBuilder) -> FlagDefinitionPollerBuilder,
) -> Worker {
    let worker = Rig::new().start_with(configure);
    worker.loads(1).await;
    assert_eq!(worker.key().as_deref(), Some("a"));
    worker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_18_a_reader_sees_the_old_definitions_or_the_new_ones() {
    let numbered = |number: usize| {
        let flags: Vec<_> = (0..50)
            .map(|flag| json!({"key": format!("f{flag}"), "n": number}))
            .collect();
        json!({"flags": flags, "group_type_mapping": {"n": number}, "cohorts": {"n": number}})
            .to_string()
    };
    let api = ScriptedSource::new();
    api.serve(numbered(0), None);
    let poller = FlagDefinitionPoller::builder()
        .source(api.clone())
        .manual()
        .start()
        .unwrap();
    poller.refresh().await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (poller, done) = (poller.clone(), Arc::clone(&done));
        move || {
            let (mut sets, mut last) = (0, None);
            while !done.load(Ordering::Acquire) {
                let set = poller.definitions().unwrap();
                let number = set.cohorts().as_str().to_owned();
                assert_eq!(set.group_type_mapping().as_str(), number);
                let end = format!(
                    "{},",
                    number.trim_end_matches('}').rsplit(':').next().unwrap()
                );
                assert_eq!(set.flags().len(), 50);
                for flag in set.flags() {
                    assert!(
                        flag.json().replace('}', ",").ends_with(&end),
                        "{} in a set of {number}",
                        flag.json()
                    );
                }
                sets += usize::from(last.as_ref() != Some(&number));
                last = Some(number);
            }
            sets
        }
    });
    for number in 1..=300 {
        api.serve(numbered(number), None);
        poller.refresh().await.unwrap();
    }
    done.store(true, Ordering::Release);
    assert!(reader.join().unwrap() > 1, "the reader saw no change");
    poller.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn b2_19_the_etag_is_kept_byte_for_byte() {
    let worker = leader().await;
    let etags = [
        "W/\"weak\"",
        "\"with \\ backslash\"",
        "no-quotes",
        "\"ümlaut\"",
        "\"a\"",
    ];
    for (number, etag) in etags.into_iter().enumerate() {
        worker.api.serve(body(&format!("b{number}")), Some(etag));
        worker.next_load().await;
        assert_eq!(worker.poller.definitions().unwrap().etag(), Some(etag));
        worker.next_load().await;
        assert_eq!(
            worker.api.etags_sent().pop().unwrap().as_deref(),
            Some(etag)
        );
        assert_eq!(worker.published().pop(), Some(format!("b{number}")));
    }
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_19_a_200_without_an_etag_clears_it() {
    for none in [None, Some("")] {
        let worker = leader().await;
        worker.api.serve(body("b"), none);
        worker.loads(2).await;
        worker.api.then(Reply::current());
        worker.loads(3).await;
        assert_eq!(
            worker.api.etags_sent(),
            [None, Some("\"a\"".to_owned()), None],
            "{none:?}"
        );
        assert_eq!(worker.poller.definitions().unwrap().etag(), None);
        worker.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b2_20_a_200_with_the_same_content_is_no_change() {
    let worker = leader().await;
    let mut changes = worker.poller.subscribe();
    worker.api.serve(body("a"), Some("\"a2\""));
    worker.loads(2).await;
    assert_eq!(worker.poller.status().version, 1);
    assert_eq!(
        worker.poller.definitions().unwrap().etag(),
        Some("\"a2\""),
        "the ETag is that of the last 200"
    );
    worker.poller.shutdown().await.unwrap();
    assert!(changes.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn b2_21_a_broken_body_changes_nothing_and_warns_once() {
    let truncated = &body("b")[..40];
    let broken: [(&str, Reply); 4] = [
        (
            "invalid",
            Reply::definitions("{\"flags\":[}", Some("\"x\"")),
        ),
        (
            "truncated",
            Reply::definitions(truncated.to_owned(), Some("\"x\"")),
        ),
        (
            "no text",
            Reply::definitions(&b"{\"flags\":[\"\xff\"]}"[..], Some("\"x\"")),
        ),
        ("stalled", Reply::hang()),
    ];
    for (what, reply) in broken {
        let (logs, _guard) = Logs::capture();
        let worker = leader_with(|builder| builder.fetch_timeout(secs(10))).await;
        let before = worker.poller.definitions().unwrap();
        worker
            .api
            .then(reply.clone())
            .then(reply.clone())
            .then(reply);
        worker.loads(4).await;
        assert_eq!(worker.poller.definitions().unwrap(), before, "{what}");
        assert_eq!(
            worker.provider.count(Received),
            1,
            "{what}: nothing is published"
        );
        let warnings = logs.warnings();
        assert_eq!(warnings.len(), 1, "{what}: {warnings:#?}");
        worker.api.requested(5).await;
        assert_eq!(
            worker.api.etags_sent()[1..],
            vec![Some("\"a\"".to_owned()); 4],
            "{what}"
        );
        worker.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b2_21_the_request_timeout_cuts_a_stalled_answer() {
    let worker = leader_with(|builder| builder.fetch_timeout(secs(10))).await;
    worker.api.then(Reply::hang());
    worker.loads(2).await;
    let request = &worker.api.requests()[1];
    assert_eq!(request.ended.unwrap() - request.started, secs(10));
    assert_eq!(
        worker.poller.status().api_failure,
        Some(FetchErrorKind::Timeout)
    );
    worker.finish().await;
}

const INVALID: [&str; 13] = [
    "{}",
    r#"{"group_type_mapping":{},"cohorts":{}}"#,
    r#"{"flags":null}"#,
    r#"{"flags":{}}"#,
    r#"{"flags":"x"}"#,
    r#"{"flags":[null]}"#,
    r#"{"flags":[{}]}"#,
    r#"{"flags":[1,2]}"#,
    r#"{"flags":[{"key":7}]}"#,
    "[]",
    "null",
    "",
    "{",
];

#[tokio::test(start_paused = true)]
async fn b2_22_an_invalid_200_changes_nothing_publishes_nothing_and_backs_off() {
    for json in INVALID {
        let worker = leader().await;
        let before = worker.poller.definitions().unwrap();
        worker.api.always(Reply::definitions(json, Some("\"x\"")));
        worker.loads(2).await;
        assert_eq!(worker.poller.definitions().unwrap(), before, "{json}");
        assert_eq!(worker.provider.count(Received), 1, "{json}");
        let status = worker.poller.status();
        assert_eq!(status.api_failure, Some(FetchErrorKind::Unusable), "{json}");
        assert!(
            (secs(59)..=secs(66)).contains(&status.backoff),
            "{json}: {:?}",
            status.backoff
        );
        worker.api.requested(3).await;
        assert_eq!(
            worker.api.etags_sent()[2].as_deref(),
            Some("\"a\""),
            "{json}"
        );
        worker.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b2_22_an_invalid_200_does_not_make_a_cold_worker_ready() {
    for json in INVALID {
        let rig = Rig::new();
        rig.api.always(Reply::definitions(json, Some("\"x\"")));
        let worker = rig.start();
        worker.loads(1).await;
        assert_eq!(
            (worker.key(), worker.poller.status().state),
            (None, PollerState::Starting),
            "{json}"
        );
        worker.api.requested(2).await;
        assert_eq!(worker.api.etags_sent(), [None, None], "{json}");
        worker.finish().await;
    }
}

/// Ten ticks of it cost some 200s, not ten.
#[tokio::test(start_paused = true)]
async fn b2_22_the_units_that_unusable_answers_cost_are_bounded() {
    let worker = leader().await;
    worker
        .api
        .always(Reply::definitions(r#"{"flags":null}"#, None));
    sleep(secs(300)).await;
    // At 60, 120 and 240 s after one another, less the jitter.
    assert!(worker.api.count() <= 4, "{:?}", worker.gaps());
    assert_eq!(
        worker.poller.status().counters.units_spent,
        worker.api.units()
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_23_empty_definitions_are_valid() {
    let rig = Rig::new();
    rig.api.serve(
        r#"{"flags":[],"group_type_mapping":{},"cohorts":{}}"#,
        Some("\"0\""),
    );
    let worker = rig.start();
    worker.poller.wait_ready(secs(1)).await.unwrap();
    worker.loads(2).await;
    assert_eq!(worker.poller.status().flags, Some(0));
    assert_eq!(worker.poller.status().state, PollerState::Ready);
    assert_eq!(worker.provider.published().len(), 1);
    assert_eq!(worker.api.etags_sent()[1].as_deref(), Some("\"0\""));
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_24_absent_members_are_empty_and_never_inherited() {
    let rig = Rig::new();
    rig.api.serve(
        r#"{"flags":[],"group_type_mapping":{"0":"company"},"cohorts":{"1":{}}}"#,
        None,
    );
    let worker = rig.start();
    worker.loads(1).await;
    worker.api.serve(r#"{"flags":[{"key":"b"}]}"#, None);
    worker.loads(2).await;
    let set = worker.poller.definitions().unwrap();
    assert_eq!(
        (
            set.group_type_mapping().as_str(),
            set.cohorts().as_str(),
            set.len()
        ),
        ("{}", "{}", 1)
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_25_a_304_is_a_success_that_changes_nothing() {
    let worker = leader().await;
    let before = worker.poller.definitions().unwrap();
    worker
        .api
        .then(Reply::failure(FetchErrorKind::Server))
        .then(Reply::failure(FetchErrorKind::Server));
    worker.loads(3).await;
    let status = worker.poller.status();
    assert!(!status.backoff.is_zero() && status.last_error.is_some());
    worker.api.requested(4).await;
    worker.next_load().await;
    let status = worker.poller.status();
    assert_eq!((status.backoff, status.api_failure), (Duration::ZERO, None));
    assert!(status.last_error.is_none());
    assert!(status.last_success_ago.unwrap() < secs(1) && status.confirmed_ago.unwrap() < secs(1));
    assert_eq!(
        (worker.poller.definitions().unwrap(), status.version),
        (before, 1)
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_25_a_304_replaces_the_etag_only_by_one_of_its_own() {
    let worker = leader().await;
    worker.api.always(Reply::not_modified(None));
    worker.loads(2).await;
    worker.api.then(Reply::not_modified(Some("")));
    worker.loads(3).await;
    worker.api.then(Reply::not_modified(Some("\"a2\"")));
    worker.loads(5).await;
    let sent: Vec<String> = worker.api.etags_sent().into_iter().flatten().collect();
    assert_eq!(sent, ["\"a\"", "\"a\"", "\"a\"", "\"a2\""]);
    assert_eq!(worker.poller.status().version, 1);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_26_a_304_to_an_empty_memory_fetches_once_without_an_etag() {
    let rig = Rig::new();
    rig.api.then(Reply::not_modified(Some("\"x\"")));
    let worker = rig.start();
    worker.loads(1).await;
    assert_eq!(
        (worker.key().as_deref(), worker.api.etags_sent()),
        (Some("a"), vec![None, None])
    );
    worker.finish().await;

    // A server that says 304 to everything is asked twice, not for ever.
    let rig = Rig::new();
    rig.api.always(Reply::not_modified(None));
    let worker = rig.start();
    worker.loads(1).await;
    assert_eq!((worker.key(), worker.api.count()), (None, 2));
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_26_clearing_definitions_clears_the_etag() {
    let worker = leader_with(|builder| builder.on_unauthorized(OnUnauthorized::Clear)).await;
    worker
        .api
        .then(Reply::failure(FetchErrorKind::Unauthorized));
    worker.loads(2).await;
    assert_eq!(worker.key(), None);
    worker.api.requested(3).await;
    assert_eq!(worker.api.etags_sent()[2], None);
    worker.next_load().await;
    assert_eq!(worker.key().as_deref(), Some("a"));
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_27_a_leader_reports_each_load_without_new_definitions_to_its_store_once() {
    let worker = leader().await;
    worker.loads(2).await;
    let failures = [
        FetchErrorKind::Server,
        FetchErrorKind::Timeout,
        FetchErrorKind::Connect,
        FetchErrorKind::Rejected,
        FetchErrorKind::RateLimited,
        FetchErrorKind::QuotaLimited,
        FetchErrorKind::Unauthorized,
        FetchErrorKind::Unusable,
    ];
    for failure in failures {
        worker
            .api
            .then(Reply::current())
            .then(Reply::failure(failure));
    }
    worker.api.requested(2 + 2 * failures.len()).await;
    worker.next_load().await;
    let calls = worker.provider.calls();
    let reports: Vec<_> = calls
        .iter()
        .filter(|call| call.method == FetchWithoutUpdate)
        .collect();
    assert_eq!(
        reports.len() as u64,
        worker.poller.status().counters.loads - 1,
        "once after each load but the first"
    );
    assert!(
        reports
            .iter()
            .all(|call| call.data == worker.poller.definitions()),
        "with what the worker serves"
    );
    let mut kinds: Vec<_> = reports.iter().map(|call| call.failure).collect();
    assert_eq!(kinds[0], None);
    kinds.dedup();
    assert_eq!(
        kinds.iter().flatten().copied().collect::<Vec<_>>(),
        failures
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_27_a_follower_and_new_definitions_are_not_reported() {
    let worker = leader().await;
    assert_eq!(worker.methods(), [ShouldFetch, Peek, Received]);
    worker.finish().await;
    let worker = Rig::following(stored("a", "\"a\"")).start();
    worker.loads(3).await;
    worker
        .provider
        .read()
        .always_fault(flagcache_providers::testing::Fault::Undecodable);
    worker.loads(5).await;
    assert_eq!(worker.provider.count(FetchWithoutUpdate), 0);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_28_401_and_403_keep_the_definitions_and_back_off() {
    let worker = leader().await;
    worker
        .api
        .then(Reply::failure(FetchErrorKind::Unauthorized));
    worker.loads(2).await;
    let status = worker.poller.status();
    assert_eq!(
        (worker.key().as_deref(), status.state),
        (Some("a"), PollerState::Unauthorized)
    );
    assert!(
        (secs(30)..=secs(60)).contains(&status.backoff),
        "{:?}",
        status.backoff
    );
    worker.api.requested(3).await;
    worker.next_load().await;
    assert_eq!(worker.poller.status().state, PollerState::Ready);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_28_the_clear_policy_drops_the_definitions_and_ignores_the_stored_copy() {
    let worker = leader_with(|builder| builder.on_unauthorized(OnUnauthorized::Clear)).await;
    let mut changes = worker.poller.subscribe();
    worker.provider.read().always(Some(stored("a", "\"a\"")));
    worker.provider.stored().always(Some(stored("a", "\"a\"")));
    worker
        .api
        .always(Reply::failure(FetchErrorKind::Unauthorized));
    worker.loads(2).await;
    worker.loads(6).await;
    assert_eq!(
        (worker.key(), worker.poller.status().state),
        (None, PollerState::Unauthorized)
    );
    let change = changes.next().await.unwrap();
    assert_eq!(
        (change.origin, change.new.is_none(), change.diff.removed),
        (None, true, vec!["a".to_owned()])
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_29_402_keeps_the_definitions_and_keeps_polling_at_the_backoff() {
    let worker = leader().await;
    worker
        .api
        .always(Reply::failure(FetchErrorKind::QuotaLimited));
    worker.loads(2).await;
    assert_eq!(
        (worker.key().as_deref(), worker.poller.status().state),
        (Some("a"), PollerState::QuotaLimited)
    );
    worker.api.requested(4).await;
    assert_eq!(
        worker.published(),
        ["a"],
        "never overwritten by an empty set"
    );
    worker.api.always(Reply::current());
    worker.api.requested(5).await;
    worker.next_load().await;
    assert_eq!(worker.poller.status().state, PollerState::Ready);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_29_the_clear_policy_drops_the_definitions_at_a_402() {
    let worker = leader_with(|builder| builder.on_quota_limited(OnQuotaLimited::Clear)).await;
    worker
        .api
        .then(Reply::failure(FetchErrorKind::QuotaLimited));
    worker.loads(2).await;
    assert_eq!(
        (worker.key(), worker.poller.status().state),
        (None, PollerState::QuotaLimited)
    );
    assert_eq!(worker.published(), ["a"]);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_29_a_follower_applies_its_own_policy_to_the_leaders_quota_report() {
    for (policy, kept) in [
        (OnQuotaLimited::Keep, Some("a")),
        (OnQuotaLimited::Clear, None),
    ] {
        let worker = Rig::following(stored("a", "\"a\""))
            .start_with(|builder| builder.on_quota_limited(policy));
        worker.loads(1).await;
        worker.provider.context().unwrap().report(
            FleetStatus::new()
                .quota_limited(true)
                .confirmed_ago(secs(1)),
        );
        worker.loads(2).await;
        let status = worker.poller.status();
        assert_eq!(
            (worker.key().as_deref(), status.state),
            (kept, PollerState::QuotaLimited),
            "{policy:?}"
        );
        assert_eq!(
            status.counters.units_saved,
            10 + 1,
            "a first set and a tick; a cleared memory saves nothing"
        );
        worker
            .provider
            .context()
            .unwrap()
            .report(FleetStatus::new().confirmed_ago(Duration::ZERO));
        worker.loads(3).await;
        assert_eq!(
            (worker.key().as_deref(), worker.api.count()),
            (Some("a"), 0),
            "{policy:?}"
        );
        assert_eq!(
            worker.poller.status().state,
            PollerState::Ready,
            "{policy:?}"
        );
        worker.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b2_30_429_backs_off_exponentially_to_the_cap_and_the_first_success_resets() {
    let worker = leader().await;
    worker
        .api
        .always(Reply::failure(FetchErrorKind::RateLimited));
    worker.api.requested(8).await;
    // From 30 s: twice, four, eight times; then the cap of eight intervals, a tenth of jitter on top, and at the most the
    // tick that comes next.
    let gaps = worker.gaps();
    for (gap, least) in gaps[1..].iter().zip([60, 120, 240, 240, 240, 240]) {
        assert!(
            (secs(least)..=secs(least) + secs(least / 10) + secs(50)).contains(gap),
            "{least}: {gaps:?}"
        );
    }
    worker.api.always(Reply::current());
    worker.api.requested(11).await;
    let gaps = worker.gaps();
    assert!(
        gaps[8..].iter().all(|gap| *gap <= TICK + millis(5)),
        "{gaps:?}"
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_30_the_cap_is_a_minute_if_that_is_longer() {
    let worker = leader_with(|builder| builder.poll_interval(secs(1))).await;
    worker
        .api
        .always(Reply::failure(FetchErrorKind::RateLimited));
    worker.api.requested(12).await;
    let gaps = worker.gaps();
    assert!(
        gaps[9..]
            .iter()
            .all(|gap| (secs(60)..=secs(68)).contains(gap)),
        "{gaps:?}"
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_30_retry_after_is_honoured_but_never_shortens() {
    for (asked, least) in [(secs(500), 500), (secs(1), 60), (Duration::MAX, 86_400)] {
        let worker = leader().await;
        worker.api.then(Reply::failure_with_retry_after(
            FetchErrorKind::RateLimited,
            asked,
        ));
        worker.loads(2).await;
        let backoff = worker.poller.status().backoff;
        assert!(
            backoff >= secs(least) - millis(200),
            "{asked:?}: {backoff:?}"
        );
        worker.provider.assert_contract_kept();
        worker.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b2_30_a_worker_that_only_reads_does_not_inherit_a_backoff() {
    let worker = leader().await;
    worker.api.then(Reply::failure_with_retry_after(
        FetchErrorKind::RateLimited,
        secs(3000),
    ));
    worker.loads(2).await;
    worker.provider.decision().always(false);
    worker.provider.read().always(Some(stored("b", "\"b\"")));
    worker.next_load().await;
    assert_eq!(worker.key().as_deref(), Some("b"));
    let begin = tokio::time::Instant::now();
    let loads = worker.poller.status().counters.loads;
    worker.loads(loads + 5).await;
    assert!(
        begin.elapsed() <= TICK * 5 + secs(1),
        "{:?}",
        begin.elapsed()
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b2_31_a_transient_fault_is_retried_at_the_next_tick_and_then_within_two_intervals() {
    for failure in [
        FetchErrorKind::Server,
        FetchErrorKind::Connect,
        FetchErrorKind::Timeout,
        FetchErrorKind::Rejected,
    ] {
        let (logs, _guard) = Logs::capture();
        let worker = leader().await;
        let before = worker.poller.definitions();
        worker.api.always(Reply::failure(failure));
        worker.api.requested(5).await;
        let gaps = worker.gaps();
        assert!(gaps[1] <= TICK + millis(5), "{failure}: {gaps:?}");
        assert!(
            gaps[2..]
                .iter()
                .all(|gap| (secs(30)..=secs(60)).contains(gap)),
            "{failure}: {gaps:?}"
        );
        worker.next_load().await;
        assert_eq!(worker.poller.definitions(), before, "{failure}");
        assert_eq!(
            logs.warnings().len(),
            1,
            "{failure}: {:#?}",
            logs.warnings()
        );
        worker.api.always(Reply::current());
        worker.api.requested(6).await;
        assert_eq!(
            worker.api.etags_sent()[1..],
            vec![Some("\"a\"".to_owned()); 5],
            "{failure}"
        );
        worker.finish().await;
    }
}

/// A source whose request hangs and panics when it is dropped.
struct Brittle(Arc<AtomicUsize>);

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

#[async_trait]
impl FlagDefinitionSource for Brittle {
    async fn fetch(&self, _: Option<&str>) -> Result<FetchResponse, FetchError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let _brittle = PanicsWhenDropped;
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn b2_31_a_request_that_panics_when_cancelled_counts_as_failed() {
    let requests = Arc::new(AtomicUsize::new(0));
    let poller = FlagDefinitionPoller::builder()
        .source(Brittle(Arc::clone(&requests)))
        .start()
        .unwrap();
    // Cut at its limit, twice; then by the shutdown.
    while requests.load(Ordering::SeqCst) < 3 {
        assert_ne!(poller.status().state, PollerState::Stopped);
        sleep(millis(100)).await;
    }
    assert_eq!(poller.status().counters.failed_requests, 2);
    poller.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn b2_31_a_source_that_panics_is_a_failed_request() {
    let worker = leader().await;
    worker.api.then(Reply::panic());
    worker.loads(2).await;
    assert_eq!(
        worker.poller.status().api_failure,
        Some(FetchErrorKind::Rejected)
    );
    worker.loads(3).await;
    assert_eq!(worker.poller.status().api_failure, None);
    assert_eq!(worker.provider.count(Get), 0);
    worker.finish().await;
}
