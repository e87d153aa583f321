//! B1: the decision and the load.

use std::time::Duration;

use super::world::*;
use crate::cycle::{Event, Role};
use crate::{FetchFailure, FlagDefinitionCacheData, ReadFailure, StoreReport};

#[test]
fn b1_01_the_decision_is_asked_once_before_any_http() {
    let a = set("a", "1");
    let mut world = World::leader(policy(), &a);
    assert_eq!(world.wait(), [Word::Decide]);
    assert_eq!(world.refresh(), [], "joins the load that runs");
    assert_eq!(world.decided(true), [get("1")]);
    assert_eq!(world.decided(true), [], "an answer that nobody waits for");
}

#[test]
fn b1_02_true_and_warm_gets_without_a_read_and_installs_before_it_publishes() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut world = World::leader(policy(), &a);
    assert_eq!(world.wait(), [Word::Decide]);
    assert_eq!(world.decided(true), [get("1")]);
    assert_eq!(world.fetched(&b), [from_api(&b), Word::Publish(b.clone())]);
    assert_eq!(world.published(), [Word::LoadEnded]);
    assert_eq!(world.cycle.role(), Role::Leader);
}

#[test]
fn b1_03_false_and_hit_uses_no_http() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut world = World::follower(policy(), &a);
    assert_eq!(world.wait(), [Word::Decide]);
    assert_eq!(world.decided(false), [Word::Read]);
    assert_eq!(world.read(Some(&b)), [from_cache(&b), Word::LoadEnded]);
    assert_eq!(world.cycle.role(), Role::Follower);
}

#[test]
fn b1_04_a_cold_leader_takes_memory_and_etag_from_the_stored_copy() {
    let a = set("a", "1");
    let mut world = World::new(policy());
    assert_eq!(world.wait(), [Word::Decide]);
    assert_eq!(world.decided(true), [Word::Stored]);
    assert_eq!(world.stored(Some(&a)), [from_cache(&a), get("1")]);
    assert!(world.cycle.confirmation().1, "nobody has confirmed it yet");
    assert_eq!(world.not_modified(), [UNCHANGED]);
    assert!(!world.cycle.confirmation().1);
}

#[test]
fn b1_04_a_failed_decision_asks_for_the_stored_copy_too() {
    let mut world = World::new(policy());
    world.wait();
    assert_eq!(world.decision_failed(), [Word::Stored]);
    assert_eq!(world.stored(None), [GET]);
}

#[test]
fn b1_05_cold_and_the_get_failed_reads_once_and_marks_what_it_finds() {
    let a = set("a", "1");
    for decision in [Some(true), None] {
        let mut world = World::new(policy());
        world.wait();
        let asked = match decision {
            Some(answer) => world.decided(answer),
            None => world.decision_failed(),
        };
        assert_eq!(asked, [Word::Stored]);
        assert_eq!(world.stored(None), [GET]);
        assert_eq!(world.fetch_failed(FetchFailure::Server), [Word::Read]);
        let answer = world.read(Some(&a));
        assert_eq!(answer[0], from_cache(&a));
        assert_eq!(answer[1], if decision.is_some() { told(FetchFailure::Server) } else { Word::LoadEnded });
        assert!(world.cycle.confirmation().1, "marked: nobody has confirmed it");
    }
}

#[test]
fn b1_06_a_cold_follower_waits_for_the_leader_before_it_fetches() {
    let mut world = World::new(policy());
    let begun = world.now;
    world.wait();
    let mut short_loads = 0;
    while world.decided(false) == [Word::Read] {
        short_loads += 1;
        assert_eq!(world.read(None), [], "no GET while it waits");
        let pause = world.wait_time();
        if world.now - begun < Duration::from_secs(5) {
            assert!(pause >= MS * 200 && pause <= MS * 400, "{pause:?}");
        }
        if world.wait() == [Word::Read] {
            break;
        }
    }
    let waited = world.now - begun;
    assert!(short_loads >= 12, "{short_loads}");
    assert!(waited >= Duration::from_secs(5) && waited <= Duration::from_millis(6400), "{waited:?}");
    assert_eq!(world.read(None), [GET], "after one more read, one direct GET");
}

#[test]
fn b1_06_a_notice_ends_the_pause_and_zero_turns_the_wait_off() {
    let a = set("a", "1");
    let mut world = World::new(policy());
    world.wait();
    world.decided(false);
    assert_eq!(world.read(None), []);
    world.pass(MS);
    assert_eq!(world.notice(), [], "the store has only just answered");
    assert_eq!(world.wait_time(), MS * 19);
    assert_eq!(world.wait(), [Word::Decide]);
    assert_eq!(world.decided(false), [Word::Read]);
    assert_eq!(world.read(None), []);
    world.pass(MS * 30);
    assert_eq!(world.notice(), [Word::Decide]);
    assert_eq!(world.decided(false), [Word::Read]);
    assert_eq!(world.read(Some(&a)), [from_cache(&a), Word::LoadEnded]);

    let mut world = World::new(crate::cycle::Policy { cold_start_wait: Duration::ZERO, ..policy() });
    world.wait();
    world.decided(false);
    assert_eq!(world.read(None), [GET]);
}

