//! Subscriptions.

use std::thread;
use std::time::Duration;

use flagcache::DefinitionsChange;
use flagcache::blocking::{BlockingError, DefinitionsChanges, NoChangeError};
use flagcache_providers::testing::Definitions;

use crate::support::{LIMIT, millis, stub, worker};

/// The changes until one takes longer than `timeout`.
fn within(
    changes: &mut DefinitionsChanges,
    timeout: Duration,
) -> impl Iterator<Item = DefinitionsChange> {
    std::iter::from_fn(move || changes.next_within(timeout).ok())
}

#[test]
fn changes_come_one_by_one_and_a_wait_for_more_ends_at_its_timeout() {
    let stub = stub(1);
    let flags = worker(&stub).manual().start().unwrap();
    let mut changes = flags.subscribe();
    let timeout = millis(10);
    assert_eq!(
        changes.next_within(timeout).unwrap_err(),
        BlockingError::Failed(NoChangeError::Timeout { timeout })
    );
    for count in 1..=3 {
        stub.set_definitions(Definitions::realistic(count, 1));
        flags.refresh().unwrap();
    }
    // A change that came while no call waited is kept.
    let counts: Vec<_> = within(&mut changes, Duration::ZERO)
        .map(|change| change.new.unwrap().len())
        .collect();
    assert_eq!(counts, [1, 2, 3]);
    assert!(changes.next_within(timeout).is_err());

    thread::scope(|scope| {
        let waiting = scope.spawn(|| changes.next_within(LIMIT).unwrap().version);
        stub.set_definitions(Definitions::realistic(4, 1));
        flags.refresh().unwrap();
        assert_eq!(waiting.join().unwrap(), 4);
    });
    flags.shutdown().unwrap();
}

#[test]
fn a_wait_ends_with_the_poller_long_before_its_timeout() {
    let stub = stub(1);
    let flags = worker(&stub).manual().start().unwrap();
    let mut changes = flags.subscribe();
    thread::scope(|scope| {
        let seen = scope.spawn(|| within(&mut changes, Duration::MAX).count());
        for count in 1..=3 {
            stub.set_definitions(Definitions::realistic(count, 1));
            flags.refresh().unwrap();
        }
        flags.shutdown().unwrap();
        assert_eq!(seen.join().unwrap(), 3);
    });
    assert_eq!(
        changes.next_within(LIMIT).unwrap_err(),
        BlockingError::Failed(NoChangeError::Stopped)
    );
    assert_eq!(
        flags.subscribe().next_within(LIMIT).unwrap_err(),
        BlockingError::Failed(NoChangeError::Stopped)
    );
}

#[test]
fn a_subscriber_that_falls_behind_gets_the_sum() {
    let stub = stub(1);
    let flags = worker(&stub).manual().start().unwrap();
    let mut changes = flags.subscribe();
    for count in 1..=80 {
        stub.set_definitions(Definitions::realistic(count, 1));
        flags.refresh().unwrap();
    }
    let seen: Vec<_> = within(&mut changes, Duration::ZERO).collect();
    assert!((1..80).contains(&seen.len()), "{}", seen.len());
    let (mut added, mut removed) = (0, 0);
    for change in &seen {
        added += change.diff.added.len();
        removed += change.diff.removed.len();
    }
    assert_eq!(
        (added - removed, seen[0].old.is_none()),
        (80, true),
        "no step is lost in the sum"
    );
    flags.shutdown().unwrap();
}
