//! The stored copy: restoring it, extending its TTL, confirming it, and copies of other programs.

use std::time::{Duration, SystemTime};

use flagcache_core::{
    FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider,
    ProjectFingerprint, ProviderErrorKind,
};
use flagcache_test_support::{RedisServer, eventually};

use crate::worker::{DATA, LOCK, META, Worker, builder, set, version};

#[tokio::test]
async fn b1_07_a_worker_that_does_not_lead_only_creates() {
    let server = RedisServer::start();
    let (leader, other) = (Worker::of(&server), Worker::of(&server));
    assert!(leader.leads().await);
    assert_eq!(other.follow().await, None);
    assert_eq!(
        other.read().await.unwrap(),
        None,
        "the second read of the load looks again"
    );
    other.publish(&set(1)).await.unwrap();
    assert_eq!(other.follow().await, Some(set(1)));
    other.publish(&set(2)).await.unwrap();
    assert_eq!(
        other.follow().await,
        Some(set(1)),
        "nothing is overwritten, and that is no error"
    );
}

#[tokio::test]
async fn b8_63_a_lost_copy_is_restored_in_the_leaders_next_load() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    let lose = ["FLUSHALL", "DEL posthog:flags:checkout"];
    for (n, lost) in (1..).zip(lose.into_iter().chain(lose)) {
        leader.lead_with(&set(n)).await;
        server.run::<()>(lost);
        assert!(leader.leads().await);
        // On a 304 and on a 5xx.
        if n % 2 == 0 {
            leader.unchanged(&set(n)).await;
        } else {
            leader.failed(FetchErrorKind::Server, &set(n)).await;
        }
        assert_eq!(follower.follow().await, Some(set(n)), "{lost}");
    }
}