#[test]
fn b1_06_a_notice_while_the_store_is_read_shortens_the_pause_to_the_distance_of_notices() {
    let mut world = World::new(policy());
    world.wait();
    world.decided(false);
    world.pass(MS * 500);
    assert_eq!(world.notice(), []);
    assert_eq!(world.read(None), []);
    assert_eq!(world.wait_time(), MS * 20);
}

#[test]
fn b1_07_a_direct_get_is_published_only_if_one_more_read_finds_nothing() {
    let a = set("a", "1");
    for (found, published) in [(None, true), (Some(&a), false)] {
        let mut world = World::new(crate::cycle::Policy { cold_start_wait: Duration::ZERO, ..policy() });
        world.wait();
        world.decided(false);
        assert_eq!(world.read(None), [GET]);
        assert_eq!(world.fetched(&a), [from_api(&a), Word::Read]);
        let expected = if published { Word::Publish(a.clone()) } else { Word::LoadEnded };
        assert_eq!(world.read(found), [expected]);
    }
    let mut world = World::new(crate::cycle::Policy { cold_start_wait: Duration::ZERO, ..policy() });
    world.wait();
    world.decided(false);
    world.read(None);
    world.fetched(&a);
    assert_eq!(world.read_failed(), [Word::LoadEnded], "a failed read shows nothing");
}

#[test]
fn b1_08_false_and_empty_and_warm_keeps_memory() {
    let mut world = World::follower(policy(), &set("a", "1"));
    world.wait();
    world.decided(false);
    assert_eq!(world.read(None), [Word::LoadEnded]);
}

#[test]
fn b1_09_a_failed_read_fetches_at_once_when_cold() {
    // `Keep` is for a worker that has something to keep.
    for read_failure in [ReadFailure::Fetch, ReadFailure::Keep] {
        let mut world = World::new(crate::cycle::Policy { read_failure, ..policy() });
        world.wait();
        world.decided(false);
        assert_eq!(world.read_failed(), [GET]);
    }
}

#[test]
fn b1_09_a_slow_store_is_hedged_and_a_late_true_adopts_the_get() {
    let a = set("a", "1");
    let mut world = World::new(policy());
    assert_eq!(world.wait(), [Word::Decide]);
    assert_eq!(world.wait_time(), Duration::from_secs(1));
    assert_eq!(world.wait(), [GET]);
    assert_eq!(world.fetched(&a), [from_api(&a)], "the worker has its flags");
    assert_eq!(world.decided(true), [Word::Publish(a.clone())]);
    assert_eq!(world.published(), [Word::LoadEnded]);

    let mut world = World::new(policy());
    world.wait();
    assert_eq!(world.wait(), [GET]);
    assert_eq!(world.decided(true), [], "adopts the GET under way");
    assert_eq!(world.fetched(&a), [from_api(&a), Word::Publish(a.clone())]);
}

#[test]
fn b1_09_a_read_that_comes_back_cancels_the_hedge() {
    let a = set("a", "1");
    let mut world = World::new(policy());
    world.wait();
    world.decided(false);
    assert_eq!(world.wait(), [GET]);
    assert_eq!(world.read(Some(&a)), [from_cache(&a), Word::CancelGet, Word::LoadEnded]);
    assert_eq!(world.fetched(&set("b", "2")), [], "what was cut is not taken");
}

#[test]
fn b1_09_what_the_hedge_brought_is_not_replaced_by_a_slower_read_and_fills_an_empty_store() {
    let (old, new) = (set("a", "1"), set("b", "2"));
    for (found, then) in [(Some(&old), Word::LoadEnded), (None, Word::Publish(new.clone()))] {
        let mut world = World::new(policy());
        world.wait();
        world.decided(false);
        assert_eq!(world.wait(), [GET]);
        assert_eq!(world.fetched(&new), [from_api(&new)]);
        assert_eq!(world.read(found), [then], "the read itself has shown what the store holds");
    }
}

#[test]
fn b1_09_a_read_that_finds_a_stale_copy_waits_for_the_hedge() {
    let (old, new) = (set("a", "1"), set("b", "2"));
    let mut world = World::new(policy());
    world.wait();
    world.report(StoreReport::new().confirmed_ago(INTERVAL * 10));
    world.decided(false);
    assert_eq!(world.wait(), [GET]);
    assert_eq!(world.read(Some(&old)), [from_cache(&old)], "served meanwhile");
    assert_eq!(world.fetched(&new), [from_api(&new), Word::Read]);
}

