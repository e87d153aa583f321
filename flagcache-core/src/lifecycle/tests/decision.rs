//! B1: the decision and the load.

use std::time::Duration;

use super::harness::*;
use crate::lifecycle::{Event, Role};
use crate::{FetchErrorKind, FlagDefinitionCacheData, FleetStatus, ReadFailure};

#[test]
fn b1_01_the_decision_is_asked_once_before_any_http() {
    let a = set("a", "1");
    let mut harness = Harness::leader(policy(), &a);
    assert_eq!(harness.wait(), [Expected::Decide]);
    assert_eq!(harness.refresh(), [], "joins the load that runs");
    assert_eq!(harness.decided(true), [get("1")]);
    assert_eq!(harness.decided(true), [], "an answer that no one waits for");
}

#[test]
fn b1_02_true_and_warm_gets_without_a_read_and_installs_before_it_publishes() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut harness = Harness::leader(policy(), &a);
    assert_eq!(harness.wait(), [Expected::Decide]);
    assert_eq!(harness.decided(true), [get("1")]);
    assert_eq!(
        harness.fetched(&b),
        [from_api(&b), Expected::Publish(b.clone())]
    );
    assert_eq!(harness.published(), [Expected::LoadEnded]);
    assert_eq!(harness.machine.role(), Role::Leader);
}

#[test]
fn b1_03_false_and_hit_uses_no_http() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut harness = Harness::follower(policy(), &a);
    assert_eq!(harness.wait(), [Expected::Decide]);
    assert_eq!(harness.decided(false), [Expected::Read]);
    assert_eq!(
        harness.read(Some(&b)),
        [from_cache(&b), Expected::LoadEnded]
    );
    assert_eq!(harness.machine.role(), Role::Follower);
}

#[test]
fn b1_04_a_cold_leader_takes_memory_and_etag_from_the_stored_copy() {
    let a = set("a", "1");
    let mut harness = Harness::new(policy());
    assert_eq!(harness.wait(), [Expected::Decide]);
    assert_eq!(harness.decided(true), [Expected::Stored]);
    assert_eq!(harness.stored(Some(&a)), [from_cache(&a), get("1")]);
    assert!(harness.machine.confirmation().1, "not confirmed yet");
    assert_eq!(harness.not_modified(), [UNCHANGED]);
    assert!(!harness.machine.confirmation().1);
}

#[test]
fn b1_04_a_failed_decision_asks_for_the_stored_copy_too() {
    let mut harness = Harness::new(policy());
    harness.wait();
    assert_eq!(harness.decision_failed(), [Expected::Stored]);
    assert_eq!(harness.stored(None), [GET]);
}

#[test]
fn b1_05_cold_and_the_get_failed_reads_once_and_marks_what_it_finds() {
    let a = set("a", "1");
    for decision in [Some(true), None] {
        let mut harness = Harness::new(policy());
        harness.wait();
        let asked = match decision {
            Some(answer) => harness.decided(answer),
            None => harness.decision_failed(),
        };
        assert_eq!(asked, [Expected::Stored]);
        assert_eq!(harness.stored(None), [GET]);
        assert_eq!(
            harness.fetch_failed(FetchErrorKind::Server),
            [Expected::Read]
        );
        let answer = harness.read(Some(&a));
        assert_eq!(answer[0], from_cache(&a));
        assert_eq!(
            answer[1],
            if decision.is_some() {
                reported(FetchErrorKind::Server)
            } else {
                Expected::LoadEnded
            }
        );
        assert!(harness.machine.confirmation().1, "marked as unconfirmed");
    }
}

#[test]
fn b1_06_a_cold_follower_waits_for_the_leader_before_it_fetches() {
    let mut harness = Harness::new(policy());
    let begun = harness.now;
    harness.wait();
    let mut short_loads = 0;
    while harness.decided(false) == [Expected::Read] {
        short_loads += 1;
        assert_eq!(harness.read(None), [], "no GET while it waits");
        let pause = harness.wait_time();
        if harness.now - begun < Duration::from_secs(5) {
            assert!(pause >= MS * 200 && pause <= MS * 400, "{pause:?}");
        }
        if harness.wait() == [Expected::Read] {
            break;
        }
    }
    let waited = harness.now - begun;
    assert!(short_loads >= 12, "{short_loads}");
    assert!(
        waited >= Duration::from_secs(5) && waited <= Duration::from_millis(6400),
        "{waited:?}"
    );
    assert_eq!(
        harness.read(None),
        [GET],
        "after one more read, one direct GET"
    );
}

