//! B2: what the API's answers do, as far as the poller decides it.

use std::time::Duration;

use super::world::*;
use crate::cycle::{Event, Fetched, Policy, Step};
use crate::{FetchFailure, OnQuotaLimited, OnUnauthorized, StoreReport};

/// A leader's next load, with this answer.
fn load(world: &mut World, fetched: Fetched) -> Vec<Word> {
    loop {
        assert_eq!(world.wait(), [Word::Decide]);
        if matches!(world.decided(true)[..], [Word::Get(_)]) {
            return world.answer(fetched);
        }
        // The gate is closed: the store was told the last failure again.
        assert_eq!(world.tell(Event::Told), [Word::LoadEnded]);
    }
}

fn failed(failure: FetchFailure) -> Fetched {
    Fetched::Failed { failure, retry_after: None }
}

/// The times between a leader's requests while the API answers with this failure.
fn distances(failure: FetchFailure, retry_after: Option<Duration>, n: usize) -> Vec<Duration> {
    let mut world = World::leader(policy(), &set("a", "1"));
    let mut times = Vec::new();
    while times.len() <= n {
        load(&mut world, Fetched::Failed { failure, retry_after });
        times.push(world.now);
        assert_eq!(world.tell(Event::Told), [Word::LoadEnded]);
    }
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn b2_19_the_etag_is_kept_byte_for_byte_and_cleared_with_a_200_without_one() {
    let mut world = World::leader(policy(), &set("a", "W/\"x y\""));
    world.wait();
    assert_eq!(world.decided(true), [get("W/\"x y\"")]);
    let bare = set("b", "");
    assert_eq!(world.fetched(&bare), [from_api(&bare), Word::Publish(bare.clone())]);
    world.published();
    world.wait();
    assert_eq!(world.decided(true), [GET]);
}

#[test]
fn b2_22_an_unusable_200_backs_off_from_the_first() {
    let distances = distances(FetchFailure::Unusable, None, 3);
    assert!(distances[0] >= INTERVAL * 2, "{distances:?}");
}

#[test]
fn b2_25_a_304_is_a_success_and_replaces_the_etag_only_if_it_carries_one() {
    let a = set("a", "1");
    let mut world = World::leader(policy(), &a);
    load(&mut world, failed(FetchFailure::RateLimited));
    world.tell(Event::Told);
    assert_eq!(load(&mut world, Fetched::NotModified { etag: None }), [UNCHANGED]);
    assert_eq!(world.cycle.backoff(world.now), Duration::ZERO);
    assert_eq!(world.cycle.last_failure(), None);
    world.tell(Event::Told);
    let renamed = a.with_etag(Some("2"));
    let answer = load(&mut world, Fetched::NotModified { etag: Some("2".to_owned()) });
    assert_eq!(answer, [from_api(&renamed), UNCHANGED]);
    world.tell(Event::Told);
    world.wait();
    assert_eq!(world.decided(true), [get("2")]);
}

#[test]
fn b2_26_a_304_without_memory_is_repeated_once_unconditionally() {
    let a = set("a", "1");
    let mut world = World::new(policy());
    world.wait();
    world.decided(true);
    assert_eq!(world.stored(None), [GET]);
    assert_eq!(world.not_modified(), [GET]);
    assert_eq!(world.fetched(&a), [from_api(&a), Word::Publish(a.clone())]);

    let mut world = World::new(policy());
    world.wait();
    world.decided(true);
    world.stored(None);
    world.not_modified();
    assert_eq!(world.not_modified(), [Word::Read], "once: a second one is a failure");
}

#[test]
fn b2_26_clearing_the_definitions_clears_the_etag() {
    let a = set("a", "1");
    let mut world = World::leader(Policy { on_unauthorized: OnUnauthorized::Clear, ..policy() }, &a);
    let gives_up = Word::Tell { failure: Some(FetchFailure::Unauthorized), has_data: false, gives_up: true };
    assert_eq!(load(&mut world, failed(FetchFailure::Unauthorized)), [Word::Clear, gives_up]);
    world.tell(Event::Told);
    world.pass(INTERVAL * 8);
    world.wait();
    assert_eq!(world.decided(true), [GET], "and the stored copy, which is what was cleared, is not asked for");
}

#[test]
fn b2_27_every_leader_load_without_a_new_set_is_told_once() {
    let a = set("a", "1");
    let mut world = World::leader(policy(), &a);
    assert_eq!(load(&mut world, Fetched::NotModified { etag: None }), [UNCHANGED]);
    assert_eq!(world.tell(Event::Told), [Word::LoadEnded]);
    assert_eq!(load(&mut world, failed(FetchFailure::Server)), [told(FetchFailure::Server)]);
    assert_eq!(world.tell(Event::Told), [Word::LoadEnded]);
    assert_eq!(load(&mut world, failed(FetchFailure::RateLimited)), [told(FetchFailure::RateLimited)]);
    assert_eq!(world.tell(Event::Told), [Word::LoadEnded]);
    // While it may not fetch it still leads, and still lets the store put the copy back.
    assert_eq!(world.wait(), [Word::Decide]);
    assert_eq!(world.decided(true), [told(FetchFailure::RateLimited)]);
}

#[test]
fn b2_28_unauthorized_keeps_by_default_and_backs_off() {
    let a = set("a", "1");
    let mut world = World::leader(policy(), &a);
    load(&mut world, failed(FetchFailure::Unauthorized));
    assert_eq!(world.cycle.refusal(), Some(FetchFailure::Unauthorized));
    let backoff = world.cycle.backoff(world.now);
    assert!(backoff >= INTERVAL && backoff <= INTERVAL * 2, "{backoff:?}");
    world.tell(Event::Told);
    // Another worker's keys are good: following it, this one is no longer refused.
    world.wait();
    world.decided(false);
    world.read(Some(&a));
    assert_eq!(world.cycle.refusal(), None);
}

#[test]
fn b2_29_a_quota_is_kept_by_default_cleared_by_choice_and_told_to_the_fleet() {
    let a = set("a", "1");
    let mut world = World::leader(policy(), &a);
    assert_eq!(load(&mut world, failed(FetchFailure::QuotaLimited)), [told(FetchFailure::QuotaLimited)]);
    assert_eq!(world.cycle.refusal(), Some(FetchFailure::QuotaLimited));
    assert!(world.cycle.backoff(world.now) >= INTERVAL * 2);

    let mut leader = World::leader(Policy { on_quota_limited: OnQuotaLimited::Clear, ..policy() }, &a);
    let unserved = Word::Tell { failure: Some(FetchFailure::QuotaLimited), has_data: false, gives_up: false };
    assert_eq!(load(&mut leader, failed(FetchFailure::QuotaLimited)), [Word::Clear, unserved]);

    let limited = || StoreReport::new().quota_limited(true).confirmed_ago(INTERVAL);
    let mut follower = World::follower(policy(), &a);
    follower.wait();
    follower.report(limited());
    follower.decided(false);
    assert_eq!(follower.read(Some(&a)), [Word::LoadEnded]);
    assert_eq!(follower.cycle.refusal(), Some(FetchFailure::QuotaLimited));

    let mut follower = World::follower(Policy { on_quota_limited: OnQuotaLimited::Clear, ..policy() }, &a);
    follower.wait();
    follower.report(limited());
    follower.decided(false);
    assert_eq!(follower.read(Some(&a)), [Word::Clear, Word::LoadEnded]);
    // Still limited: nothing comes back. Lifted: the leader has confirmed the copy since.
    follower.wait();
    follower.report(limited());
    follower.decided(false);
    assert_eq!(follower.read(Some(&a)), [Word::LoadEnded]);
    follower.wait();
    follower.report(StoreReport::new().confirmed_ago(Duration::ZERO));
    follower.decided(false);
    assert_eq!(follower.read(Some(&a)), [from_cache(&a), Word::LoadEnded]);
}

#[test]
fn b2_30_the_backoff_doubles_from_the_interval_to_its_cap_and_a_success_resets_it() {
    let distances = distances(FetchFailure::RateLimited, None, 5);
    for (distance, doublings) in distances.iter().zip([2, 4, 8, 8, 8]) {
        let backoff = INTERVAL * doublings;
        assert!(*distance >= backoff && *distance <= backoff.mul_f64(1.1) + INTERVAL, "{distances:?}");
    }
    let mut world = World::leader(policy(), &set("a", "1"));
    for _ in 0..3 {
        load(&mut world, failed(FetchFailure::RateLimited));
        world.tell(Event::Told);
    }
    load(&mut world, Fetched::NotModified { etag: None });
    world.tell(Event::Told);
    load(&mut world, failed(FetchFailure::RateLimited));
    let backoff = world.cycle.backoff(world.now);
    assert!(backoff >= INTERVAL * 2 && backoff <= INTERVAL.mul_f64(2.2), "{backoff:?}");
}

#[test]
fn b2_30_retry_after_is_honoured_where_it_is_longer() {
    let long = distances(FetchFailure::RateLimited, Some(Duration::from_secs(500)), 1);
    assert!(long[0] >= Duration::from_secs(500), "{long:?}");
    let short = distances(FetchFailure::RateLimited, Some(Duration::from_secs(1)), 1);
    assert!(short[0] >= INTERVAL * 2, "{short:?}");
}

#[test]
fn b2_30_a_refresh_does_not_go_round_the_backoff_and_a_reader_inherits_none() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut world = World::leader(policy(), &a);
    load(&mut world, failed(FetchFailure::RateLimited));
    world.tell(Event::Told);
    assert_eq!(world.refresh(), [Word::Decide]);
    assert_eq!(world.decided(true), [told(FetchFailure::RateLimited)]);
    world.tell(Event::Told);
    // It loses the lead: it reads at its ticks as any other.
    assert!(world.wait_time() <= INTERVAL.mul_f64(2.2));
    world.refresh();
    world.decided(false);
    assert_eq!(world.read(Some(&b)), [from_cache(&b), Word::LoadEnded]);
    assert!(world.wait_time() <= INTERVAL.mul_f64(1.1));
}