#[test]
fn b1_09_what_the_hedge_of_a_noticed_load_brought_is_published() {
    let a = set("a", "1");
    let mut world = World::new(policy());
    world.wait();
    world.decided(true);
    world.stored(None);
    assert_eq!(world.fetch_failed(FetchFailure::Server), [Word::Read]);
    world.read(None);
    world.tell(Event::Told);
    world.pass(MS * 100);
    assert_eq!(world.notice(), [Word::Decide]);
    assert_eq!(world.wait(), [GET]);
    assert_eq!(world.fetched(&a), [from_api(&a)]);
    assert_eq!(world.decided(true), [Word::Publish(a.clone())]);
}

#[test]
fn b1_10_an_outage_fetches_once_and_then_at_the_fail_open_interval() {
    for fail_decision in [true, false] {
        let a = set("a", "1");
        let mut world = World::follower(policy(), &a);
        let fail = |world: &mut World| {
            world.wait();
            if fail_decision {
                return world.decision_failed();
            }
            world.decided(false);
            world.read_failed()
        };
        let began = world.now;
        while fail(&mut world) == [Word::LoadEnded] {}
        let first = world.now;
        assert!(first - began <= INTERVAL.mul_f64(1.1) + INTERVAL, "within one interval of the first failure");
        assert_eq!(world.not_modified(), [Word::LoadEnded]);
        let mut kept = 0;
        let second = loop {
            let answer = fail(&mut world);
            if answer != [Word::LoadEnded] {
                assert_eq!(answer, [get("1")]);
                break world.now;
            }
            kept += 1;
        };
        assert!(second - first >= INTERVAL * 4, "{:?}", second - first);
        assert!(kept >= 3);
    }
}

#[test]
fn b1_10_the_first_requests_of_an_outage_are_spread_over_an_interval_but_not_for_one_who_asks() {
    let a = set("a", "1");
    let mut delays = Vec::new();
    for seed in 0..50 {
        let mut world = World::follower(policy(), &a);
        world.cycle.rng = fastrand::Rng::with_seed(seed);
        world.wait();
        let began = world.now;
        let mut answer = world.decision_failed();
        while answer == [Word::LoadEnded] {
            world.wait();
            answer = world.decision_failed();
        }
        assert_eq!(answer, [get("1")]);
        delays.push(world.now - began);
    }
    assert!(delays.iter().all(|delay| *delay <= INTERVAL), "{delays:?}");
    for quarter in 0..4 {
        let range = INTERVAL / 4 * quarter..INTERVAL / 4 * (quarter + 1);
        let n = delays.iter().filter(|delay| range.contains(delay)).count();
        assert!((4..=25).contains(&n), "{n} of 50 in {range:?}");
    }
    for policy in [policy(), crate::cycle::Policy { manual: true, ..policy() }] {
        let mut world = World::new(policy);
        world.refresh();
        world.decided(false);
        world.read(Some(&a));
        assert_eq!(world.refresh(), [Word::Decide]);
        assert_eq!(world.decision_failed(), [get("1")]);
    }
}

#[test]
fn b1_10_a_damaged_copy_is_left_to_the_leader_for_two_ticks() {
    let a = set("a", "1");
    let mut world = World::follower(policy(), &a);
    let tick = |world: &mut World| {
        world.wait();
        world.decided(false);
        world.damaged()
    };
    world.pass(MS * 100);
    for _ in 0..5 {
        world.pass(MS * 100);
        world.notice();
        world.decided(false);
        assert_eq!(world.damaged(), [Word::LoadEnded], "a notification is no tick");
    }
    for _ in 0..2 {
        assert_eq!(tick(&mut world), [Word::LoadEnded]);
    }
    assert_eq!(tick(&mut world), [get("1")]);
    world.not_modified();
    assert_eq!(tick(&mut world), [Word::LoadEnded], "and then under the fail-open limit");
    // Repaired and damaged again: the leader has its two ticks again.
    world.wait();
    world.decided(false);
    world.read(Some(&a));
    world.pass(INTERVAL * 5);
    assert_eq!(tick(&mut world), [Word::LoadEnded]);

    let mut cold = World::new(policy());
    cold.wait();
    cold.decided(false);
    assert_eq!(cold.damaged(), [GET], "a cold worker waits for nothing");
}

#[test]
fn b1_10_a_notice_is_no_reason_to_fetch_and_keep_turns_the_get_off() {
    let a = set("a", "1");
    let mut world = World::follower(policy(), &a);
    world.pass(MS * 100);
    assert_eq!(world.notice(), [Word::Decide]);
    assert_eq!(world.decision_failed(), [Word::LoadEnded]);

    let mut world = World::follower(crate::cycle::Policy { read_failure: ReadFailure::Keep, ..policy() }, &a);
    world.wait();
    assert_eq!(world.decision_failed(), [Word::LoadEnded]);
}

