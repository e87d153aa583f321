//! Copies that are larger than one chunk.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use flagcache_core::FlagDefinitionCacheData;
use flagcache_test_support::RedisServer;

use crate::worker::{DATA, LOCK, STAGING, Worker, builder, set, sized, version};

const MEGABYTE: usize = 1024 * 1024;

#[tokio::test]
async fn a_copy_larger_than_what_redis_sends_a_listener_at_once_arrives() {
    let server = RedisServer::start();
    server.run_args::<()>(&[
        "CONFIG",
        "SET",
        "client-output-buffer-limit",
        "pubsub 3mb 3mb 60",
    ]);
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    let large = sized(1, 10 * MEGABYTE + 1);
    leader.lead_with(&large).await;
    assert_eq!(follower.follow().await, Some(large));
}

#[tokio::test]
async fn a_large_copy_is_sent_in_pieces_and_nothing_of_them_remains() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    for n in 1..4 {
        let large = sized(n, 10 * MEGABYTE + n as usize);
        leader.lead_with(&large).await;
        assert!(!server.run::<bool>(&format!("EXISTS {STAGING}")));
        let left: i64 = server.run(&format!("TTL {DATA}"));
        assert!((86_000..=86_400).contains(&left), "{left} s");
        assert_eq!(follower.follow().await, Some(large));
    }
    let script = server.run::<String>("INFO commandstats");
    let calls = |command| {
        let line = script.lines().find(|line| line.starts_with(command));
        let calls = line.and_then(|line| line.split(['=', ',']).nth(1)?.parse::<u64>().ok());
        calls.unwrap_or_else(|| panic!("{command}: {script}"))
    };
    assert_eq!(calls("cmdstat_rename:"), 3);
    assert_eq!(calls("cmdstat_append:"), 3 * 40);

    let for_ever = Worker::with(builder(&server).data_ttl(None));
    leader.shutdown().await;
    for_ever.lead_with(&sized(5, 3 * MEGABYTE)).await;
    assert_eq!(server.run::<i64>(&format!("TTL {DATA}")), -1);
}

#[tokio::test]
async fn a_publish_that_is_abandoned_between_two_pieces_leaves_the_copy_and_nothing_for_long() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&set(1)).await;
    assert!(leader.leads().await);
    let large = sized(2, 30 * MEGABYTE);
    tokio::select! {
        biased;
        _ = leader.publish(&large) => panic!("published before a piece was seen"),
        () = async {
            while !server.run::<bool>(&format!("EXISTS {STAGING}")) {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    let left: i64 = server.run(&format!("PTTL {STAGING}"));
    assert!((0..=60_000).contains(&left), "{left} ms");
    assert_eq!(follower.follow().await, Some(set(1)));
    let next = sized(3, 4 * MEGABYTE);
    leader.lead_with(&next).await;
    assert!(!server.run::<bool>(&format!("EXISTS {STAGING}")));
    assert_eq!(follower.follow().await, Some(next));
}

#[tokio::test]
async fn a_leader_that_lost_the_lock_sends_no_piece() {
    let server = RedisServer::start();
    let leader = Worker::of(&server);
    leader.lead_with(&set(1)).await;
    assert!(leader.leads().await);
    server.run::<()>(&format!("SET {LOCK} flagcache:another:1 PX 60000"));
    let error = leader.publish(&sized(2, 4 * MEGABYTE)).await.unwrap_err();
    assert!(error.to_string().contains("leadership was lost"), "{error}");
    assert!(!server.run::<bool>(&format!("EXISTS {STAGING}")));
    assert_eq!(Worker::of(&server).follow().await, Some(set(1)));
}

#[tokio::test]
async fn pieces_that_are_lost_or_that_a_former_leader_sends_too_are_sent_again_as_a_whole() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&set(1)).await;
    let piece = "x".repeat(256 * 1024);
    let interferences: [&[&str]; 3] = [
        &["DEL", STAGING],
        &["APPEND", STAGING, &piece],
        &["SET", STAGING, &piece, "EX", "60"],
    ];
    for (n, interference) in (2..).zip(interferences) {
        assert!(leader.leads().await);
        let large = sized(n, 8 * MEGABYTE);
        let mut published = Box::pin(leader.publish(&large));
        tokio::select! {
            biased;
            _ = &mut published => panic!("published before a piece was seen"),
            () = async {
                while server.run::<u64>(&format!("STRLEN {STAGING}")) == 0 {
                    tokio::task::yield_now().await;
                }
            } => server.run_args::<()>(interference),
        }
        published.await.unwrap();
        assert_eq!(follower.follow().await, Some(large), "{}", interference[0]);
        // What was appended to nothing would never expire.
        let left: i64 = server.run(&format!("TTL {STAGING}"));
        assert_ne!(left, -1, "{}", interference[0]);
    }
}