#[test]
fn b2_31_passing_faults_back_off_from_the_second() {
    for failure in [FetchFailure::Server, FetchFailure::Timeout, FetchFailure::Rejected] {
        let distances = distances(failure, None, 2);
        assert!(distances[0] <= INTERVAL.mul_f64(1.1), "{failure}: {distances:?}");
        assert!(distances[1] >= INTERVAL && distances[1] <= INTERVAL * 2, "{failure}: {distances:?}");
    }
}

#[test]
fn b2_30_a_leaders_tick_just_before_the_end_of_its_backoff_waits_for_that_and_no_other() {
    let a = set("a", "1");
    let asked =
        |seconds| Fetched::Failed { failure: FetchFailure::Server, retry_after: Some(Duration::from_secs(seconds)) };
    // The end of the backoff lies before one and a half intervals, or beyond.
    for (seconds, waits) in [(40, true), (44, true), (46, false), (300, false)] {
        let mut world = World::leader(policy(), &a);
        load(&mut world, asked(seconds));
        world.tell(Event::Told);
        let wait = world.wait_time();
        let tick = INTERVAL.mul_f64(0.9)..=INTERVAL.mul_f64(1.1);
        assert_eq!(wait == Duration::from_secs(seconds), waits, "{seconds}: {wait:?}");
        assert_eq!(tick.contains(&wait), !waits, "{seconds}: {wait:?}");
    }
    // A follower has its reads to do.
    let mut world = World::follower(policy(), &a);
    world.fetch_in_outage();
    world.answer(asked(40));
    let wait = world.wait_time();
    assert!(wait <= INTERVAL.mul_f64(1.1), "{wait:?}");
}

