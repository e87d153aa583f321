//! Notifications: which worker is notified of what, and how soon.

use std::time::Duration;

use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::redis::RedisStore;
use flagcache_test_support::RedisServer;

use crate::worker::{CHANNEL, DATA, SERVICE, Worker, builder, set};

const SECOND: Duration = Duration::from_secs(1);
const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_publish_reaches_all_but_its_own_worker() {
    let server = RedisServer::start();
    let resp2 = format!("{}?protocol=resp2", server.url());
    for url in [server.url(), resp2] {
        server.run::<()>("FLUSHALL");
        let store = RedisStore::builder(&url, SERVICE).build().unwrap();
        let leader = Worker::on(&store);
        let neighbour = Worker::on(&store);
        let follower = Worker::with(RedisStore::builder(&url, SERVICE));
        assert!(leader.leads().await);
        assert!(!neighbour.leads().await && !follower.leads().await);
        for worker in [&leader, &neighbour, &follower] {
            worker.quiet().await;
        }
        leader.publish(&set(1)).await.unwrap();
        assert!(neighbour.noticed(SECOND).await, "on the same connection");
        assert!(follower.noticed(SECOND).await, "on another");
        assert!(
            !leader.noticed(SHORT).await,
            "its own notification is not for itself"
        );
    }
}

#[tokio::test]
async fn a_confirmation_notifies_no_worker_and_a_restored_copy_notifies_all() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&set(1)).await;
    assert_eq!(follower.follow().await, Some(set(1)));
    follower.quiet().await;
    assert!(leader.leads().await);
    leader.unchanged(&set(1)).await;
    assert!(!follower.noticed(SHORT).await);
    server.run::<()>(&format!("DEL {DATA}"));
    assert!(leader.leads().await);
    leader.unchanged(&set(1)).await;
    assert!(follower.noticed(SECOND).await);
}

#[tokio::test]
async fn a_worker_that_shut_down_is_not_notified() {
    let server = RedisServer::start();
    let store = builder(&server).build().unwrap();
    let (leader, gone) = (Worker::on(&store), Worker::on(&store));
    leader.lead_with(&set(1)).await;
    gone.quiet().await;
    gone.shutdown().await;
    leader.lead_with(&set(2)).await;
    assert!(!gone.noticed(SHORT).await);
}

#[tokio::test]
async fn other_messages_on_the_channel_only_cause_a_load() {
    let server = RedisServer::start();
    let worker = Worker::of(&server);
    worker.lead_with(&set(1)).await;
    worker.quiet().await;
    server.run::<i32>(&format!("PUBLISH {CHANNEL} whatever"));
    assert!(worker.noticed(SECOND).await);
}

#[tokio::test]
async fn a_server_without_resp3_is_subscribed_on_a_second_connection() {
    let server = RedisServer::start_with(&["--rename-command", "HELLO", ""]);
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    assert!(leader.leads().await);
    assert_eq!(follower.follow().await, None);
    follower.quiet().await;
    leader.publish(&set(1)).await.unwrap();
    assert!(follower.noticed(SECOND).await);
    assert_eq!(follower.follow().await, Some(set(1)));
}

#[tokio::test]
async fn b12_84_a_request_whose_message_is_lost_is_taken_at_the_leaders_next_tick() {
    let server = RedisServer::start();
    // Without a permission for the channel no message arrives.
    server.run::<()>("ACL SETUSER deaf on >s3cret resetchannels ~* +@all");
    let leader = Worker::with(builder(&server).username("deaf").password("s3cret"));
    leader.lead_with(&set(1)).await;
    let follower = Worker::of(&server);
    assert_eq!(follower.follow().await, Some(set(1)));

    assert!(follower.provider.request_refresh().await.unwrap());
    assert!(!leader.noticed(SHORT).await);
    assert!(leader.leads().await);
    assert!(leader.report().refresh_requested);
    // Taken once.
    assert!(leader.leads().await);
    assert!(!leader.report().refresh_requested);
}
