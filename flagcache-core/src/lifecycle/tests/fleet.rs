//! B8.60 to B8.63 and B8.66, as far as the poller implements them.

use std::time::Duration;

use super::harness::*;
use crate::lifecycle::{Event, Policy, Role};
use crate::{FetchErrorKind, FleetStatus, OnUnauthorized};

#[test]
fn b8_60_a_follower_asks_again_when_the_lease_it_saw_ends() {
    let a = set("a", "1");
    let mut harness = Harness::follower(policy(), &a);
    harness.wait();
    harness.report(FleetStatus::new().lease_ends_in(Duration::from_secs(8)));
    harness.decided(false);
    assert_eq!(harness.read(Some(&a)), [Expected::LoadEnded]);
    let wait = harness.wait_time();
    assert!(
        wait >= Duration::from_secs(8) && wait <= Duration::from_millis(8200),
        "{wait:?}"
    );
    assert_eq!(harness.wait(), [Expected::Decide]);
    assert_eq!(
        harness.decided(true),
        [get("1")],
        "newly leading, it asks the API at once"
    );
}

#[test]
fn b8_60_a_follower_waits_again_for_a_renewed_lease() {
    let a = set("a", "1");
    let eight = || FleetStatus::new().lease_ends_in(Duration::from_secs(8));
    let mut harness = Harness::follower(policy(), &a);
    for _ in 0..3 {
        assert_eq!(harness.wait(), [Expected::Decide]);
        harness.report(eight());
        harness.decided(false);
        assert_eq!(harness.read(Some(&a)), [Expected::LoadEnded]);
        let wait = harness.wait_time();
        assert!(
            wait >= Duration::from_secs(8) && wait <= Duration::from_millis(8200),
            "{wait:?}"
        );
    }
    // The lease ended during a tick: load at once, because the worker has not asked again yet.
    harness.wait();
    harness.report(FleetStatus::new().lease_ends_in(INTERVAL * 9));
    harness.decided(false);
    harness.read(Some(&a));
    harness.wait();
    harness.report(FleetStatus::new().lease_ends_in(MS * 10));
    harness.decided(false);
    harness.pass(MS * 20);
    harness.read(Some(&a));
    assert!(harness.wait_time() <= MS * 200, "{:?}", harness.wait_time());
}

#[test]
fn b8_60_only_a_follower_waits_for_the_end_of_a_lease() {
    let a = set("a", "1");
    let mut harness = Harness::leader(policy(), &a);
    harness.wait();
    harness.report(FleetStatus::new().lease_ends_in(Duration::from_secs(8)));
    harness.decided(true);
    harness.not_modified();
    assert_eq!(harness.handle(DONE), [Expected::LoadEnded]);
    assert!(
        harness.wait_time() >= INTERVAL.mul_f64(0.9),
        "{:?}",
        harness.wait_time()
    );
}

#[test]
fn b8_60_an_expired_lease_without_a_new_leader_is_attempted_once_between_ticks() {
    let a = set("a", "1");
    let eight = FleetStatus::new().lease_ends_in(Duration::from_secs(8));
    // The store reports no lease any more, or one that has ended.
    for later in [None, Some(FleetStatus::new().lease_ends_in(Duration::ZERO))] {
        let mut harness = Harness::follower(policy(), &a);
        harness.wait();
        harness.report(eight);
        harness.decided(false);
        harness.read(Some(&a));
        assert_eq!(harness.wait(), [Expected::Decide]);
        if let Some(report) = later {
            harness.report(report);
        }
        harness.decided(false);
        assert_eq!(harness.read(Some(&a)), [Expected::LoadEnded]);
        assert!(
            harness.wait_time() > INTERVAL / 2,
            "{:?}",
            harness.wait_time()
        );
    }
}

#[test]
fn b8_60_a_notification_makes_a_new_leader_fetch_but_not_an_existing_one() {
    let a = set("a", "1");
    let mut harness = Harness::follower(policy(), &a);
    harness.pass(MS * 100);
    assert_eq!(harness.notification(), [Expected::Decide]);
    assert_eq!(harness.decided(true), [get("1")]);
    assert_eq!(harness.not_modified(), [UNCHANGED]);
    assert_eq!(harness.handle(DONE), [Expected::LoadEnded]);

    harness.pass(MS * 100);
    assert_eq!(harness.notification(), [Expected::Decide]);
    assert_eq!(harness.decided(true), [Expected::LoadEnded]);
    // Not even after the store failed in between: it is still the leader.
    harness.pass(MS * 100);
    harness.notification();
    assert_eq!(harness.decision_failed(), [Expected::LoadEnded]);
    harness.pass(MS * 100);
    harness.notification();
    assert_eq!(harness.decided(true), [Expected::LoadEnded]);
}

