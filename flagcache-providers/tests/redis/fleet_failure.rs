//! The failure of a leader that could not fetch, stored beside the lock for the whole fleet.

use std::time::Duration;

use flagcache_core::{FetchErrorKind, FetchOutcome, FleetFailure};
use flagcache_test_support::{RedisServer, eventually};

use crate::failures::{WINDOW, connect, failed, refusal, set_key};
use crate::worker::{LOCK, META, Worker, builder, set, short_lived};

const SECOND: Duration = Duration::from_secs(1);

fn with_key(server: &RedisServer, secret_key: &str) -> Worker {
    let worker = Worker::of(server);
    set_key(&worker.poller, secret_key);
    worker
}

/// What the store reports of the API's failure.
async fn failure(worker: &Worker) -> Option<FleetFailure> {
    worker.read().await.unwrap();
    worker.report().fleet_failure
}

#[tokio::test]
async fn b8_61_only_the_leader_stores_a_failure_with_its_age_until_the_first_success() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&set(1)).await;
    assert_eq!(follower.follow().await, Some(set(1)));
    follower
        .fetch_without_update(failed(Some(&set(1)), connect()))
        .await
        .unwrap();
    assert_eq!(
        failure(&follower).await,
        None,
        "it is the leader's to write"
    );

    for ends_by_a_publish in [false, true] {
        assert!(leader.leads().await);
        leader
            .fetch_without_update(failed(Some(&set(1)), connect()))
            .await
            .unwrap();
        let reported = failure(&follower).await.unwrap();
        assert_eq!(reported, connect().with_age(reported.age()));
        eventually("it grows old", 5 * SECOND, async || {
            failure(&follower)
                .await
                .is_some_and(|now| now.age() > reported.age())
        })
        .await;
        leader.failed(FetchErrorKind::Connect, &set(1)).await;
        assert!(failure(&follower).await.is_some(), "no request was sent");
        if ends_by_a_publish {
            leader.publish(&set(2)).await.unwrap();
        } else {
            leader.unchanged(&set(1)).await;
        }
        assert_eq!(failure(&follower).await, None);
        assert_eq!(server.run::<u8>(&format!("HEXISTS {META} failed")), 0);
    }
}

#[tokio::test]
async fn b8_61_a_refused_key_does_not_lead_in_the_window_and_another_does() {
    let server = RedisServer::start();
    let (first, second) = (with_key(&server, "phs_old"), with_key(&server, "phs_old"));
    assert!(first.leads().await);
    second.quiet().await;
    first
        .fetch_without_update(failed(None, refusal("phs_old", WINDOW)))
        .await
        .unwrap();
    assert!(second.noticed(SECOND).await, "that no worker leads");
    for worker in [&first, &second, &with_key(&server, "phs_old")] {
        assert!(!worker.leads().await);
        assert_eq!(
            worker.report().fleet_failure.map(|failure| failure.kind()),
            Some(FetchErrorKind::Unauthorized)
        );
    }
    assert!(
        !server
            .run::<String>(&format!("HGET {META} failure"))
            .contains("phs")
    );
    let renewed = with_key(&server, "phs_new");
    assert!(renewed.leads().await, "a rotation heals at once");
    renewed.shutdown().await;
    assert!(!second.leads().await);
    set_key(&second.poller, "phs_new");
    assert!(second.leads().await, "the key may change under way");
}

#[tokio::test]
async fn b8_61_a_failure_left_by_a_dead_fleet_is_harmless() {
    let server = RedisServer::start();
    let last = with_key(&server, "phs_old");
    assert!(last.leads().await);
    let window = Duration::from_millis(300);
    last.fetch_without_update(failed(None, refusal("phs_old", window)))
        .await
        .unwrap();
    last.shutdown().await;
    let next = with_key(&server, "phs_old");
    eventually("the window ends", 5 * SECOND, async || next.leads().await).await;
    assert!(next.report().fleet_failure.unwrap().age() >= window);
    next.publish(&set(1)).await.unwrap();
    assert_eq!(failure(&next).await, None);
}

