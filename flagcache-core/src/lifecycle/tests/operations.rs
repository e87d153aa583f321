//! What operators ask for: wasted units, and changes that are held back.

use std::time::{Duration, SystemTime};

use super::harness::*;
use crate::lifecycle::event::Removal;
use crate::lifecycle::{Notice, Policy};
use crate::{FetchErrorKind, FlagDefinitionCacheData, OnWastedUnits};

fn stretching() -> Policy {
    Policy {
        on_wasted_units: OnWastedUnits::Stretch,
        ..policy()
    }
}

fn warnings(harness: &Harness) -> usize {
    let warns = |notice: &&Notice| matches!(notice, Notice::Wasted { warn: true, .. });
    harness.notices.iter().filter(warns).count()
}

/// The leader's next request, which is answered with this set.
fn next_request(harness: &mut Harness, set: &FlagDefinitionCacheData) {
    while {
        assert_eq!(harness.wait(), [Expected::Decide]);
        let skipped = harness.decided(true) == [reported(FetchErrorKind::RateLimited)];
        // The store keeps its copy, and nothing is confirmed.
        skipped && harness.handle(DONE) == [Expected::LoadEnded]
    } {}
    harness.fetched(set);
    harness.published();
}

#[test]
fn b12_86_wasted_units_are_reported_at_the_second_in_a_row_and_once_until_a_304() {
    let a = set("a", "1");
    let mut harness = Harness::leader(policy(), &a);
    for _ in 0..5 {
        next_request(&mut harness, &a);
    }
    assert_eq!(warnings(&harness), 1);
    assert_eq!(harness.notices.len(), 5);
    assert!(matches!(
        harness.notices[1],
        Notice::Wasted { warn: true, .. }
    ));
    // A change is no recovery.
    next_request(&mut harness, &set("b", "2"));
    next_request(&mut harness, &set("b", "3"));
    next_request(&mut harness, &set("b", "4"));
    assert_eq!(warnings(&harness), 1);
    harness.wait();
    harness.decided(true);
    harness.not_modified();
    harness.handle(DONE);
    next_request(&mut harness, &set("b", "5"));
    assert_eq!(warnings(&harness), 1, "one may be an accident");
    next_request(&mut harness, &set("b", "6"));
    assert_eq!(warnings(&harness), 2);
}

#[test]
fn b12_86_without_the_policy_each_tick_sends_a_request() {
    let a = set("a", "1");
    let mut harness = Harness::leader(policy(), &a);
    for _ in 0..5 {
        let before = harness.now;
        next_request(&mut harness, &a);
        assert!(harness.now - before < INTERVAL * 2);
    }
}

#[test]
fn b12_86_with_the_policy_the_leader_keeps_its_ticks_and_sends_every_ninth_request() {
    let a = set("a", "1");
    let mut harness = Harness::leader(stretching(), &a);
    next_request(&mut harness, &a);
    next_request(&mut harness, &a);
    let stretched = INTERVAL.mul_f64(8.5);
    for _ in 0..3 {
        let before = harness.now;
        next_request(&mut harness, &a);
        assert_eq!(harness.now - before, stretched);
    }
    // A requested load is not held up.
    assert_eq!(harness.refresh(), [Expected::Decide]);
    assert_eq!(harness.decided(true), [get("1")]);
    // The server has its ETags again.
    harness.not_modified();
    harness.handle(DONE);
    let before = harness.now;
    next_request(&mut harness, &a);
    assert!(harness.now - before < INTERVAL * 2);
}

#[test]
fn after_a_change_the_next_tick_sends_a_request() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut harness = Harness::leader(stretching(), &a);
    for _ in 0..3 {
        next_request(&mut harness, &a);
    }
    next_request(&mut harness, &b);
    let before = harness.now;
    next_request(&mut harness, &b);
    assert!(harness.now - before < INTERVAL * 2);
    let before = harness.now;
    next_request(&mut harness, &b);
    assert_eq!(
        harness.now - before,
        INTERVAL.mul_f64(8.5),
        "it has not recovered"
    );
}