#[test]
fn b8_63_a_notification_does_not_delay_the_tick_in_which_a_leader_restores_the_copy() {
    let a = set("a", "1");
    let mut harness = Harness::leader(policy(), &a);
    let due = harness.wait_time();
    for _ in 0..3 {
        harness.pass(INTERVAL / 5);
        assert_eq!(harness.notification(), [Expected::Decide]);
        assert_eq!(harness.decided(true), [Expected::LoadEnded]);
    }
    assert_eq!(harness.wait_time(), due - INTERVAL / 5 * 3);
    assert_eq!(harness.wait(), [Expected::Decide]);
    assert_eq!(harness.decided(true), [get("1")]);
}

#[test]
fn notifications_keep_a_distance_and_one_during_a_load_is_not_lost() {
    let a = set("a", "1");
    let mut harness = Harness::follower(policy(), &a);
    assert_eq!(
        harness.notification(),
        [],
        "the last load has only just ended"
    );
    assert_eq!(harness.wait_time(), MS * 20);
    assert_eq!(harness.wait(), [Expected::Decide]);
    assert_eq!(harness.notification(), []);
    harness.decided(false);
    assert_eq!(harness.read(Some(&a)), [Expected::LoadEnded]);
    assert_eq!(harness.wait_time(), MS * 20);
    assert_eq!(harness.wait(), [Expected::Decide]);
    harness.decided(false);
    harness.read(Some(&a));
    assert!(
        harness.wait_time() > Duration::from_secs(20),
        "one notification, one load"
    );
}

#[test]
fn jitter_delays_each_notification_once_and_never_those_of_a_cold_worker() {
    let spread = Duration::from_secs(2);
    let policy = Policy {
        notification_jitter: spread,
        ..policy()
    };
    let a = set("a", "1");
    let mut harness = Harness::follower(policy.clone(), &a);
    harness.pass(MS * 100);
    assert_eq!(harness.notification(), []);
    let until = harness.wait_time();
    assert!(until > MS * 20 && until < spread, "{until:?}");
    harness.pass(MS * 10);
    assert_eq!(harness.notification(), [], "already pending");
    assert_eq!(
        harness.wait_time(),
        until - MS * 10,
        "a second notification does not postpone the first"
    );
    assert_eq!(harness.wait(), [Expected::Decide]);
    harness.decided(false);
    harness.read(Some(&a));
    assert!(
        harness.wait_time() > Duration::from_secs(20),
        "one load for both"
    );

    let mut cold = Harness::new(Policy {
        cold_start_wait: Duration::ZERO,
        ..policy.clone()
    });
    assert_eq!(cold.wait(), [Expected::Decide]);
    cold.decided(false);
    assert_eq!(cold.read(None), [GET]);
    assert_eq!(cold.fetch_failed(FetchErrorKind::Connect), [Expected::Read]);
    assert_eq!(cold.read(None), [Expected::LoadEnded]);
    cold.pass(MS * 20);
    assert_eq!(cold.notification(), [Expected::Decide]);

    // Received while warm, during the load that cleared its definitions.
    let mut cleared = Harness::leader(
        Policy {
            on_unauthorized: OnUnauthorized::Clear,
            ..policy
        },
        &a,
    );
    assert_eq!(cleared.wait(), [Expected::Decide]);
    assert_eq!(cleared.decided(true), [get("1")]);
    assert_eq!(cleared.notification(), []);
    cleared.fetch_failed(FetchErrorKind::Unauthorized);
    assert_eq!(cleared.handle(DONE), [Expected::LoadEnded]);
    assert_eq!(cleared.wait_time(), MS * 20);
}

