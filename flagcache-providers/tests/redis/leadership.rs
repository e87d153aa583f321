//! Leadership: the lock, its token, its renewal and its end.

use std::time::{Duration, Instant};

use flagcache_core::{
    FetchErrorKind, FetchOutcome, FlagDefinitionCacheProvider, PollerSchedule, ProviderErrorKind,
};
use flagcache_test_support::{RedisServer, eventually};

use crate::worker::{DATA, LOCK, Worker, builder, set, short_lived, version};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn b8_58_of_sixteen_cold_workers_one_leads() {
    let server = RedisServer::start();
    let workers: Vec<_> = (0..16).map(|_| Worker::of(&server)).collect();
    let decisions = futures_util::future::join_all(workers.iter().map(Worker::leads)).await;
    assert_eq!(decisions.iter().filter(|&&leads| leads).count(), 1);
    let again = futures_util::future::join_all(workers.iter().map(Worker::leads)).await;
    assert_eq!(again, decisions, "the leader stays the leader");
}

#[tokio::test]
async fn a_leader_publishes_and_followers_read() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    assert!(leader.leads().await);
    assert_eq!(follower.follow().await, None);
    leader.publish(&set(1)).await.unwrap();
    assert_eq!(follower.follow().await, Some(set(1)));
    leader.lead_with(&set(2)).await;
    let read = follower.follow().await.unwrap();
    assert_eq!(
        (version(&read), read.etag(), read.fetched_at()),
        (2, Some("\"v2\""), set(2).fetched_at())
    );
}

#[tokio::test]
async fn a_follower_hears_how_long_the_lease_lasts_and_a_leader_does_not() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    assert!(leader.leads().await);
    assert_eq!(leader.report().lease_ends_in, None);
    assert!(!follower.leads().await);
    let left = follower.report().lease_ends_in.unwrap();
    assert!(left > 8 * SECOND && left <= 10 * SECOND, "{left:?}");
}

#[tokio::test]
async fn b8_60_a_killed_leader_is_replaced_when_the_lease_ends() {
    let server = RedisServer::start();
    // Expiry of thousands of other keys must not delay that of the lock.
    let mut other = redis::pipe();
    for key in 0..20_000 {
        other
            .cmd("SET")
            .arg(format!("other:{key}"))
            .arg("x")
            .arg("PX")
            .arg(300 + key % 3_000)
            .ignore();
    }
    other.query::<()>(&mut server.admin()).unwrap();

    let leader = Worker::with(short_lived(&server));
    let follower = Worker::with(short_lived(&server));
    leader.lead_with(&set(1)).await;
    drop(leader);
    let killed = Instant::now();
    assert!(!follower.leads().await);
    let left = follower.report().lease_ends_in.unwrap();
    tokio::time::sleep(left).await;
    eventually("the follower leads", SECOND, async || {
        follower.leads().await
    })
    .await;
    assert!(
        killed.elapsed() < Duration::from_millis(600 + 300),
        "{:?}",
        killed.elapsed()
    );
    let stored = follower
        .provider
        .peek_flag_definitions()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        stored.etag(),
        Some("\"v1\""),
        "so that its first request is conditional"
    );
}

#[tokio::test]
async fn b8_60_a_leader_that_shuts_down_is_replaced_at_once() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    assert!(leader.leads().await);
    assert!(!follower.leads().await);
    follower.quiet().await;
    let start = Instant::now();
    leader.shutdown().await;
    assert!(
        follower.noticed(SECOND).await,
        "a notification of the release"
    );
    assert!(follower.leads().await);
    assert!(
        start.elapsed() < Duration::from_millis(200),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_shutdown_of_a_follower_leaves_the_lock_alone() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    assert!(leader.leads().await);
    assert!(!follower.leads().await);
    follower.shutdown().await;
    Worker::of(&server).shutdown().await;
    assert_eq!(server.run::<i32>(&format!("EXISTS {LOCK}")), 1);
    assert!(leader.leads().await);
}