#[tokio::test]
async fn b8_66_garbage_is_replaced_in_the_leaders_next_load() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&set(1)).await;
    let whole = server.run::<String>(&format!("GET {DATA}"));
    let truncated = &whole[..whole.len() - 20];
    let garbage = [
        "garbage",
        "{}",
        "[]",
        r#"{"flags":null}"#,
        r#"{"flags":"x"}"#,
        r#"{"flags":[1,2]}"#,
        "{",
        truncated,
    ];
    for value in garbage {
        server.run_args::<()>(&["SET", DATA, value]);
        assert!(!follower.leads().await);
        let error = follower.read().await.unwrap_err();
        assert_eq!(
            error.kind(),
            ProviderErrorKind::InvalidData,
            "{value}: {error}"
        );
        assert!(leader.leads().await);
        leader.failed(FetchErrorKind::Server, &set(1)).await;
        assert_eq!(follower.follow().await, Some(set(1)), "{value}");
    }
    // An empty value counts as no copy, and a valid copy of another program counts as garbage.
    for (value, failure) in [
        ("", None),
        (r#"{"flags":[]}"#, None),
        (r#"{"flags":[]}"#, Some(FetchErrorKind::Server)),
    ] {
        server.run_args::<()>(&["SET", DATA, value]);
        assert!(leader.leads().await);
        match failure {
            None => leader.unchanged(&set(1)).await,
            Some(failure) => leader.failed(failure, &set(1)).await,
        }
        assert_eq!(follower.follow().await, Some(set(1)), "{value}");
    }
}

#[tokio::test]
async fn b8_63_a_failure_never_replaces_a_newer_copy() {
    let server = RedisServer::start();
    let (old, new) = (Worker::of(&server), Worker::of(&server));
    new.lead_with(&set(2)).await;
    new.shutdown().await;
    // It has not read the last leader's copy, and its own request fails.
    assert!(old.leads().await);
    old.failed(FetchErrorKind::Server, &set(1)).await;
    assert_eq!(Worker::of(&server).follow().await, Some(set(2)));
    // What the API confirms is current, whatever is stored: the flags were rolled back.
    assert!(old.leads().await);
    old.unchanged(&set(1)).await;
    assert_eq!(Worker::of(&server).follow().await, Some(set(1)));
}

#[tokio::test]
async fn b8_63_a_failure_replaces_a_newer_copy_of_another_project() {
    let server = RedisServer::start();
    let leader = Worker::of(&server);
    leader.lead_with(&set(1)).await;
    let other_project = FlagDefinitionCacheData::from_api_response(
        set(2).raw_json().to_vec(),
        Some("\"v2\""),
        set(2).fetched_at().unwrap(),
        Some(ProjectFingerprint::of("phc_other")),
    )
    .unwrap();
    let json = String::from_utf8(other_project.to_json().to_vec()).unwrap();
    server.run_args::<()>(&["SET", DATA, &json]);
    assert!(leader.leads().await);
    leader.failed(FetchErrorKind::Server, &set(1)).await;
    assert_eq!(Worker::of(&server).follow().await, Some(set(1)));
}

#[tokio::test]
async fn b8_68_a_copy_of_another_sdk_is_read_every_time() {
    let server = RedisServer::start();
    let worker = Worker::of(&server);
    server.run::<()>(&format!("SET {LOCK} python PX 60000"));
    // The same length and the same first 400 bytes.
    let padding = "x".repeat(500);
    for n in [1, 2] {
        let copy = format!(r#"{{"x":"{padding}","flags":[{{"key":"v{n}"}}]}}"#);
        server.run_args::<()>(&["SET", DATA, &copy]);
        let read = worker.follow().await.unwrap();
        assert_eq!((version(&read), read.etag()), (n, None));
    }
}

#[tokio::test]
async fn b8_68_a_leader_replaces_a_foreign_copy_with_its_own() {
    let server = RedisServer::start();
    let leader = Worker::of(&server);
    leader.lead_with(&set(1)).await;
    let plain = String::from_utf8(set(1).raw_json().to_vec()).unwrap();
    server.run_args::<()>(&["SET", DATA, &plain]);
    assert!(leader.leads().await);
    leader.unchanged(&set(1)).await;
    assert!(
        server
            .run::<String>(&format!("GET {DATA}"))
            .starts_with(r#"{"_flagcache":"#)
    );
}

#[tokio::test]
async fn b8_62_the_confirmation_travels_beside_the_data() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    assert!(!{
        leader.leads().await;
        follower.leads().await
    });
    assert_eq!(follower.report().confirmed_ago, None);
    leader.publish(&set(1)).await.unwrap();
    let stored = server.run::<String>(&format!("GET {DATA}"));
    tokio::time::sleep(Duration::from_millis(120)).await;
    follower.leads().await;
    let published = follower.report().confirmed_ago.unwrap();
    assert!(
        published >= Duration::from_millis(120) && published < Duration::from_secs(5),
        "{published:?}"
    );

    // A failure confirms nothing.
    assert!(leader.leads().await);
    leader.failed(FetchErrorKind::Server, &set(1)).await;
    follower.leads().await;
    assert!(follower.report().confirmed_ago.unwrap() >= published);

    assert!(leader.leads().await);
    leader.unchanged(&set(1)).await;
    follower.leads().await;
    assert!(follower.report().confirmed_ago.unwrap() < published);
    assert_eq!(
        server.run::<String>(&format!("GET {DATA}")),
        stored,
        "the data is not touched"
    );
}

#[tokio::test]
async fn b8_62_a_servers_clock_that_jumps_misdates_the_confirmation_until_the_next() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&set(1)).await;
    let hour = Duration::from_secs(3600);
    let now: u64 = server
        .run::<String>(&format!("HGET {META} confirmed"))
        .parse()
        .unwrap();

    // Set back by an hour: what was confirmed is ahead, which is as good as now.
    server.run::<()>(&format!("HSET {META} confirmed {}", now + 3_600_000));
    follower.follow().await;
    assert_eq!(follower.report().confirmed_ago, Some(Duration::ZERO));

    // Set forward: the copy looks old, and its followers make sure by themselves.
    server.run::<()>(&format!("HSET {META} confirmed {}", now - 3_600_000));
    follower.follow().await;
    assert!(follower.report().confirmed_ago.unwrap() >= hour);

    assert!(leader.leads().await);
    leader.unchanged(&set(1)).await;
    follower.follow().await;
    assert!(follower.report().confirmed_ago.unwrap() < hour);
}