#[test]
fn b8_61_a_leader_that_cannot_fetch_steps_down() {
    let a = set("a", "1");
    let steps_down = |failure| Expected::Report {
        failure: Some(failure),
        has_data: true,
        steps_down: true,
    };
    let mut harness = Harness::leader(policy(), &a);
    harness.wait();
    harness.decided(true);
    assert_eq!(
        harness.fetch_failed(FetchErrorKind::Unauthorized),
        [steps_down(FetchErrorKind::Unauthorized)]
    );
    assert_eq!(harness.machine.role(), Role::Follower);

    let mut harness = Harness::leader(policy(), &a);
    harness.wait();
    harness.decided(true);
    assert_eq!(
        harness.fetch_failed(FetchErrorKind::Connect),
        [reported(FetchErrorKind::Connect)],
        "the first time it stays"
    );
    harness.handle(DONE);
    harness.wait();
    harness.decided(true);
    assert_eq!(
        harness.fetch_failed(FetchErrorKind::Connect),
        [steps_down(FetchErrorKind::Connect)]
    );

    let mut harness = Harness::leader(policy(), &a);
    harness.wait();
    harness.decided(true);
    assert_eq!(
        harness.fetch_failed(FetchErrorKind::Server),
        [reported(FetchErrorKind::Server)]
    );
    harness.handle(DONE);
    harness.wait();
    harness.decided(true);
    assert_eq!(
        harness.fetch_failed(FetchErrorKind::Connect),
        [reported(FetchErrorKind::Connect)],
        "the first failure of its kind"
    );

    for failure in [
        FetchErrorKind::QuotaLimited,
        FetchErrorKind::RateLimited,
        FetchErrorKind::Server,
    ] {
        let mut harness = Harness::leader(policy(), &a);
        harness.wait();
        harness.decided(true);
        assert_eq!(
            harness.fetch_failed(failure),
            [reported(failure)],
            "another leader would only repeat it"
        );
    }
}

#[test]
fn b8_62_a_copy_unconfirmed_for_too_long_is_fetched_at_the_fail_open_interval() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let old = || FleetStatus::new().confirmed_ago(INTERVAL * 10);
    let mut harness = Harness::follower(policy(), &a);
    let mut gets = Vec::new();
    while gets.len() < 3 {
        // No notifications here: the next load is a tick.
        harness.wait();
        harness.pass(INTERVAL * 2);
        harness.report(old());
        assert_eq!(harness.decided(false), [Expected::Read]);
        if harness.read(Some(&a)) != [Expected::LoadEnded] {
            gets.push(harness.now);
            let answer = if gets.len() == 1 {
                harness.fetched(&b)
            } else {
                harness.not_modified()
            };
            if gets.len() == 1 {
                assert_eq!(answer, [from_api(&b), Expected::Read]);
                assert_eq!(
                    harness.read(Some(&a)),
                    [Expected::LoadEnded],
                    "the store is not empty: nothing is published"
                );
            }
        }
    }
    assert!(
        gets.windows(2)
            .all(|pair| pair[1] - pair[0] >= INTERVAL * 4),
        "{gets:?}"
    );
}

#[test]
fn b8_62_what_a_follower_fetched_is_not_replaced_by_the_older_copy() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut harness = Harness::follower(policy(), &a);
    assert_eq!(harness.fetch_in_outage(), [get("1")]);
    assert_eq!(harness.fetched(&b), [from_api(&b), Expected::Read]);
    harness.read_failed();
    // The store is reachable again, with the copy from before.
    harness.wait();
    harness.report(FleetStatus::new().confirmed_ago(INTERVAL * 3));
    harness.decided(false);
    assert_eq!(
        harness.read(Some(&a)),
        [Expected::LoadEnded],
        "it is older than what memory holds"
    );
    // The leader confirms the copy after our GET: the flags were rolled back.
    harness.wait();
    harness.report(FleetStatus::new().confirmed_ago(MS));
    harness.decided(false);
    assert_eq!(
        harness.read(Some(&a)),
        [from_cache(&a), Expected::LoadEnded]
    );
}

#[test]
fn b8_62_what_a_follower_fetched_is_not_replaced_by_a_change_that_it_had_missed() {
    let (a, missed, c) = (set("a", "1"), set("b", "2"), set("c", "3"));
    let mut harness = Harness::follower(policy(), &a);
    assert_eq!(harness.fetch_in_outage(), [get("1")]);
    assert_eq!(harness.fetched(&c), [from_api(&c), Expected::Read]);
    harness.read_failed();
    // The store is reachable again. Its copy is from after the last one that this worker read, and from before its request.
    harness.wait();
    harness.report(FleetStatus::new().confirmed_ago(INTERVAL * 3));
    harness.decided(false);
    assert_eq!(harness.read(Some(&missed)), [Expected::LoadEnded]);
    // The leader gets the change too.
    harness.wait();
    harness.report(FleetStatus::new().confirmed_ago(MS));
    harness.decided(false);
    assert_eq!(
        harness.read(Some(&c)),
        [Expected::LoadEnded],
        "memory holds it already"
    );
    harness.wait();
    harness.report(FleetStatus::new().confirmed_ago(MS));
    harness.decided(false);
    assert_eq!(
        harness.read(Some(&missed)),
        [from_cache(&missed), Expected::LoadEnded],
        "rolled back"
    );
}