#[test]
fn b1_06_a_notification_ends_the_pause_and_zero_turns_the_wait_off() {
    let a = set("a", "1");
    let mut harness = Harness::new(policy());
    harness.wait();
    harness.decided(false);
    assert_eq!(harness.read(None), []);
    harness.pass(MS);
    assert_eq!(
        harness.notification(),
        [],
        "the store has only just answered"
    );
    assert_eq!(harness.wait_time(), MS * 19);
    assert_eq!(harness.wait(), [Expected::Decide]);
    assert_eq!(harness.decided(false), [Expected::Read]);
    assert_eq!(harness.read(None), []);
    harness.pass(MS * 30);
    assert_eq!(harness.notification(), [Expected::Decide]);
    assert_eq!(harness.decided(false), [Expected::Read]);
    assert_eq!(
        harness.read(Some(&a)),
        [from_cache(&a), Expected::LoadEnded]
    );

    let mut harness = Harness::new(crate::lifecycle::Policy {
        cold_start_wait: Duration::ZERO,
        ..policy()
    });
    harness.wait();
    harness.decided(false);
    assert_eq!(harness.read(None), [GET]);
}

#[test]
fn b1_06_a_notification_while_the_store_is_read_shortens_the_pause_to_the_distance_of_notifications()
 {
    let mut harness = Harness::new(policy());
    harness.wait();
    harness.decided(false);
    harness.pass(MS * 500);
    assert_eq!(harness.notification(), []);
    assert_eq!(harness.read(None), []);
    assert_eq!(harness.wait_time(), MS * 20);
}

#[test]
fn b1_07_a_direct_get_is_published_only_if_one_more_read_finds_nothing() {
    let a = set("a", "1");
    for (found, published) in [(None, true), (Some(&a), false)] {
        let mut harness = Harness::new(crate::lifecycle::Policy {
            cold_start_wait: Duration::ZERO,
            ..policy()
        });
        harness.wait();
        harness.decided(false);
        assert_eq!(harness.read(None), [GET]);
        assert_eq!(harness.fetched(&a), [from_api(&a), Expected::Read]);
        let expected = if published {
            Expected::Publish(a.clone())
        } else {
            Expected::LoadEnded
        };
        assert_eq!(harness.read(found), [expected]);
    }
    let mut harness = Harness::new(crate::lifecycle::Policy {
        cold_start_wait: Duration::ZERO,
        ..policy()
    });
    harness.wait();
    harness.decided(false);
    harness.read(None);
    harness.fetched(&a);
    assert_eq!(
        harness.read_failed(),
        [Expected::LoadEnded],
        "a failed read shows nothing"
    );
}

#[test]
fn b1_08_false_and_empty_and_warm_keeps_memory() {
    let mut harness = Harness::follower(policy(), &set("a", "1"));
    harness.wait();
    harness.decided(false);
    assert_eq!(harness.read(None), [Expected::LoadEnded]);
}

#[test]
fn b1_09_a_failed_read_fetches_at_once_when_cold() {
    // `Keep` applies only to workers with definitions.
    for read_failure in [ReadFailure::Fetch, ReadFailure::Keep] {
        let mut harness = Harness::new(crate::lifecycle::Policy {
            read_failure,
            ..policy()
        });
        harness.wait();
        harness.decided(false);
        assert_eq!(harness.read_failed(), [GET]);
    }
}