#[test]
fn b2_31_without_a_provider_the_tick_waits_for_the_backoff() {
    let a = set("a", "1");
    let mut world = World::new(Policy { has_provider: false, ..policy() });
    world.wait();
    world.fetched(&a);
    world.wait();
    assert_eq!(world.fetch_failed(FetchFailure::RateLimited), [Word::LoadEnded]);
    assert!(world.wait_time() >= INTERVAL * 2);
    assert_eq!(world.wait(), [get("1")]);
}

#[test]
fn b1_16_a_load_says_whether_it_ticked_and_whether_it_left_its_worker_unserved() {
    let a = set("a", "1");
    let ended = |world: &mut World, event| match world.cycle.handle(world.now, event).as_slice() {
        [.., Step::LoadEnded { ticked, unserved }] => (*ticked, *unserved),
        other => panic!("{other:?}"),
    };
    let limited = || failed(FetchFailure::RateLimited);
    let mut world = World::leader(policy(), &a);
    load(&mut world, limited());
    assert_eq!(ended(&mut world, Event::Told), (true, true));
    // Put off by the backoff, on demand: no better.
    assert_eq!(world.refresh(), [Word::Decide]);
    assert_eq!(world.decided(true), [told(FetchFailure::RateLimited)]);
    assert_eq!(ended(&mut world, Event::Told), (false, true));
    // A follower that fetched because its store failed has what it had.
    let mut world = World::follower(policy(), &a);
    world.fetch_in_outage();
    let fetched = Event::Fetched { generation: world.generation(), fetched: limited() };
    assert_eq!(ended(&mut world, fetched), (true, false));
    // Without definitions there is nothing to fall back on.
    let mut world = World::new(policy());
    world.wait();
    world.decision_failed();
    world.stored(None);
    world.answer(limited());
    assert_eq!(ended(&mut world, Event::Read(Ok(None))), (true, true));
    // Nor is a success unserved.
    let mut world = World::leader(policy(), &a);
    world.wait();
    world.decided(true);
    world.not_modified();
    assert_eq!(ended(&mut world, Event::Told), (true, false));
}
