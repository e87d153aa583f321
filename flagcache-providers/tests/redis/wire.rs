//! What goes over the wire when nothing has changed.

use std::time::Duration;

use flagcache_providers::redis::RedisStore;

use crate::server::RedisServer;
use crate::worker::{Worker, sized};

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
        let builder = RedisStore::builder(server.url(), service).response_limit(slow).lock_life(60 * slow);
        builder.copy_life(600 * slow)
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
async fn a_followers_unchanged_tick_moves_under_700_bytes_at_any_size() {
    let small = bytes_per_tick("checkout-prod", 10_000).await;
    let large = bytes_per_tick("checkout-prod", 10_000_000).await;
    let long_name = bytes_per_tick(&"s".repeat(100), 10_000).await;
    println!("bytes of an unchanged tick: {small} at 10 KB, {large} at 10 MB, {long_name} with a name of 100 letters");
    assert!(small < 700 && large < 700 && long_name < 700, "{small}, {large}, {long_name}");
    assert!((small - large).abs() <= 4, "{small} at 10 KB, {large} at 10 MB");
}