#[test]
fn b1_09_a_slow_store_is_hedged_and_a_late_true_adopts_the_get() {
    let a = set("a", "1");
    let mut harness = Harness::new(policy());
    assert_eq!(harness.wait(), [Expected::Decide]);
    assert_eq!(harness.wait_time(), Duration::from_secs(1));
    assert_eq!(harness.wait(), [GET]);
    assert_eq!(
        harness.fetched(&a),
        [from_api(&a)],
        "the worker has its flags"
    );
    assert_eq!(harness.decided(true), [Expected::Publish(a.clone())]);
    assert_eq!(harness.published(), [Expected::LoadEnded]);

    let mut harness = Harness::new(policy());
    harness.wait();
    assert_eq!(harness.wait(), [GET]);
    assert_eq!(harness.decided(true), [], "adopts the GET under way");
    assert_eq!(
        harness.fetched(&a),
        [from_api(&a), Expected::Publish(a.clone())]
    );
}

#[test]
fn b1_09_a_read_that_comes_back_cancels_the_hedge() {
    let a = set("a", "1");
    let mut harness = Harness::new(policy());
    harness.wait();
    harness.decided(false);
    assert_eq!(harness.wait(), [GET]);
    assert_eq!(
        harness.read(Some(&a)),
        [from_cache(&a), Expected::CancelGet, Expected::LoadEnded]
    );
    assert_eq!(
        harness.fetched(&set("b", "2")),
        [],
        "a cancelled result is ignored"
    );
}

#[test]
fn b1_09_the_result_of_a_hedge_is_not_replaced_by_a_slower_read_and_fills_an_empty_store() {
    let (old, new) = (set("a", "1"), set("b", "2"));
    for (found, then) in [
        (Some(&old), Expected::LoadEnded),
        (None, Expected::Publish(new.clone())),
    ] {
        let mut harness = Harness::new(policy());
        harness.wait();
        harness.decided(false);
        assert_eq!(harness.wait(), [GET]);
        assert_eq!(harness.fetched(&new), [from_api(&new)]);
        assert_eq!(
            harness.read(found),
            [then],
            "the read itself has shown what the store holds"
        );
    }
}

#[test]
fn b1_09_a_read_that_finds_a_stale_copy_waits_for_the_hedge() {
    let (old, new) = (set("a", "1"), set("b", "2"));
    let mut harness = Harness::new(policy());
    harness.wait();
    harness.report(FleetStatus::new().confirmed_ago(INTERVAL * 10));
    harness.decided(false);
    assert_eq!(harness.wait(), [GET]);
    assert_eq!(
        harness.read(Some(&old)),
        [from_cache(&old)],
        "served meanwhile"
    );
    assert_eq!(harness.fetched(&new), [from_api(&new), Expected::Read]);
}

#[test]
fn b1_09_the_result_of_a_hedge_in_a_notified_load_is_published() {
    let a = set("a", "1");
    let mut harness = Harness::new(policy());
    harness.wait();
    harness.decided(true);
    harness.stored(None);
    assert_eq!(
        harness.fetch_failed(FetchErrorKind::Server),
        [Expected::Read]
    );
    harness.read(None);
    harness.handle(DONE);
    harness.pass(MS * 100);
    assert_eq!(harness.notification(), [Expected::Decide]);
    assert_eq!(harness.wait(), [GET]);
    assert_eq!(harness.fetched(&a), [from_api(&a)]);
    assert_eq!(harness.decided(true), [Expected::Publish(a.clone())]);
}

#[test]
fn b1_10_an_outage_fetches_once_and_then_at_the_fail_open_interval() {
    for fail_decision in [true, false] {
        let a = set("a", "1");
        let mut harness = Harness::follower(policy(), &a);
        let fail = |harness: &mut Harness| {
            harness.wait();
            if fail_decision {
                return harness.decision_failed();
            }
            harness.decided(false);
            harness.read_failed()
        };
        let began = harness.now;
        while fail(&mut harness) == [Expected::LoadEnded] {}
        let first = harness.now;
        assert!(
            first - began <= INTERVAL.mul_f64(1.1) + INTERVAL,
            "within one interval of the first failure"
        );
        assert_eq!(harness.not_modified(), [Expected::LoadEnded]);
        let mut kept = 0;
        let second = loop {
            let answer = fail(&mut harness);
            if answer != [Expected::LoadEnded] {
                assert_eq!(answer, [get("1")]);
                break harness.now;
            }
            kept += 1;
        };
        assert!(second - first >= INTERVAL * 4, "{:?}", second - first);
        assert!(kept >= 3);
    }
}

