//! What is asked of the store, since each request is paid for.

use std::time::Duration;

use flagcache_core::{FetchOutcome, FlagDefinitionPoller};
use flagcache_providers::testing::ScriptedSource;
use futures_util::future::join_all;

use crate::recorder::{Recorder, Request, Versions};
use crate::sets::fetched;
use crate::worker::Worker;

fn unchanged(key: &str) -> Request {
    Request::ConditionalGet {
        key: key.to_owned(),
        unchanged: true,
    }
}

fn put(key: &str) -> Request {
    Request::Put {
        key: key.to_owned(),
    }
}

/// Of the leader record and of the copy, each a conditional read that moves nothing.
#[tokio::test]
async fn an_unchanged_tick_is_two_conditional_reads() {
    for versions in [Versions::Unique, Versions::Hash, Versions::Generation] {
        let objects = Recorder::with_versions(versions);
        let (leader, follower) = (Worker::over(objects.store()), Worker::over(objects.store()));
        let data = fetched("beta", "\"1\"", 0);
        assert!(leader.leads().await);
        leader.publishes(&data).await.unwrap();
        assert!(!follower.leads().await);
        assert!(follower.reads().await.unwrap().same_content(&data));

        for _ in 0..3 {
            objects.requests();
            assert!(!follower.leads().await);
            assert!(follower.reads().await.is_some());
            assert_eq!(objects.requests(), [unchanged("head"), unchanged("b")]);

            // A leader whose API answered 304 confirms the copy in the record.
            assert!(leader.leads().await);
            leader.learns(FetchOutcome::unchanged(&data)).await.unwrap();
            let expected = [unchanged("head"), unchanged("b"), put("head")];
            assert_eq!(objects.requests(), expected);
            assert!(!follower.leads().await);
        }
    }
}

#[tokio::test]
async fn a_change_is_two_writes_of_the_leader_and_moves_once_for_each_follower() {
    let objects = Recorder::default();
    let (leader, follower) = (Worker::over(objects.store()), Worker::over(objects.store()));
    assert!(leader.leads().await);
    leader.publishes(&fetched("a", "\"1\"", 2)).await.unwrap();
    assert!(leader.leads().await);
    leader.publishes(&fetched("b", "\"2\"", 1)).await.unwrap();
    follower.leads().await;
    follower.reads().await.unwrap();
    assert!(leader.leads().await);
    objects.requests();
    leader.publishes(&fetched("c", "\"3\"", 0)).await.unwrap();
    let requests = objects.requests();
    let puts: Vec<_> = requests
        .iter()
        .filter(|request| matches!(request, Request::Put { .. }))
        .collect();
    assert_eq!(puts, [&put("b"), &put("head")], "{requests:?}");
    follower.leads().await;
    assert!(follower.reads().await.unwrap().flag("c").is_some());
    let changed = Request::ConditionalGet {
        key: "head".to_owned(),
        unchanged: false,
    };
    let whole = Request::Get {
        key: "b".to_owned(),
    };
    assert_eq!(objects.requests(), [changed, whole]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_cold_workers_make_one_request_of_the_api() {
    let objects = Recorder::default();
    let api = ScriptedSource::new();
    let body = r#"{"flags":[{"key":"beta"}],"group_type_mapping":{},"cohorts":{}}"#;
    api.serve(body, Some("\"1\""));
    let pollers: Vec<_> = (0..16)
        .map(|_| {
            FlagDefinitionPoller::builder()
                .source(api.clone())
                .flag_definition_cache_provider(objects.store().build().unwrap().provider())
                .poll_interval(Duration::from_secs(30))
                .start()
                .unwrap()
        })
        .collect();
    let ready = pollers
        .iter()
        .map(|poller| poller.wait_ready(Duration::from_secs(20)));
    for ready in join_all(ready).await {
        ready.unwrap();
    }
    for poller in &pollers {
        assert!(poller.definitions().unwrap().flag("beta").is_some());
    }
    assert_eq!(api.count(), 1);
    let ends = join_all(
        pollers
            .into_iter()
            .map(|poller| async move { poller.shutdown().await }),
    );
    for end in ends.await {
        end.unwrap();
    }
}

/// The figures of `object_store/docs.md`: an hour of a leader and three followers, with defaults.
#[tokio::test(start_paused = true)]
async fn an_hour_of_a_fleet_costs_what_the_page_says() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let objects = Recorder::default();
    let api = ScriptedSource::new();
    let body = r#"{"flags":[{"key":"beta"}],"group_type_mapping":{},"cohorts":{}}"#;
    api.serve(body, Some("\"1\""));
    let pollers = [(); 4].map(|()| {
        FlagDefinitionPoller::builder()
            .source(api.clone())
            .flag_definition_cache_provider(objects.store().build().unwrap().provider())
            .poll_interval(Duration::from_secs(30))
            .start()
            .unwrap()
    });
    tokio::time::sleep(Duration::from_secs(120)).await;
    objects.requests();
    let asked = api.count();
    tokio::time::sleep(HOUR).await;
    let requests = objects.requests();
    let puts = requests
        .iter()
        .filter(|request| matches!(request, Request::Put { .. }))
        .count();
    let gets = requests.len() - puts;
    println!(
        "an hour of 4 workers: {puts} puts, {gets} gets, {} requests of the API",
        api.count() - asked
    );
    // Intervals and renewals vary a little at random.
    assert!((360..=520).contains(&puts), "{puts} puts");
    assert!(
        (4 * 240 - 100..=4 * 240 + 100).contains(&gets),
        "{gets} gets"
    );
    for poller in pollers {
        poller.shutdown().await.unwrap();
    }
}