#[tokio::test]
async fn b8_66_a_large_copy_that_changes_while_it_is_read_is_never_mixed() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    // Of one length, and different in each piece.
    let sets = [1, 2].map(|n| {
        let body = format!(
            r#"{{"flags":[{{"key":"v{n}"}}],"x":"{}"}}"#,
            n.to_string().repeat(4 * MEGABYTE)
        );
        let fetched_at = SystemTime::UNIX_EPOCH + Duration::from_secs(n);
        FlagDefinitionCacheData::from_api_response(body, Some("\"1\""), fetched_at, None).unwrap()
    });
    leader.lead_with(&sets[0]).await;
    let ended = Cell::new(false);
    let leader = async {
        for set in sets.iter().cycle() {
            if ended.get() {
                break;
            }
            leader.lead_with(set).await;
        }
    };
    let follow = async {
        for _ in 0..30 {
            let read = follower.follow().await.expect("a copy");
            // With its metadata too, which a mixed one would lose.
            assert_eq!(read, sets[version(&read) as usize - 1]);
        }
        ended.set(true);
    };
    tokio::join!(leader, follow);
}

#[tokio::test]
async fn a_large_copy_of_which_a_part_was_replaced_keeps_its_definitions_and_loses_its_metadata() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    let large = sized(1, 4 * MEGABYTE);
    leader.lead_with(&large).await;
    let middle = (2 * MEGABYTE).to_string();
    server.run_args::<()>(&["SETRANGE", DATA, &middle, "another"]);
    let read = follower.follow().await.expect("definitions");
    assert_eq!((version(&read), read.etag()), (1, None));
    assert!(!read.same_content(&large));
}

#[tokio::test]
async fn a_large_copy_that_changes_after_the_decision_is_read_in_pieces_too() {
    let server = RedisServer::start();
    server.run_args::<()>(&[
        "CONFIG",
        "SET",
        "client-output-buffer-limit",
        "pubsub 3mb 3mb 60",
    ]);
    let leader = Worker::of(&server);
    leader.lead_with(&sized(1, 10 * MEGABYTE)).await;
    for (n, size) in [
        (2, 10 * MEGABYTE),
        (3, 4 * MEGABYTE),
        (4, 12 * MEGABYTE),
        (5, 10),
    ] {
        // A new one has nothing that it could take for what it saw.
        let follower = Worker::of(&server);
        assert!(!follower.leads().await);
        leader.lead_with(&sized(n, size)).await;
        assert_eq!(
            follower.read().await.unwrap(),
            Some(sized(n, size)),
            "{size} bytes"
        );
    }
    leader.lead_with(&sized(6, 10 * MEGABYTE)).await;
    let follower = Worker::of(&server);
    assert!(!follower.leads().await);
    server.run::<()>(&format!("DEL {DATA}"));
    assert_eq!(follower.read().await.unwrap(), None);
}

#[tokio::test]
async fn reads_that_cost_the_connection_do_not_bring_about_each_other() {
    let server = RedisServer::start();
    server.run_args::<()>(&[
        "CONFIG",
        "SET",
        "client-output-buffer-limit",
        "pubsub 3mb 3mb 60",
    ]);
    let follower = Worker::of(&server);
    server.run::<()>(&format!("SET {LOCK} python PX 60000"));
    // Another SDK's copy is read at once.
    let copy = format!(r#"{{"flags":[],"x":"{}"}}"#, "x".repeat(10 * MEGABYTE));
    server.run_args::<()>(&["SET", DATA, &copy]);
    let mut loads = 0;
    let load = async || {
        assert!(!follower.leads().await);
        follower.read().await.unwrap_err();
    };
    load().await;
    while follower.noticed(Duration::from_secs(4)).await {
        load().await;
        loads += 1;
        assert!(loads < 10, "each read brings about another one");
    }
}