#[tokio::test]
async fn definitions_that_are_stored_already_are_only_confirmed() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&set(1)).await;
    assert_eq!(follower.follow().await, Some(set(1)));
    follower.quiet().await;
    let stored = server.run::<String>(&format!("GET {DATA}"));
    server.run::<()>(&format!("DEL {META}"));
    // A 200 with the same content, fetched later.
    let again = fetched_now(&set(1));
    leader.lead_with(&again).await;
    assert_eq!(server.run::<String>(&format!("GET {DATA}")), stored);
    assert!(
        !follower.noticed(Duration::from_millis(200)).await,
        "nothing changed for any worker"
    );
    follower.leads().await;
    assert!(follower.report().confirmed_ago.is_some());
    // With another ETag it is stored: the next leader's request depends on it.
    leader.lead_with(&again.with_etag(Some("\"other\""))).await;
    assert_eq!(follower.follow().await.unwrap().etag(), Some("\"other\""));
}

#[tokio::test]
async fn b8_63_equal_definitions_fetched_by_another_worker_are_left_in_place() {
    let server = RedisServer::start();
    let (last, next, follower) = (
        Worker::of(&server),
        Worker::of(&server),
        Worker::of(&server),
    );
    last.lead_with(&set(1)).await;
    assert_eq!(follower.follow().await, Some(set(1)));
    last.shutdown().await;
    follower.quiet().await;
    let stored = server.run::<String>(&format!("GET {DATA}"));
    let fetched = fetched_now(&set(1));
    assert!(next.leads().await);
    next.unchanged(&fetched).await;
    assert!(next.leads().await);
    next.failed(FetchErrorKind::Server, &fetched).await;
    assert_eq!(server.run::<String>(&format!("GET {DATA}")), stored);
    assert!(
        !follower.noticed(Duration::from_millis(200)).await,
        "no worker has to read it again"
    );
}

#[tokio::test]
async fn b8_68_a_leader_of_another_sdk_leaves_the_confirmation_unknown() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&set(1)).await;
    assert!(leader.leads().await);
    leader.failed(FetchErrorKind::QuotaLimited, &set(1)).await;
    leader.shutdown().await;
    server.run::<()>(&format!("SET {LOCK} python PX 60000"));
    assert!(!follower.leads().await);
    let report = follower.report();
    assert_eq!(
        (report.confirmed_ago, report.quota_limited),
        (None, false),
        "an old time would make the copy look stale"
    );
}

/// The same content and ETag, fetched now.
fn fetched_now(data: &FlagDefinitionCacheData) -> FlagDefinitionCacheData {
    FlagDefinitionCacheData::from_api_response(
        data.raw_json(),
        data.etag(),
        SystemTime::now(),
        None,
    )
    .unwrap()
}

#[tokio::test]
async fn b2_29_the_quota_mark_reaches_the_fleet_and_is_removed_by_the_next_success() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&set(1)).await;
    let reports_quota = async |expected: bool| {
        assert_eq!(follower.follow().await, Some(set(1)), "the copy stays");
        assert_eq!(follower.report().quota_limited, expected);
    };
    reports_quota(false).await;
    assert!(leader.leads().await);
    leader.failed(FetchErrorKind::QuotaLimited, &set(1)).await;
    reports_quota(true).await;
    assert!(leader.leads().await);
    leader.failed(FetchErrorKind::Server, &set(1)).await;
    reports_quota(true).await;
    assert!(leader.leads().await);
    leader.unchanged(&set(1)).await;
    reports_quota(false).await;

    assert!(leader.leads().await);
    leader
        .fetch_without_update(FetchOutcome::failed(FetchErrorKind::QuotaLimited, None))
        .await
        .unwrap();
    reports_quota(true).await;
    leader.lead_with(&set(1)).await;
    reports_quota(false).await;
}