#[test]
fn b1_10_notices_do_not_put_off_the_tick_that_may_fetch() {
    let a = set("a", "1");
    let troubles: [fn(&mut World, &FlagDefinitionCacheData) -> Vec<Word>; 3] = [
        |world, _| world.decision_failed(),
        |world, _| {
            world.decided(false);
            world.read_failed()
        },
        |world, a| {
            world.report(StoreReport::new().confirmed_ago(INTERVAL / 5));
            world.decided(false);
            world.read(Some(a))
        },
    ];
    for trouble in troubles {
        let policy = crate::cycle::Policy { max_staleness: INTERVAL / 10, ..policy() };
        let mut world = World::follower(policy, &a);
        let due = world.wait_time();
        world.pass(INTERVAL / 5);
        assert_eq!(world.notice(), [Word::Decide]);
        assert_eq!(trouble(&mut world, &a), [Word::LoadEnded]);
        assert_eq!(world.wait_time(), due - INTERVAL / 5);
    }
}

#[test]
fn b1_11_without_a_key_it_only_reads() {
    let a = set("a", "1");
    let mut world = World::new(crate::cycle::Policy { can_fetch: false, ..policy() });
    assert_eq!(world.wait(), [Word::Read]);
    assert_eq!(world.read(Some(&a)), [from_cache(&a), Word::LoadEnded]);
    assert_eq!(world.refresh(), [Word::Read]);
    assert_eq!(world.read_failed(), [Word::LoadEnded]);
    assert_eq!(world.wait(), [Word::Read]);
    assert_eq!(world.read(None), [Word::LoadEnded]);
    assert_eq!(world.cycle.role(), Role::Reader);
    assert_eq!(world.tell(Event::Stop), [Word::Shutdown]);
}

#[test]
fn b1_11_without_a_key_and_without_a_copy_it_ends_the_wait_without_a_get() {
    let mut world = World::new(crate::cycle::Policy { can_fetch: false, ..policy() });
    let begun = world.now;
    assert_eq!(world.wait(), [Word::Read]);
    while world.read(None).is_empty() {
        assert_eq!(world.wait(), [Word::Read]);
    }
    assert!(world.now - begun < Duration::from_secs(7));
}

#[test]
fn b1_13_without_a_provider_it_polls() {
    let a = set("a", "1");
    let mut world = World::new(crate::cycle::Policy { has_provider: false, ..policy() });
    assert_eq!(world.wait(), [GET]);
    assert_eq!(world.fetched(&a), [from_api(&a), Word::LoadEnded]);
    assert_eq!(world.wait(), [get("1")]);
    assert_eq!(world.not_modified(), [Word::LoadEnded]);
    assert_eq!(world.tell(Event::Stop), [Word::Ended]);
}

#[test]
fn b1_14_a_refresh_that_joins_a_noticed_load_is_served() {
    let a = set("a", "1");
    let mut world = World::leader(policy(), &a);
    world.pass(MS * 100);
    assert_eq!(world.notice(), [Word::Decide]);
    assert_eq!(world.refresh(), [], "it joins");
    assert_eq!(world.decided(true), [get("1")], "somebody waits for what the API says");
}

#[test]
fn b1_15_the_next_tick_comes_a_jittered_interval_after_the_end() {
    let a = set("a", "1");
    let mut world = World::leader(policy(), &a);
    let mut waits = Vec::new();
    for _ in 0..20 {
        waits.push(world.wait_time());
        world.wait();
        assert_eq!(world.decided(true), [get("1")]);
        // Slow, and then asleep for a day: no burst follows.
        world.pass(Duration::from_secs(86_400));
        assert_eq!(world.not_modified(), [UNCHANGED]);
        assert_eq!(world.tell(Event::Told), [Word::LoadEnded]);
    }
    assert!(waits.iter().all(|wait| *wait >= INTERVAL.mul_f64(0.9) && *wait <= INTERVAL.mul_f64(1.1)), "{waits:?}");
    assert!(waits.iter().max() > waits.iter().min());
}

#[test]
fn b1_16_manual_mode_loads_on_demand_only() {
    let a = set("a", "1");
    let mut world = World::new(crate::cycle::Policy { manual: true, ..policy() });
    assert_eq!(world.cycle.deadline(), None);
    assert_eq!(world.notice(), []);
    assert_eq!(world.refresh(), [Word::Decide]);
    assert_eq!(world.decided(false), [Word::Read]);
    assert_eq!(world.read(Some(&a)), [from_cache(&a), Word::LoadEnded]);
    assert_eq!(world.cycle.deadline(), None);
}
