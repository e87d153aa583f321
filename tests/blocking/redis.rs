//! Redis, from pollers that each have a runtime of their own.

use flagcache::{RedisStore, Role};
use flagcache_providers::testing::Definitions;
use flagcache_test_support::RedisServer;

use crate::support::{LIMIT, flags_of, stub, until, worker};

#[test]
fn workers_share_a_redis() {
    let (stub, server) = (stub(5), RedisServer::start());
    let store = || {
        RedisStore::builder(server.url(), "checkout")
            .build()
            .unwrap()
    };
    let (one, other) = (store(), store());
    let start = |store: &RedisStore| {
        worker(&stub)
            .flag_definition_cache_provider(store.provider())
            .start()
            .unwrap()
    };
    let (first, second) = (start(&one), start(&other));
    for flags in [&first, &second] {
        flags.wait_ready(LIMIT).unwrap();
        assert_eq!(flags_of(flags), Some(5));
    }
    assert_eq!(stub.stats().ok, 1, "one of them fetched");
    let roles = [first.status().role, second.status().role];
    let (leader, follower) = if roles[0] == Role::Leader {
        (first, second)
    } else {
        (second, first)
    };
    let mut changes = follower.subscribe();
    stub.set_definitions(Definitions::realistic(6, 1));
    assert_eq!(
        changes.next_within(LIMIT).unwrap().new.map(|set| set.len()),
        Some(6)
    );
    leader.shutdown().unwrap();
    until("the follower leads", || {
        follower.status().role == Role::Leader
    });
    follower.shutdown().unwrap();
}

/// The poller that opened the connection goes, and its runtime with it.
#[test]
fn a_shared_store_outlives_the_runtime_that_it_was_connected_on() {
    for protocol in ["resp3", "resp2"] {
        let (stub, server) = (stub(5), RedisServer::start());
        let store =
            RedisStore::builder(format!("{}?protocol={protocol}", server.url()), "checkout")
                .build()
                .unwrap();
        let start = || {
            worker(&stub)
                .flag_definition_cache_provider(store.provider())
                .manual()
                .start()
                .unwrap()
        };
        let first = start();
        first.refresh().unwrap();
        let second = start();
        second.refresh().unwrap();
        let before = subscribed(&server);
        first.shutdown().unwrap();
        until("the connection is opened again", || {
            let now = subscribed(&server);
            !now.is_empty() && now.iter().all(|id| !before.contains(id))
        });
        second.refresh().unwrap();
        assert_eq!(second.status().counters.provider_faults, 0, "{protocol}");
        second.shutdown().unwrap();
    }
}

/// The ids of the connections that wait for notifications.
fn subscribed(server: &RedisServer) -> Vec<String> {
    let clients = server.run::<String>("CLIENT LIST");
    let id = |client: &str| client.split(' ').next().map(str::to_owned);
    clients
        .lines()
        .filter(|client| client.contains(" sub=1 "))
        .filter_map(id)
        .collect()
}
