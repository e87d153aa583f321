//! B8 60 to 63 and 66, as far as they are the poller's.

use std::time::Duration;

use super::world::*;
use crate::cycle::{Event, Policy, Role};
use crate::{FetchFailure, OnUnauthorized, StoreReport};

#[test]
fn b8_60_a_follower_asks_again_when_the_lease_it_saw_ends() {
    let a = set("a", "1");
    let mut world = World::follower(policy(), &a);
    world.wait();
    world.report(StoreReport::new().lease_ends_in(Duration::from_secs(8)));
    world.decided(false);
    assert_eq!(world.read(Some(&a)), [Word::LoadEnded]);
    let wait = world.wait_time();
    assert!(wait >= Duration::from_secs(8) && wait <= Duration::from_millis(8200), "{wait:?}");
    assert_eq!(world.wait(), [Word::Decide]);
    assert_eq!(world.decided(true), [get("1")], "newly leading, it asks the API at once");
}

#[test]
fn b8_60_a_lease_that_was_renewed_meanwhile_is_waited_for_anew() {
    let a = set("a", "1");
    let eight = || StoreReport::new().lease_ends_in(Duration::from_secs(8));
    let mut world = World::follower(policy(), &a);
    for _ in 0..3 {
        assert_eq!(world.wait(), [Word::Decide]);
        world.report(eight());
        world.decided(false);
        assert_eq!(world.read(Some(&a)), [Word::LoadEnded]);
        let wait = world.wait_time();
        assert!(wait >= Duration::from_secs(8) && wait <= Duration::from_millis(8200), "{wait:?}");
    }
    // It ended while a tick was under way: at once, as its end had not been asked for.
    world.wait();
    world.report(StoreReport::new().lease_ends_in(INTERVAL * 9));
    world.decided(false);
    world.read(Some(&a));
    world.wait();
    world.report(StoreReport::new().lease_ends_in(MS * 10));
    world.decided(false);
    world.pass(MS * 20);
    world.read(Some(&a));
    assert!(world.wait_time() <= MS * 200, "{:?}", world.wait_time());
}

#[test]
fn b8_60_only_a_follower_waits_for_the_end_of_a_lease() {
    let a = set("a", "1");
    let mut world = World::leader(policy(), &a);
    world.wait();
    world.report(StoreReport::new().lease_ends_in(Duration::from_secs(8)));
    world.decided(true);
    world.not_modified();
    assert_eq!(world.tell(Event::Told), [Word::LoadEnded]);
    assert!(world.wait_time() >= INTERVAL.mul_f64(0.9), "{:?}", world.wait_time());
}

#[test]
fn b8_60_a_lease_that_ended_without_a_new_leader_is_asked_for_once_between_ticks() {
    let a = set("a", "1");
    let eight = StoreReport::new().lease_ends_in(Duration::from_secs(8));
    // The store says nothing more, or that the lease has ended.
    for later in [None, Some(StoreReport::new().lease_ends_in(Duration::ZERO))] {
        let mut world = World::follower(policy(), &a);
        world.wait();
        world.report(eight);
        world.decided(false);
        world.read(Some(&a));
        assert_eq!(world.wait(), [Word::Decide]);
        if let Some(report) = later {
            world.report(report);
        }
        world.decided(false);
        assert_eq!(world.read(Some(&a)), [Word::LoadEnded]);
        assert!(world.wait_time() > INTERVAL / 2, "{:?}", world.wait_time());
    }
}

#[test]
fn b8_60_a_notice_makes_a_new_leader_fetch_but_not_a_standing_one() {
    let a = set("a", "1");
    let mut world = World::follower(policy(), &a);
    world.pass(MS * 100);
    assert_eq!(world.notice(), [Word::Decide]);
    assert_eq!(world.decided(true), [get("1")]);
    assert_eq!(world.not_modified(), [UNCHANGED]);
    assert_eq!(world.tell(Event::Told), [Word::LoadEnded]);

    world.pass(MS * 100);
    assert_eq!(world.notice(), [Word::Decide]);
    assert_eq!(world.decided(true), [Word::LoadEnded]);
    // Not even after the store failed in between: it still is the leader it was.
    world.pass(MS * 100);
    world.notice();
    assert_eq!(world.decision_failed(), [Word::LoadEnded]);
    world.pass(MS * 100);
    world.notice();
    assert_eq!(world.decided(true), [Word::LoadEnded]);
}

#[test]
fn b8_63_a_notice_does_not_put_off_the_tick_in_which_a_leader_puts_the_copy_back() {
    let a = set("a", "1");
    let mut world = World::leader(policy(), &a);
    let due = world.wait_time();
    for _ in 0..3 {
        world.pass(INTERVAL / 5);
        assert_eq!(world.notice(), [Word::Decide]);
        assert_eq!(world.decided(true), [Word::LoadEnded]);
    }
    assert_eq!(world.wait_time(), due - INTERVAL / 5 * 3);
    assert_eq!(world.wait(), [Word::Decide]);
    assert_eq!(world.decided(true), [get("1")]);
}