#[tokio::test]
async fn b2_27_the_copys_ttl_is_extended_only_when_less_than_half_is_left() {
    let server = RedisServer::start();
    let hour = Duration::from_secs(3_600);
    let leader = Worker::with(builder(&server).data_ttl(hour));
    leader.lead_with(&set(1)).await;
    let left = || server.run::<i64>(&format!("PTTL {DATA}"));
    assert!(left() > 3_590_000);
    for (set_to, grows) in [(2_000_000, false), (1_700_000, true)] {
        for confirmed in [true, false] {
            server.run::<()>(&format!("PEXPIRE {DATA} {set_to}"));
            assert!(leader.leads().await);
            if confirmed {
                leader.unchanged(&set(1)).await;
            } else {
                leader.failed(FetchErrorKind::Server, &set(1)).await;
            }
            assert_eq!(left() > set_to, grows, "{set_to}, {}", left());
        }
    }
    assert!(
        server.run::<i64>(&format!("PTTL {META}")) > 3_000_000,
        "the meta key goes with the copy"
    );
}

#[tokio::test]
async fn a_copy_may_have_no_ttl() {
    let server = RedisServer::start();
    let leader = Worker::with(builder(&server).data_ttl(None));
    leader.lead_with(&set(1)).await;
    assert_eq!(server.run::<i64>(&format!("PTTL {DATA}")), -1);
    // Left by a store with other settings.
    server.run::<()>(&format!("PEXPIRE {DATA} 100000"));
    assert!(leader.leads().await);
    leader.unchanged(&set(1)).await;
    assert_eq!(server.run::<i64>(&format!("PTTL {DATA}")), -1);
}

#[tokio::test]
async fn a_key_of_another_type_is_a_clear_error_and_is_left_alone() {
    let server = RedisServer::start();
    let worker = Worker::of(&server);
    for key in [DATA, LOCK, META] {
        server.run::<()>("FLUSHALL");
        server.run::<()>(&format!("RPUSH {key} x"));
        let error = worker.decide().await.unwrap_err();
        assert_eq!(
            error.kind(),
            ProviderErrorKind::InvalidData,
            "{key}: {error}"
        );
        assert!(error.to_string().contains("holds another type"), "{error}");
        assert_eq!(server.run::<String>(&format!("TYPE {key}")), "list");
    }
}

#[tokio::test]
async fn b1_11_a_reader_that_never_decides_sees_every_change() {
    let server = RedisServer::start();
    let (leader, reader) = (Worker::of(&server), Worker::of(&server));
    assert_eq!(reader.read().await.unwrap(), None);
    for n in 1..3 {
        leader.lead_with(&set(n)).await;
        assert_eq!(reader.read().await.unwrap(), Some(set(n)));
        assert!(reader.report().confirmed_ago.is_some());
    }
}

#[tokio::test]
async fn the_pollers_of_one_store_read_a_change_once() {
    let server = RedisServer::start();
    let leader = Worker::of(&server);
    let store = builder(&server).build().unwrap();
    let readers: Vec<_> = (0..8).map(|_| Worker::on(&store)).collect();
    leader.lead_with(&set(1)).await;
    let gets = || {
        let stats = server.run::<String>("INFO commandstats");
        let line = stats
            .lines()
            .find(|line| line.starts_with("cmdstat_get:"))
            .unwrap_or("cmdstat_get:calls=0,");
        line["cmdstat_get:calls=".len()..]
            .split(',')
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    for reader in &readers {
        assert!(!reader.leads().await);
    }
    let before = gets();
    let reads = futures_util::future::join_all(readers.iter().map(Worker::read)).await;
    assert!(reads.into_iter().all(|read| read.unwrap() == Some(set(1))));
    assert_eq!(gets() - before, 1);
    eventually("no more reads", Duration::from_secs(1), async || {
        gets() - before == 1
    })
    .await;
    let stored = readers[0].provider.peek_flag_definitions().await.unwrap();
    assert_eq!(stored, Some(set(1)));
}