#[tokio::test]
async fn b8_60_the_lock_is_renewed_between_loads() {
    let server = RedisServer::start();
    let leader = Worker::with(short_lived(&server));
    let follower = Worker::with(short_lived(&server));
    assert!(leader.leads().await);
    let start = Instant::now();
    while start.elapsed() < 2 * SECOND {
        assert!(!follower.leads().await, "after {:?}", start.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(leader.leads().await);
    leader.publish(&set(1)).await.unwrap();
}

#[tokio::test]
async fn b8_61_the_lease_of_a_leader_without_loads_is_not_renewed() {
    let server = RedisServer::start();
    let store = short_lived(&server).build().unwrap();
    let interval = Duration::from_millis(300);
    let leader = Worker::polling(&store, interval);
    let follower = Worker::with(short_lived(&server));
    assert!(leader.leads().await);
    let took = eventually("another leads", 3 * SECOND, async || follower.leads().await).await;
    // Renewed for two intervals, at steps of 200 ms, then for one TTL.
    assert!(took >= 2 * interval, "{took:?}");
    assert!(
        took < Duration::from_millis(600 + 200 + 600 + 400),
        "{took:?}"
    );
}

#[tokio::test]
async fn b8_61_a_backoff_of_the_poller_keeps_the_lock_renewed() {
    let server = RedisServer::start();
    let store = short_lived(&server).build().unwrap();
    let leader = Worker::polling(&store, Duration::from_millis(100));
    let follower = Worker::with(short_lived(&server));
    assert!(leader.leads().await);
    let mut schedule = PollerSchedule::new(Duration::from_millis(100));
    schedule.fetch_backoff = Duration::from_secs(60);
    leader.poller.set_schedule(schedule);
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    assert!(!follower.leads().await);
}

#[tokio::test]
async fn in_manual_mode_leadership_lasts_one_ttl() {
    let server = RedisServer::start();
    let leader = Worker::with(short_lived(&server));
    let mut schedule = PollerSchedule::new(30 * SECOND);
    schedule.manual = true;
    leader.poller.set_schedule(schedule);
    let follower = Worker::with(short_lived(&server));
    assert!(leader.leads().await);
    let took = eventually("another leads", 3 * SECOND, async || follower.leads().await).await;
    assert!(took < Duration::from_millis(600 + 300), "{took:?}");
}

#[tokio::test]
async fn b8_61_a_leader_that_cannot_fetch_steps_down() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&set(1)).await;
    assert!(!follower.leads().await);
    follower.quiet().await;
    assert!(leader.leads().await);
    let data = set(1);
    let outcome = FetchOutcome::failed(FetchErrorKind::Unauthorized, Some(&data))
        .with_step_down_for(Some(Duration::from_millis(500)));
    leader.fetch_without_update(outcome).await.unwrap();
    assert!(follower.noticed(SECOND).await);
    assert!(follower.leads().await, "another worker may do better");
    follower.shutdown().await;
    assert!(
        !leader.leads().await,
        "it does not lead again, though no worker leads"
    );
    assert_eq!(
        leader.read().await.unwrap(),
        Some(set(1)),
        "and reads meanwhile"
    );
    eventually("it attempts again", 2 * SECOND, async || {
        leader.leads().await
    })
    .await;
}

#[tokio::test]
async fn b8_65_a_late_leader_cannot_overwrite_newer_data() {
    let server = RedisServer::start();
    let (late, next) = (Worker::of(&server), Worker::of(&server));
    assert!(late.leads().await);
    // The lock's TTL passes while the leader is paused; the worker still assumes that it leads, so the server must refuse.
    server.run::<()>(&format!("DEL {LOCK}"));
    next.lead_with(&set(2)).await;
    let error = late.publish(&set(1)).await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Other);
    assert!(error.to_string().contains("leadership was lost"), "{error}");
    assert_eq!(late.follow().await, Some(set(2)));
}