#[test]
fn b1_10_the_first_requests_of_an_outage_are_spread_over_an_interval_except_refreshes() {
    let a = set("a", "1");
    let mut delays = Vec::new();
    for seed in 0..50 {
        let mut harness = Harness::follower(policy(), &a);
        harness.machine.rng = fastrand::Rng::with_seed(seed);
        harness.wait();
        let began = harness.now;
        let mut answer = harness.decision_failed();
        while answer == [Expected::LoadEnded] {
            harness.wait();
            answer = harness.decision_failed();
        }
        assert_eq!(answer, [get("1")]);
        delays.push(harness.now - began);
    }
    assert!(delays.iter().all(|delay| *delay <= INTERVAL), "{delays:?}");
    for quarter in 0..4 {
        let range = INTERVAL / 4 * quarter..INTERVAL / 4 * (quarter + 1);
        let n = delays.iter().filter(|delay| range.contains(delay)).count();
        assert!((4..=25).contains(&n), "{n} of 50 in {range:?}");
    }
    for policy in [
        policy(),
        crate::lifecycle::Policy {
            manual: true,
            ..policy()
        },
    ] {
        let mut harness = Harness::new(policy);
        harness.refresh();
        harness.decided(false);
        harness.read(Some(&a));
        assert_eq!(harness.refresh(), [Expected::Decide]);
        assert_eq!(harness.decision_failed(), [get("1")]);
    }
}

#[test]
fn b1_10_a_damaged_copy_is_left_to_the_leader_for_two_ticks() {
    let a = set("a", "1");
    let mut harness = Harness::follower(policy(), &a);
    let tick = |harness: &mut Harness| {
        harness.wait();
        harness.decided(false);
        harness.damaged()
    };
    harness.pass(MS * 100);
    for _ in 0..5 {
        harness.pass(MS * 100);
        harness.notification();
        harness.decided(false);
        assert_eq!(
            harness.damaged(),
            [Expected::LoadEnded],
            "a notification is no tick"
        );
    }
    for _ in 0..2 {
        assert_eq!(tick(&mut harness), [Expected::LoadEnded]);
    }
    assert_eq!(tick(&mut harness), [get("1")]);
    harness.not_modified();
    assert_eq!(
        tick(&mut harness),
        [Expected::LoadEnded],
        "and then under the fail-open limit"
    );
    // Repaired and damaged again: the leader gets two ticks again.
    harness.wait();
    harness.decided(false);
    harness.read(Some(&a));
    harness.pass(INTERVAL * 5);
    assert_eq!(tick(&mut harness), [Expected::LoadEnded]);

    let mut cold = Harness::new(policy());
    cold.wait();
    cold.decided(false);
    assert_eq!(cold.damaged(), [GET], "a cold worker does not wait");
}

#[test]
fn b1_10_a_notification_causes_no_fetch_and_keep_disables_the_get() {
    let a = set("a", "1");
    let mut harness = Harness::follower(policy(), &a);
    harness.pass(MS * 100);
    assert_eq!(harness.notification(), [Expected::Decide]);
    assert_eq!(harness.decision_failed(), [Expected::LoadEnded]);

    let mut harness = Harness::follower(
        crate::lifecycle::Policy {
            read_failure: ReadFailure::Keep,
            ..policy()
        },
        &a,
    );
    harness.wait();
    assert_eq!(harness.decision_failed(), [Expected::LoadEnded]);
}

#[test]
fn b1_10_notifications_do_not_delay_the_tick_that_may_fetch() {
    let a = set("a", "1");
    let troubles: [fn(&mut Harness, &FlagDefinitionCacheData) -> Vec<Expected>; 3] = [
        |harness, _| harness.decision_failed(),
        |harness, _| {
            harness.decided(false);
            harness.read_failed()
        },
        |harness, a| {
            harness.report(FleetStatus::new().confirmed_ago(INTERVAL / 5));
            harness.decided(false);
            harness.read(Some(a))
        },
    ];
    for trouble in troubles {
        let policy = crate::lifecycle::Policy {
            max_staleness: INTERVAL / 10,
            ..policy()
        };
        let mut harness = Harness::follower(policy, &a);
        let due = harness.wait_time();
        harness.pass(INTERVAL / 5);
        assert_eq!(harness.notification(), [Expected::Decide]);
        assert_eq!(trouble(&mut harness, &a), [Expected::LoadEnded]);
        assert_eq!(harness.wait_time(), due - INTERVAL / 5);
    }
}

