//! The bundled stores, over HTTP.

use std::time::Duration;

use flagcache::blocking::{FlagDefinitionPoller, refresh_once};
use flagcache::{FileStore, MemoryStore, PollerState, ReadOnly, RefreshOutcome, Role};
use flagcache_providers::testing::{ApiReply, Definitions};

use crate::support::{LIMIT, api, flags_of, stub, until, worker};

#[test]
fn workers_of_one_process_share_a_memory_store() {
    let (stub, store) = (stub(5), MemoryStore::new());
    let start = || {
        worker(&stub)
            .flag_definition_cache_provider(store.provider())
            .start()
            .unwrap()
    };
    let (first, second) = (start(), start());
    for flags in [&first, &second] {
        flags.wait_ready(LIMIT).unwrap();
        assert_eq!(
            (flags_of(flags), flags.status().state),
            (Some(5), PollerState::Ready)
        );
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
    let change = changes.next_within(LIMIT).unwrap();
    assert_eq!(
        (change.new.map(|set| set.len()), change.diff.added.len()),
        (Some(6), 1)
    );

    leader.shutdown().unwrap();
    until("the follower leads", || {
        follower.status().role == Role::Leader
    });
    follower.shutdown().unwrap();
    assert_eq!(stub.stats().ok, 2, "each set was fetched once");
    assert_eq!(
        flags_of(&leader),
        Some(6),
        "what was loaded can be read after the end"
    );
}

#[test]
fn a_file_outlives_the_worker_that_wrote_it() {
    let (stub, folder) = (stub(5), tempfile::tempdir().unwrap());
    let store = || {
        FileStore::builder(folder.path(), "checkout")
            .build()
            .unwrap()
            .provider()
    };
    let first = worker(&stub)
        .flag_definition_cache_provider(store())
        .start()
        .unwrap();
    first.wait_ready(LIMIT).unwrap();
    first.shutdown().unwrap();

    let before = stub.stats();
    let second = worker(&stub)
        .flag_definition_cache_provider(store())
        .start()
        .unwrap();
    second.wait_ready(LIMIT).unwrap();
    until("a request is answered", || {
        stub.stats().not_modified > before.not_modified
    });
    second.shutdown().unwrap();
    assert_eq!(
        stub.stats().ok,
        before.ok,
        "its first request was conditional"
    );
}

#[test]
fn a_worker_without_a_cache_polls_by_itself() {
    let stub = stub(3);
    stub.next(ApiReply::status(503));
    let flags = worker(&stub).start().unwrap();
    flags.wait_ready(LIMIT).unwrap();
    assert_eq!(flags_of(&flags), Some(3));
    flags.shutdown().unwrap();
}

#[test]
fn a_job_writes_and_a_reader_follows() {
    let (stub, folder) = (stub(5), tempfile::tempdir().unwrap());
    let store = || {
        FileStore::builder(folder.path(), "checkout")
            .build()
            .unwrap()
            .provider()
    };
    let job = || {
        let refreshed = refresh_once(api(&stub), store()).unwrap();
        (refreshed.outcome, refreshed.units_spent)
    };
    assert_eq!(job(), (RefreshOutcome::Published, 10));
    let reader = FlagDefinitionPoller::builder()
        .flag_definition_cache_provider(ReadOnly(store()))
        .start()
        .unwrap();
    reader.wait_ready(LIMIT).unwrap();
    let mut changes = reader.subscribe();
    assert_eq!(job(), (RefreshOutcome::Unchanged, 1));
    stub.set_definitions(Definitions::realistic(6, 1));
    assert_eq!(job(), (RefreshOutcome::Published, 10));
    assert_eq!(
        changes.next_within(LIMIT).unwrap().new.map(|set| set.len()),
        Some(6)
    );
    reader.shutdown().unwrap();
    assert_eq!(stub.stats().requests, 3, "the reader sends none");
}

/// A large set is read on the runtime's helper threads.
#[test]
fn large_definitions_are_loaded_too() {
    let stub = stub(3_000);
    let flags = worker(&stub)
        .poll_interval(Duration::from_secs(60))
        .start()
        .unwrap();
    flags.wait_ready(LIMIT).unwrap();
    stub.set_definitions(Definitions::realistic(3_001, 1));
    flags.refresh().unwrap();
    assert_eq!(flags_of(&flags), Some(3_001));
    flags.shutdown().unwrap();
}
