//! Copies that are larger than one chunk.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use flagcache_core::FlagDefinitionCacheData;
use flagcache_test_support::RedisServer;

use crate::worker::{DATA, LOCK, Worker, sized, version};

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