#[test]
fn b1_11_a_worker_without_a_key_never_fetches() {
    let a = set("a", "1");
    let mut harness = Harness::new(crate::lifecycle::Policy {
        can_fetch: false,
        ..policy()
    });
    assert_eq!(harness.wait(), [Expected::Read]);
    assert_eq!(
        harness.read(Some(&a)),
        [from_cache(&a), Expected::LoadEnded]
    );
    assert_eq!(harness.refresh(), [Expected::Read]);
    assert_eq!(harness.read_failed(), [Expected::LoadEnded]);
    assert_eq!(harness.wait(), [Expected::Read]);
    assert_eq!(harness.read(None), [Expected::LoadEnded]);
    assert_eq!(harness.machine.role(), Role::Reader);
    assert_eq!(harness.handle(Event::Stop), [Expected::Shutdown]);
}

#[test]
fn b1_11_without_a_key_and_without_a_copy_it_ends_the_wait_without_a_get() {
    let mut harness = Harness::new(crate::lifecycle::Policy {
        can_fetch: false,
        ..policy()
    });
    let begun = harness.now;
    assert_eq!(harness.wait(), [Expected::Read]);
    while harness.read(None).is_empty() {
        assert_eq!(harness.wait(), [Expected::Read]);
    }
    assert!(harness.now - begun < Duration::from_secs(7));
}

#[test]
fn b1_13_without_a_provider_it_polls() {
    let a = set("a", "1");
    let mut harness = Harness::new(crate::lifecycle::Policy {
        has_provider: false,
        ..policy()
    });
    assert_eq!(harness.wait(), [GET]);
    assert_eq!(harness.fetched(&a), [from_api(&a), Expected::LoadEnded]);
    assert_eq!(harness.wait(), [get("1")]);
    assert_eq!(harness.not_modified(), [Expected::LoadEnded]);
    assert_eq!(harness.handle(Event::Stop), [Expected::Ended]);
}

#[test]
fn b1_14_a_refresh_that_joins_a_notified_load_is_served() {
    let a = set("a", "1");
    let mut harness = Harness::leader(policy(), &a);
    harness.pass(MS * 100);
    assert_eq!(harness.notification(), [Expected::Decide]);
    assert_eq!(harness.refresh(), [], "it joins");
    assert_eq!(
        harness.decided(true),
        [get("1")],
        "a caller waits for the API"
    );
}

#[test]
fn b1_15_the_next_tick_comes_a_jittered_interval_after_the_end() {
    let a = set("a", "1");
    let mut harness = Harness::leader(policy(), &a);
    let mut waits = Vec::new();
    for _ in 0..20 {
        waits.push(harness.wait_time());
        harness.wait();
        assert_eq!(harness.decided(true), [get("1")]);
        // Slow, and then suspended for a day: no burst follows.
        harness.pass(Duration::from_secs(86_400));
        assert_eq!(harness.not_modified(), [UNCHANGED]);
        assert_eq!(harness.handle(DONE), [Expected::LoadEnded]);
    }
    assert!(
        waits
            .iter()
            .all(|wait| *wait >= INTERVAL.mul_f64(0.9) && *wait <= INTERVAL.mul_f64(1.1)),
        "{waits:?}"
    );
    assert!(waits.iter().max() > waits.iter().min());
}

#[test]
fn b1_16_manual_mode_loads_on_demand_only() {
    let a = set("a", "1");
    let mut harness = Harness::new(crate::lifecycle::Policy {
        manual: true,
        ..policy()
    });
    assert_eq!(harness.machine.deadline(), None);
    assert_eq!(harness.notification(), []);
    assert_eq!(harness.refresh(), [Expected::Decide]);
    assert_eq!(harness.decided(false), [Expected::Read]);
    assert_eq!(
        harness.read(Some(&a)),
        [from_cache(&a), Expected::LoadEnded]
    );
    assert_eq!(harness.machine.deadline(), None);
}