#[tokio::test]
async fn b8_65_a_late_leader_cannot_overwrite_newer_data_after_the_newer_leader_has_shut_down() {
    let server = RedisServer::start();
    let (late, next) = (Worker::of(&server), Worker::of(&server));
    assert!(late.leads().await);
    server.run::<()>(&format!("DEL {LOCK}"));
    next.lead_with(&set(2)).await;
    next.shutdown().await;
    late.publish(&set(1)).await.unwrap_err();
    late.fetch_without_update(FetchOutcome::unchanged(&set(1)))
        .await
        .unwrap_err();
    assert_eq!(
        Worker::of(&server)
            .provider
            .peek_flag_definitions()
            .await
            .unwrap(),
        Some(set(2))
    );
}

#[tokio::test]
async fn b8_65_a_late_leader_cannot_overwrite_data_of_another_sdk() {
    let server = RedisServer::start();
    let late = Worker::of(&server);
    assert!(late.leads().await);
    server.run::<()>(&format!("SET {LOCK} python-worker-7 PX 60000"));
    server.run_args::<()>(&["SET", DATA, r#"{"flags":[{"key":"v5"}]}"#]);
    late.publish(&set(1)).await.unwrap_err();
    assert_eq!(version(&late.follow().await.unwrap()), 5);
    late.shutdown().await;
    assert_eq!(
        server.run::<String>(&format!("GET {LOCK}")),
        "python-worker-7",
        "not ours to release"
    );
}

#[tokio::test]
async fn b8_65_a_late_leader_is_notified_at_once_of_the_newer_copy() {
    let server = RedisServer::start();
    let late = Worker::of(&server);
    assert!(late.leads().await);
    late.quiet().await;
    server.run::<()>(&format!("SET {LOCK} python-worker-7 PX 60000"));
    late.publish(&set(1)).await.unwrap_err();
    assert!(
        late.noticed(SECOND).await,
        "long before the renewal, and before any tick"
    );
}

#[tokio::test]
async fn b8_65_a_worker_past_its_lease_sends_nothing() {
    let server = RedisServer::start();
    let store = short_lived(&server).build().unwrap();
    let late = Worker::on(&store);
    assert!(late.leads().await);
    // Renewals cannot reach the server, so the worker no longer assumes that it leads. The lock is kept alive, to show that the
    // worker decides by its own clock.
    server.hang();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let start = Instant::now();
    late.publish(&set(1)).await.unwrap_err();
    assert!(
        start.elapsed() < Duration::from_millis(50),
        "refused without asking: {:?}",
        start.elapsed()
    );
    server.resume();
}

#[tokio::test]
async fn b8_68_a_lock_of_another_sdk_is_respected() {
    let server = RedisServer::start();
    let worker = Worker::of(&server);
    server.run::<()>(&format!("SET {LOCK} 4711 PX 400"));
    assert!(!worker.leads().await);
    let left = worker.report().lease_ends_in.unwrap();
    assert!(left <= Duration::from_millis(400), "{left:?}");
    tokio::time::sleep(left + Duration::from_millis(20)).await;
    assert!(worker.leads().await);
}

#[tokio::test]
async fn b8_68_a_lock_without_a_ttl_is_respected() {
    let server = RedisServer::start();
    let worker = Worker::of(&server);
    server.run::<()>(&format!("SET {LOCK} 4711"));
    assert!(!worker.leads().await);
    assert_eq!(worker.report().lease_ends_in, None);
}

#[tokio::test]
async fn b8_68_another_sdk_finds_our_lock_taken_and_expiring() {
    let server = RedisServer::start();
    let leader = Worker::of(&server);
    assert!(leader.leads().await);
    assert!(!server.run::<bool>(&format!("SET {LOCK} python NX PX 60000")));
    let left = server.run::<i64>(&format!("PTTL {LOCK}"));
    assert!(left > 8_000 && left <= 10_000, "{left}");
}

#[tokio::test]
async fn every_load_has_a_token_of_its_own() {
    let server = RedisServer::start();
    let leader = Worker::of(&server);
    assert!(leader.leads().await);
    let first = server.run::<String>(&format!("GET {LOCK}"));
    assert!(leader.leads().await);
    let second = server.run::<String>(&format!("GET {LOCK}"));
    assert_ne!(first, second);
    leader.publish(&set(1)).await.unwrap();
}

#[tokio::test]
async fn a_late_attempt_does_not_replace_a_later_one() {
    let server = RedisServer::start();
    let worker = Worker::of(&server);
    assert!(worker.leads().await);
    let token = server.run::<String>(&format!("GET {LOCK}"));
    let (prefix, number) = token.rsplit_once(':').unwrap();
    let later = format!("{prefix}:{}", number.parse::<u64>().unwrap() + 10);
    server.run::<()>(&format!("SET {LOCK} {later} PX 10000"));
    assert!(!worker.leads().await);
    assert_eq!(server.run::<String>(&format!("GET {LOCK}")), later);
}

#[tokio::test]
async fn an_abandoned_attempt_does_not_block_its_worker() {
    let server = RedisServer::start();
    let worker = Worker::with(short_lived(&server).lock_ttl(30 * SECOND));
    worker.decide().await.unwrap();
    worker.provider.shutdown().await.unwrap();
    let worker = Worker::with(short_lived(&server).lock_ttl(30 * SECOND));
    worker.read().await.unwrap();
    server.hang();
    worker.decide().await.unwrap_err();
    server.resume();
    eventually("the late attempt is in", 5 * SECOND, async || {
        server.run::<i32>(&format!("EXISTS {LOCK}")) == 1
    })
    .await;
    assert!(worker.leads().await, "the lock of its own late bid");
    worker.publish(&set(1)).await.unwrap();
}

#[tokio::test]
async fn the_renewal_detects_a_lost_lock() {
    let server = RedisServer::start();
    let leader = Worker::with(short_lived(&server));
    assert!(leader.leads().await);
    leader.quiet().await;
    server.run::<()>("FLUSHALL");
    assert!(
        leader.noticed(SECOND).await,
        "so that it attempts to lead, and restores the copy, before its next tick"
    );
    assert_eq!(
        server.run::<i32>(&format!("EXISTS {LOCK}")),
        0,
        "a renewal never acquires"
    );
    assert!(leader.leads().await);
}

#[tokio::test]
async fn a_renewal_never_lengthens_the_lock_of_another() {
    let server = RedisServer::start();
    let leader = Worker::with(short_lived(&server));
    assert!(leader.leads().await);
    server.run::<()>(&format!("SET {LOCK} python PX 500"));
    assert!(
        leader.noticed(SECOND).await,
        "the renewal finds that leadership is lost"
    );
    let left = server.run::<i64>(&format!("PTTL {LOCK}"));
    assert!(
        (0..=400).contains(&left),
        "{left} ms left of 500 after a renewal"
    );
}

#[tokio::test]
async fn a_provider_that_is_dropped_stops_renewing() {
    let server = RedisServer::start();
    let store = short_lived(&server).build().unwrap();
    let leader = Worker::on(&store);
    assert!(leader.leads().await);
    let Worker {
        provider,
        poller: _poller,
    } = leader;
    drop(provider);
    let next = Worker::on(&store);
    eventually("another leads", 2 * SECOND, async || next.leads().await).await;
}

#[tokio::test]
async fn the_providers_of_one_store_are_different_workers() {
    let server = RedisServer::start();
    let store = builder(&server).build().unwrap();
    let (one, other) = (Worker::on(&store), Worker::on(&store));
    assert!(one.leads().await);
    assert!(!other.leads().await);
    other.shutdown().await;
    assert!(one.leads().await);
    one.shutdown().await;
    assert!(Worker::on(&store).leads().await);
}