#[test]
fn notices_keep_a_distance_and_one_during_a_load_is_not_lost() {
    let a = set("a", "1");
    let mut world = World::follower(policy(), &a);
    assert_eq!(world.notice(), [], "the last load has only just ended");
    assert_eq!(world.wait_time(), MS * 20);
    assert_eq!(world.wait(), [Word::Decide]);
    assert_eq!(world.notice(), []);
    world.decided(false);
    assert_eq!(world.read(Some(&a)), [Word::LoadEnded]);
    assert_eq!(world.wait_time(), MS * 20);
    assert_eq!(world.wait(), [Word::Decide]);
    world.decided(false);
    world.read(Some(&a));
    assert!(world.wait_time() > Duration::from_secs(20), "one notice, one load");
}

#[test]
fn a_spread_puts_notices_off_once_each_and_never_those_of_a_cold_worker() {
    let spread = Duration::from_secs(2);
    let policy = Policy { notice_spread: spread, ..policy() };
    let a = set("a", "1");
    let mut world = World::follower(policy.clone(), &a);
    world.pass(MS * 100);
    assert_eq!(world.notice(), []);
    let until = world.wait_time();
    assert!(until > MS * 20 && until < spread, "{until:?}");
    world.pass(MS * 10);
    assert_eq!(world.notice(), [], "it is on its way");
    assert_eq!(world.wait_time(), until - MS * 10, "a second notice does not put off the first");
    assert_eq!(world.wait(), [Word::Decide]);
    world.decided(false);
    world.read(Some(&a));
    assert!(world.wait_time() > Duration::from_secs(20), "one load for both");

    let mut cold = World::new(Policy { cold_start_wait: Duration::ZERO, ..policy.clone() });
    assert_eq!(cold.wait(), [Word::Decide]);
    cold.decided(false);
    assert_eq!(cold.read(None), [GET]);
    assert_eq!(cold.fetch_failed(FetchFailure::Connect), [Word::Read]);
    assert_eq!(cold.read(None), [Word::LoadEnded]);
    cold.pass(MS * 20);
    assert_eq!(cold.notice(), [Word::Decide]);

    // Noticed while it was warm, in the load that took its definitions.
    let mut cleared = World::leader(Policy { on_unauthorized: OnUnauthorized::Clear, ..policy }, &a);
    assert_eq!(cleared.wait(), [Word::Decide]);
    assert_eq!(cleared.decided(true), [get("1")]);
    assert_eq!(cleared.notice(), []);
    cleared.fetch_failed(FetchFailure::Unauthorized);
    assert_eq!(cleared.tell(Event::Told), [Word::LoadEnded]);
    assert_eq!(cleared.wait_time(), MS * 20);
}

#[test]
fn b8_61_a_leader_that_cannot_fetch_gives_up_the_lead() {
    let a = set("a", "1");
    let gives_up = |failure| Word::Tell { failure: Some(failure), has_data: true, gives_up: true };
    let mut world = World::leader(policy(), &a);
    world.wait();
    world.decided(true);
    assert_eq!(world.fetch_failed(FetchFailure::Unauthorized), [gives_up(FetchFailure::Unauthorized)]);
    assert_eq!(world.cycle.role(), Role::Follower);

    let mut world = World::leader(policy(), &a);
    world.wait();
    world.decided(true);
    assert_eq!(world.fetch_failed(FetchFailure::Connect), [told(FetchFailure::Connect)], "the first time it stays");
    world.tell(Event::Told);
    world.wait();
    world.decided(true);
    assert_eq!(world.fetch_failed(FetchFailure::Connect), [gives_up(FetchFailure::Connect)]);

    let mut world = World::leader(policy(), &a);
    world.wait();
    world.decided(true);
    assert_eq!(world.fetch_failed(FetchFailure::Server), [told(FetchFailure::Server)]);
    world.tell(Event::Told);
    world.wait();
    world.decided(true);
    assert_eq!(world.fetch_failed(FetchFailure::Connect), [told(FetchFailure::Connect)], "it is the first of its kind");

    for failure in [FetchFailure::QuotaLimited, FetchFailure::RateLimited, FetchFailure::Server] {
        let mut world = World::leader(policy(), &a);
        world.wait();
        world.decided(true);
        assert_eq!(world.fetch_failed(failure), [told(failure)], "another leader would only repeat it");
    }
}