#[test]
fn b8_62_a_copy_that_was_confirmed_while_a_followers_own_request_ran_replaces_its_answer() {
    let (a, b, newer) = (set("a", "1"), set("b", "2"), set("c", "3"));
    let mut harness = Harness::follower(policy(), &a);
    assert_eq!(harness.fetch_in_outage(), [get("1")]);
    harness.pass(MS * 500);
    assert_eq!(harness.fetched(&b), [from_api(&b), Expected::Read]);
    harness.read_failed();
    let answered = harness.now;
    harness.wait();
    let ago = harness.now.duration_since(answered) + MS * 100;
    harness.report(FleetStatus::new().confirmed_ago(ago));
    harness.decided(false);
    assert_eq!(
        harness.read(Some(&newer)),
        [from_cache(&newer), Expected::LoadEnded]
    );
}

#[test]
fn b8_62_a_store_without_confirmations_waits_for_a_fail_open_interval() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut harness = Harness::follower(policy(), &a);
    assert_eq!(harness.fetch_in_outage(), [get("1")]);
    let fetched = harness.now;
    assert_eq!(harness.fetched(&b), [from_api(&b), Expected::Read]);
    harness.read_failed();
    let back = loop {
        harness.wait();
        harness.decided(false);
        match harness.read(Some(&a)).as_slice() {
            [Expected::LoadEnded] => assert!(
                harness.now - fetched < INTERVAL * 5,
                "it must be a roll-back by now"
            ),
            [Expected::Install(copy, _), Expected::LoadEnded] if *copy == a => break harness.now,
            other => panic!("{other:?}"),
        }
    };
    assert!(back - fetched >= INTERVAL * 4, "{:?}", back - fetched);
}

#[test]
fn b8_62_what_a_follower_fetched_twice_is_not_replaced_by_the_older_copy() {
    let (old, new, newer) = (set("a", "1"), set("b", "2"), set("c", "3"));
    let mut harness = Harness::follower(policy(), &old);
    let stuck = harness.now;
    for (fetched, sent) in [(&new, "1"), (&newer, "2")] {
        harness.pass(INTERVAL * 11);
        harness.handle(Event::Timer);
        let ago = harness.now.duration_since(stuck);
        harness.report(FleetStatus::new().confirmed_ago(ago));
        harness.decided(false);
        assert_eq!(harness.read(Some(&old)), [get(sent)]);
        assert_eq!(
            harness.fetched(fetched),
            [from_api(fetched), Expected::Read]
        );
        assert_eq!(harness.read(Some(&old)), [Expected::LoadEnded]);
        harness.wait();
        let ago = harness.now.duration_since(stuck);
        harness.report(FleetStatus::new().confirmed_ago(ago));
        harness.decided(false);
        assert_eq!(
            harness.read(Some(&old)),
            [Expected::LoadEnded],
            "the older copy came back"
        );
    }
}

#[test]
fn b8_66_foreign_empty_definitions_must_outlast_two_ticks() {
    let (a, empty) = (set("a", "1"), foreign(r#"{"flags":[]}"#));
    let mut harness = Harness::follower(policy(), &a);
    let begun = harness.now;
    loop {
        harness.wait();
        harness.decided(false);
        let answer = harness.read(Some(&empty));
        if answer == [from_cache(&empty), Expected::LoadEnded] {
            break;
        }
        assert_eq!(answer, [Expected::LoadEnded]);
        assert!(harness.now - begun < INTERVAL * 5);
    }
    assert!(harness.now - begun >= INTERVAL * 2);
    // Empty definitions from the leader are accepted at once.
    let mut harness = Harness::follower(policy(), &a);
    let empty = crate::FlagDefinitionCacheData::from_api_response(
        r#"{"flags":[]}"#,
        Some("9"),
        std::time::SystemTime::now(),
        None,
    );
    let empty = empty.unwrap();
    harness.wait();
    harness.decided(false);
    assert_eq!(
        harness.read(Some(&empty)),
        [from_cache(&empty), Expected::LoadEnded]
    );
}

#[test]
fn b8_66_different_foreign_empty_definitions_must_outlast_two_ticks_too() {
    let a = set("a", "1");
    let empty = [
        foreign(r#"{"flags":[]}"#),
        foreign(r#"{"flags":[],"cohorts":{}}"#),
    ];
    let mut harness = Harness::follower(policy(), &a);
    for load in 0..8 {
        harness.wait();
        harness.decided(false);
        assert_eq!(
            harness.read(Some(&empty[load % 2])),
            [Expected::LoadEnded],
            "load {load}"
        );
    }
}