#[tokio::test]
async fn b8_61_a_failure_lives_no_longer_than_a_copy() {
    let server = RedisServer::start();
    let data_ttl = Duration::from_millis(700);
    let worker = Worker::with(short_lived(&server).data_ttl(data_ttl));
    assert!(worker.leads().await);
    worker
        .fetch_without_update(failed(None, connect()))
        .await
        .unwrap();
    let left = server.run::<i64>(&format!("PTTL {META}"));
    assert!(left > 0 && left <= data_ttl.as_millis() as i64, "{left}");
    eventually("it is gone", 5 * SECOND, async || {
        failure(&worker).await.is_none()
    })
    .await;

    worker.shutdown().await;
    let worker = Worker::with(short_lived(&server).data_ttl(None));
    assert!(worker.leads().await);
    worker
        .fetch_without_update(failed(None, connect()))
        .await
        .unwrap();
    assert_eq!(server.run::<i64>(&format!("PTTL {META}")), -1);
}

#[tokio::test]
async fn b8_61_a_clock_set_back_does_not_extend_the_failure_window() {
    let server = RedisServer::start();
    let leader = with_key(&server, "phs_old");
    assert!(leader.leads().await);
    leader
        .fetch_without_update(failed(None, refusal("phs_old", WINDOW)))
        .await
        .unwrap();
    server.run::<i64>(&format!("HINCRBY {META} failed 86400000"));
    assert!(with_key(&server, "phs_old").leads().await);
}

#[tokio::test]
async fn b8_61_a_malformed_failure_record_is_ignored_and_replaced() {
    let server = RedisServer::start();
    let now = server.run::<(u64, u64)>("TIME").0 * 1000;
    let texts = [
        "",
        "garbage",
        "unauthorized",
        "unauthorized 3",
        "unauthorized 3 x *",
        "refused 3 30000 *",
        "%d+ \0",
    ];
    let times = [
        now.to_string(),
        "soon".to_owned(),
        String::new(),
        "-1".to_owned(),
        "nan".to_owned(),
    ];
    for (text, time) in texts
        .iter()
        .flat_map(|text| times.iter().map(move |time| (*text, time.as_str())))
    {
        server.run::<()>("FLUSHALL");
        server.run_args::<u8>(&["HSET", META, "failure", text, "failed", time]);
        let (worker, follower) = (with_key(&server, "phs_old"), Worker::of(&server));
        assert!(worker.leads().await, "{text:?}, {time:?}");
        assert_eq!(failure(&follower).await, None, "{text:?}, {time:?}");
        worker
            .fetch_without_update(failed(None, connect()))
            .await
            .unwrap();
        assert!(failure(&follower).await.is_some(), "{text:?}, {time:?}");
    }
    // A text without a time, and a time that is not one.
    for fields in [
        &["failure", "unauthorized 3 30000 *"][..],
        &["failure", "unauthorized 3 30000 *", "failed", "x"],
    ] {
        server.run::<()>("FLUSHALL");
        server.run_args::<u8>(&[&["HSET", META], fields].concat());
        assert!(with_key(&server, "phs_old").leads().await, "{fields:?}");
    }
}

#[tokio::test]
async fn b8_61_a_failure_of_an_earlier_leader_is_ignored_while_another_sdk_leads() {
    let server = RedisServer::start();
    let leader = with_key(&server, "phs_old");
    assert!(leader.leads().await);
    leader
        .fetch_without_update(failed(None, refusal("phs_old", WINDOW)))
        .await
        .unwrap();
    let reader = Worker::of(&server);
    assert!(failure(&reader).await.is_some());
    server.run::<()>(&format!("SET {LOCK} python-1 PX 60000"));
    assert_eq!(failure(&reader).await, None);
    assert!(!leader.leads().await);
}

#[tokio::test]
async fn b8_61_a_leader_that_lost_the_lock_writes_no_failure() {
    let server = RedisServer::start();
    let (late, next) = (Worker::with(builder(&server)), Worker::of(&server));
    assert!(late.leads().await);
    server.run::<u8>(&format!("DEL {LOCK}"));
    assert!(next.leads().await);
    let report = late.fetch_without_update(
        FetchOutcome::failed(FetchErrorKind::Connect, None).with_fleet_failure(Some(connect())),
    );
    assert!(report.await.is_err());
    assert_eq!(failure(&next).await, None);
}
