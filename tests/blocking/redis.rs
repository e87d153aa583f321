//! Redis, from pollers that each have a runtime of their own.

use flagcache::{RedisStore, Role};
use flagcache_providers::testing::{Definitions, RedisServer};

use crate::support::{LIMIT, flags_of, stub, until, worker};

#[test]
fn workers_share_a_redis() {
    let (stub, server) = (stub(5), RedisServer::start());
    let store = || RedisStore::builder(server.url(), "checkout").build().unwrap();
    let (one, other) = (store(), store());
    let start = |store: &RedisStore| worker(&stub).flag_definition_cache_provider(store.provider()).start().unwrap();
    let (first, second) = (start(&one), start(&other));
    for flags in [&first, &second] {
        flags.wait_ready(LIMIT).unwrap();
        assert_eq!(flags_of(flags), Some(5));
    }
    assert_eq!(stub.stats().ok, 1, "one of them fetched");
    let roles = [first.status().role, second.status().role];
    let (leader, follower) = if roles[0] == Role::Leader { (first, second) } else { (second, first) };
    let mut changes = follower.subscribe();
    stub.set_definitions(Definitions::realistic(6, 1));
    assert_eq!(changes.next_within(LIMIT).unwrap().new.map(|set| set.len()), Some(6));
    leader.shutdown().unwrap();
    until("the follower leads", || follower.status().role == Role::Leader);
    follower.shutdown().unwrap();
}