#[test]
fn a_publish_that_failed_is_repeated_at_a_tick_without_a_request() {
    let a = set("a", "1");
    let mut harness = Harness::leader(stretching(), &a);
    next_request(&mut harness, &a);
    harness.wait();
    harness.decided(true);
    harness.fetched(&a);
    harness.publish_failed();
    harness.wait();
    assert_eq!(harness.decided(true), [Expected::Publish(a)]);
}

#[test]
fn without_a_provider_the_next_tick_is_that_of_the_next_request() {
    let a = set("a", "1");
    let mut harness = Harness::new(Policy {
        has_provider: false,
        ..stretching()
    });
    for _ in 0..3 {
        assert!(matches!(harness.wait()[..], [Expected::Get(_)]));
        harness.fetched(&a);
    }
    assert_eq!(harness.wait_time(), INTERVAL.mul_f64(8.5));
}

fn holding(share: f64) -> Policy {
    Policy {
        hold_back_removals: Some(share),
        ..policy()
    }
}

fn definitions(flags: &[&str], group_types: &str, cohorts: &str) -> FlagDefinitionCacheData {
    let flags: Vec<_> = flags
        .iter()
        .map(|key| format!(r#"{{"key":"{key}"}}"#))
        .collect();
    let body = format!(
        r#"{{"flags":[{}],"group_type_mapping":{group_types},"cohorts":{cohorts}}}"#,
        flags.join(",")
    );
    let fetched_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000);
    FlagDefinitionCacheData::from_api_response(body, Some(&flags.join("")), fetched_at, None)
        .unwrap()
}

const GROUPS: &str = r#"{"0":"company"}"#;
const COHORTS: &str = r#"{"7":{}}"#;

fn whole() -> FlagDefinitionCacheData {
    definitions(&["a", "b", "c", "d"], GROUPS, COHORTS)
}

/// The store keeps its copy, and nothing is confirmed.
const HELD_BACK: Expected = Expected::Report {
    failure: Some(FetchErrorKind::Rejected),
    has_data: true,
    steps_down: false,
};

/// The leader's answer is held back.
fn held_back(harness: &mut Harness, set: &FlagDefinitionCacheData) {
    assert_eq!(harness.fetched(set), [HELD_BACK]);
    assert_eq!(harness.handle(DONE), [Expected::LoadEnded]);
}

fn tick(harness: &mut Harness) -> Vec<Expected> {
    assert_eq!(harness.wait(), [Expected::Decide]);
    harness.decided(true)
}

#[test]
fn a_change_that_removes_much_is_held_back_until_the_next_answer_says_so_too() {
    let (whole, less) = (whole(), definitions(&["a"], GROUPS, COHORTS));
    let mut harness = Harness::leader(holding(0.5), &whole);
    tick(&mut harness);
    held_back(&mut harness, &less);
    let removal = Removal {
        removed: 3,
        flags: 4,
        group_types: false,
        cohorts: false,
    };
    assert_eq!(harness.notices, [Notice::HeldBack(removal)]);
    // The next request asks whether that is still so, and a 304 says yes.
    assert_eq!(tick(&mut harness), [get(less.etag().unwrap())]);
    assert_eq!(
        harness.not_modified(),
        [from_api(&less), Expected::Publish(less.clone())]
    );
    assert_eq!(harness.published(), [Expected::LoadEnded]);
    assert_eq!(tick(&mut harness), [get(less.etag().unwrap())]);
    assert_eq!(harness.not_modified(), [UNCHANGED]);
}

#[test]
fn a_second_200_confirms_as_well_and_other_definitions_replace_what_is_held_back() {
    let (whole, less) = (whole(), definitions(&["a"], GROUPS, COHORTS));
    let mut harness = Harness::leader(holding(0.5), &whole);
    tick(&mut harness);
    held_back(&mut harness, &less);
    tick(&mut harness);
    assert_eq!(
        harness.fetched(&less),
        [from_api(&less), Expected::Publish(less.clone())]
    );
    harness.published();

    let mut harness = Harness::leader(holding(0.5), &whole);
    tick(&mut harness);
    held_back(&mut harness, &less);
    tick(&mut harness);
    // The accident is undone.
    assert_eq!(
        harness.fetched(&whole),
        [from_api(&whole), Expected::Publish(whole.clone())]
    );
    harness.published();
    assert_eq!(tick(&mut harness), [get(whole.etag().unwrap())]);
}

#[test]
fn an_answer_within_the_same_tick_confirms_nothing() {
    let (whole, less) = (whole(), definitions(&["a"], GROUPS, COHORTS));
    let mut harness = Harness::leader(holding(0.5), &whole);
    tick(&mut harness);
    held_back(&mut harness, &less);
    for answer in 0..2 {
        harness.pass(Duration::from_secs(1));
        harness.refresh();
        harness.decided(true);
        let steps = if answer == 0 {
            harness.not_modified()
        } else {
            harness.fetched(&less)
        };
        assert_eq!(steps, [HELD_BACK]);
        harness.handle(DONE);
    }
    tick(&mut harness);
    assert_eq!(
        harness.not_modified(),
        [from_api(&less), Expected::Publish(less)]
    );
}

#[test]
fn a_larger_removal_is_held_back_for_another_tick() {
    let (whole, less) = (whole(), definitions(&["a"], GROUPS, COHORTS));
    let worse = definitions(&["b"], "{}", COHORTS);
    let mut harness = Harness::leader(holding(0.5), &whole);
    tick(&mut harness);
    held_back(&mut harness, &less);
    tick(&mut harness);
    held_back(&mut harness, &worse);
    assert_eq!(harness.notices.len(), 2, "{:?}", harness.notices);
    assert_eq!(tick(&mut harness), [get(worse.etag().unwrap())]);
    assert_eq!(
        harness.not_modified(),
        [from_api(&worse), Expected::Publish(worse)]
    );
}

#[test]
fn a_failed_request_neither_loses_nor_confirms_what_is_held_back() {
    let (whole, less) = (whole(), definitions(&["a"], GROUPS, COHORTS));
    let mut harness = Harness::leader(holding(0.5), &whole);
    tick(&mut harness);
    held_back(&mut harness, &less);
    tick(&mut harness);
    assert_eq!(
        harness.fetch_failed(FetchErrorKind::Server),
        [reported(FetchErrorKind::Server)]
    );
    harness.handle(DONE);
    assert_eq!(tick(&mut harness), [get(less.etag().unwrap())]);
    assert_eq!(
        harness.not_modified(),
        [from_api(&less), Expected::Publish(less)]
    );
}

#[test]
fn a_worker_that_follows_meanwhile_forgets_what_is_held_back() {
    let (whole, less) = (whole(), definitions(&["a"], GROUPS, COHORTS));
    let mut harness = Harness::leader(holding(0.5), &whole);
    tick(&mut harness);
    held_back(&mut harness, &less);
    harness.wait();
    assert_eq!(harness.decided(false), [Expected::Read]);
    assert_eq!(harness.read(Some(&whole)), [Expected::LoadEnded]);
    assert_eq!(tick(&mut harness), [get(whole.etag().unwrap())]);
}

#[test]
fn what_is_held_back_and_what_is_not() {
    let keys = ["a", "b", "c", "d"];
    for (new, is_held) in [
        (definitions(&["a", "b"], GROUPS, COHORTS), false),
        (definitions(&["a"], GROUPS, COHORTS), true),
        (definitions(&[], "{}", "{}"), true),
        (definitions(&keys, "{ }", COHORTS), true),
        (definitions(&keys, GROUPS, "{}"), true),
        (definitions(&keys, r#"{"1":"team"}"#, COHORTS), false),
        (definitions(&["e", "f", "g", "h"], GROUPS, COHORTS), true),
    ] {
        let mut harness = Harness::leader(holding(0.5), &whole());
        tick(&mut harness);
        let steps = harness.fetched(&new);
        assert_eq!(steps == [HELD_BACK], is_held, "{new:?}: {steps:?}");
    }
    // Nothing to compare with, and not configured.
    Harness::leader(holding(0.0), &definitions(&[], "{}", "{}"));
    let mut harness = Harness::leader(policy(), &whole());
    tick(&mut harness);
    assert_ne!(harness.fetched(&definitions(&[], "{}", "{}")), [HELD_BACK]);
}
