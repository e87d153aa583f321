//! The figures that the Redis store promises, measured against a real `redis-server`; `--nocapture` shows them.
//!
//! Apart from the other tests, which would measure each other.

// clippy.toml exempts test functions; what they share is not inside one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "redis/worker.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod worker;

use std::time::{Duration, Instant};

use flagcache_providers::redis::RedisStore;
use flagcache_test_support::RedisServer;
use tokio::sync::Mutex;

use crate::worker::{Worker, set, sized};

/// One measurement at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Bytes that the server has received and sent, all connections together.
fn traffic(admin: &mut redis::Connection) -> i64 {
    let stats: String = redis::cmd("INFO").arg("stats").query(admin).unwrap();
    let value = |name: &str| {
        let line = stats.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].trim().parse::<i64>().unwrap()
    };
    value("total_net_input_bytes:") + value("total_net_output_bytes:")
}

async fn bytes_per_tick(service: &str, padding: usize) -> i64 {
    let server = RedisServer::start();
    let slow = Duration::from_secs(5);
    let store = || {
        let builder = RedisStore::builder(server.url(), service)
            .response_timeout(slow)
            .lock_ttl(60 * slow);
        builder.data_ttl(600 * slow)
    };
    let (leader, follower) = (Worker::with(store()), Worker::with(store()));
    leader.lead_with(&sized(1, padding)).await;
    assert_eq!(follower.follow().await, Some(sized(1, padding)));
    follower.quiet().await;

    let mut admin = server.admin();
    // The cost of asking, which is counted too.
    let (one, two) = (traffic(&mut admin), traffic(&mut admin));
    let asking = two - one;
    let ticks = 200;
    let before = traffic(&mut admin);
    for _ in 0..ticks {
        assert!(follower.follow().await.is_some());
    }
    (traffic(&mut admin) - before - asking) / ticks
}

#[tokio::test]
async fn b8_59_a_followers_unchanged_tick_moves_under_700_bytes_at_any_size() {
    let _alone = ALONE.lock().await;
    let small = bytes_per_tick("checkout-prod", 10_000).await;
    let large = bytes_per_tick("checkout-prod", 10_000_000).await;
    let long_name = bytes_per_tick(&"s".repeat(100), 10_000).await;
    println!(
        "bytes of an unchanged tick: {small} at 10 KB, {large} at 10 MB, {long_name} with a name of 100 letters"
    );
    assert!(
        small < 700 && large < 700 && long_name < 700,
        "{small}, {large}, {long_name}"
    );
    assert!(
        (small - large).abs() <= 4,
        "{small} at 10 KB, {large} at 10 MB"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_sixteen_followers_within_fifty_milliseconds() {
    let _alone = ALONE.lock().await;
    let server = RedisServer::start();
    let leader = Worker::of(&server);
    let followers: Vec<_> = (0..16).map(|_| Worker::of(&server)).collect();
    assert!(leader.leads().await);
    for follower in &followers {
        assert!(!follower.leads().await);
        follower.quiet().await;
    }
    let mut last = Vec::new();
    for n in 1..=100 {
        assert!(leader.leads().await);
        let start = Instant::now();
        leader.publish(&set(n)).await.unwrap();
        // The new set is in the hands of each, not only the word of it.
        let arrivals = futures_util::future::join_all(followers.iter().map(async |follower| {
            assert!(follower.noticed(Duration::from_secs(5)).await, "change {n}");
            assert_eq!(follower.follow().await, Some(set(n)));
            start.elapsed()
        }));
        last.push(arrivals.await.into_iter().max().unwrap());
    }
    last.sort();
    println!(
        "publish to last of 16 followers: median {:?}, p99 {:?}, worst {:?}",
        last[50], last[98], last[99]
    );
    assert!(
        last[98] <= Duration::from_millis(50),
        "99th percentile: {:?}",
        last[98]
    );
}