#[test]
fn b8_62_a_copy_unconfirmed_for_too_long_is_fetched_under_the_fail_open_limit() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let old = || StoreReport::new().confirmed_ago(INTERVAL * 10);
    let mut world = World::follower(policy(), &a);
    let mut gets = Vec::new();
    while gets.len() < 3 {
        // No notice in this story: the next load is a tick.
        world.wait();
        world.pass(INTERVAL * 2);
        world.report(old());
        assert_eq!(world.decided(false), [Word::Read]);
        if world.read(Some(&a)) != [Word::LoadEnded] {
            gets.push(world.now);
            let answer = if gets.len() == 1 { world.fetched(&b) } else { world.not_modified() };
            if gets.len() == 1 {
                assert_eq!(answer, [from_api(&b), Word::Read]);
                assert_eq!(world.read(Some(&a)), [Word::LoadEnded], "the store is not empty: nothing is published");
            }
        }
    }
    assert!(gets.windows(2).all(|pair| pair[1] - pair[0] >= INTERVAL * 4), "{gets:?}");
}

#[test]
fn b8_62_what_a_follower_fetched_is_not_replaced_by_the_older_copy() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut world = World::follower(policy(), &a);
    assert_eq!(world.fetch_in_outage(), [get("1")]);
    assert_eq!(world.fetched(&b), [from_api(&b), Word::Read]);
    world.read_failed();
    // The store is back with the copy from before.
    world.wait();
    world.report(StoreReport::new().confirmed_ago(INTERVAL * 3));
    world.decided(false);
    assert_eq!(world.read(Some(&a)), [Word::LoadEnded], "it is older than what memory holds");
    // The leader confirms it after our GET: the flags were rolled back.
    world.wait();
    world.report(StoreReport::new().confirmed_ago(MS));
    world.decided(false);
    assert_eq!(world.read(Some(&a)), [from_cache(&a), Word::LoadEnded]);
}

#[test]
fn b8_62_a_store_that_tells_no_confirmation_is_held_off_for_a_fail_open_interval() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut world = World::follower(policy(), &a);
    assert_eq!(world.fetch_in_outage(), [get("1")]);
    let fetched = world.now;
    assert_eq!(world.fetched(&b), [from_api(&b), Word::Read]);
    world.read_failed();
    let back = loop {
        world.wait();
        world.decided(false);
        match world.read(Some(&a)).as_slice() {
            [Word::LoadEnded] => assert!(world.now - fetched < INTERVAL * 5, "it must be a roll-back by now"),
            [Word::Install(copy, _), Word::LoadEnded] if *copy == a => break world.now,
            other => panic!("{other:?}"),
        }
    };
    assert!(back - fetched >= INTERVAL * 4, "{:?}", back - fetched);
}

#[test]
fn b8_62_nor_after_the_follower_fetched_a_second_time() {
    let (old, new, newer) = (set("a", "1"), set("b", "2"), set("c", "3"));
    let mut world = World::follower(policy(), &old);
    let stuck = world.now;
    for (fetched, sent) in [(&new, "1"), (&newer, "2")] {
        world.pass(INTERVAL * 11);
        world.tell(Event::Timer);
        let ago = world.now.duration_since(stuck);
        world.report(StoreReport::new().confirmed_ago(ago));
        world.decided(false);
        assert_eq!(world.read(Some(&old)), [get(sent)]);
        assert_eq!(world.fetched(fetched), [from_api(fetched), Word::Read]);
        assert_eq!(world.read(Some(&old)), [Word::LoadEnded]);
        world.wait();
        let ago = world.now.duration_since(stuck);
        world.report(StoreReport::new().confirmed_ago(ago));
        world.decided(false);
        assert_eq!(world.read(Some(&old)), [Word::LoadEnded], "the older copy came back");
    }
}

#[test]
fn b8_66_a_foreign_empty_set_must_outlast_two_ticks() {
    let (a, empty) = (set("a", "1"), foreign(r#"{"flags":[]}"#));
    let mut world = World::follower(policy(), &a);
    let begun = world.now;
    loop {
        world.wait();
        world.decided(false);
        let answer = world.read(Some(&empty));
        if answer == [from_cache(&empty), Word::LoadEnded] {
            break;
        }
        assert_eq!(answer, [Word::LoadEnded]);
        assert!(world.now - begun < INTERVAL * 5);
    }
    assert!(world.now - begun >= INTERVAL * 2);
    // The leader's own empty set is believed at once.
    let mut world = World::follower(policy(), &a);
    let empty = crate::FlagDefinitionCacheData::from_api_response(
        r#"{"flags":[]}"#,
        Some("9"),
        std::time::SystemTime::now(),
        None,
    );
    let empty = empty.unwrap();
    world.wait();
    world.decided(false);
    assert_eq!(world.read(Some(&empty)), [from_cache(&empty), Word::LoadEnded]);
}

#[test]
fn b8_66_another_foreign_empty_set_is_doubted_anew() {
    let a = set("a", "1");
    let empty = [foreign(r#"{"flags":[]}"#), foreign(r#"{"flags":[],"cohorts":{}}"#)];
    let mut world = World::follower(policy(), &a);
    for load in 0..8 {
        world.wait();
        world.decided(false);
        assert_eq!(world.read(Some(&empty[load % 2])), [Word::LoadEnded], "load {load}");
    }
}
