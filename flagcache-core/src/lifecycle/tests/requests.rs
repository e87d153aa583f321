//! Requested refreshes: who carries them out, when, and how often.

use std::time::Duration;

use super::harness::*;
use crate::lifecycle::{Event, Fetched, RequestedBy};
use crate::{FetchErrorKind, FleetStatus};

const SECOND: Duration = Duration::from_secs(1);

fn long_interval() -> crate::lifecycle::Policy {
    crate::lifecycle::Policy {
        poll_interval: Duration::from_secs(600),
        ..policy()
    }
}

impl Harness {
    fn request(&mut self, by: RequestedBy) -> Vec<Expected> {
        self.handle(Event::RefreshRequested(by))
    }

    /// Ends a requested load that the leader has begun, with a 304.
    fn unchanged_load(&mut self, etag: &str) {
        assert_eq!(self.decided(true), [get(etag)]);
        assert_eq!(self.not_modified(), [UNCHANGED]);
        assert_eq!(self.handle(DONE), [Expected::LoadEnded]);
    }
}

#[test]
fn b12_84_a_leader_asks_at_once_and_again_after_one_and_three_seconds_while_nothing_is_new() {
    for by in [RequestedBy::Store, RequestedBy::Handle] {
        let first = set("a", "1");
        let mut harness = Harness::leader(long_interval(), &first);
        harness.pass(30 * SECOND);
        assert_eq!(harness.request(by), [Expected::Decide]);
        harness.unchanged_load("1");
        for wait in [SECOND, 2 * SECOND] {
            assert_eq!(harness.wait_time(), wait);
            assert_eq!(harness.wait(), [Expected::Decide]);
            harness.unchanged_load("1");
        }
        // Then the tick, one interval after the last load.
        assert!(harness.wait_time() > 500 * SECOND);
    }
}

#[test]
fn a_200_with_the_old_content_is_no_answer_to_a_request() {
    let first = set("a", "1");
    let mut harness = Harness::leader(long_interval(), &first);
    harness.pass(30 * SECOND);
    harness.request(RequestedBy::Store);
    harness.decided(true);
    harness.fetched(&first);
    harness.published();
    assert_eq!(harness.wait_time(), SECOND);
}

#[test]
fn b12_84_new_definitions_end_the_series() {
    let (first, second) = (set("a", "1"), set("b", "2"));
    let mut harness = Harness::leader(long_interval(), &first);
    harness.pass(30 * SECOND);
    harness.request(RequestedBy::Store);
    harness.unchanged_load("1");
    assert_eq!(harness.wait(), [Expected::Decide]);
    assert_eq!(harness.decided(true), [get("1")]);
    assert_eq!(
        harness.fetched(&second),
        [from_api(&second), Expected::Publish(second.clone())]
    );
    assert_eq!(harness.published(), [Expected::LoadEnded]);
    assert!(harness.wait_time() > 500 * SECOND);
}

#[test]
fn b12_84_a_storm_causes_one_request_a_second_and_the_last_request_is_served() {
    let first = set("a", "1");
    let mut harness = Harness::leader(long_interval(), &first);
    harness.pass(30 * SECOND);
    let (begin, mut sent) = (harness.now, Vec::new());
    while harness.now < begin + 10 * SECOND {
        let mut steps = harness.request(RequestedBy::Store);
        if steps.is_empty()
            && harness
                .machine
                .deadline()
                .is_some_and(|at| at <= harness.now)
        {
            steps = harness.wait();
        }
        if steps == [Expected::Decide] {
            sent.push(harness.now - begin);
            harness.unchanged_load("1");
        }
        harness.pass(MS);
    }
    assert_eq!(sent.len(), 10, "{sent:?}");
    let last = harness.now;
    assert_eq!(harness.wait(), [Expected::Decide]);
    assert!(
        harness.now > last - MS,
        "the last request is served by a later answer"
    );
}

#[test]
fn b12_84_a_request_during_the_answer_is_served_by_another() {
    let (first, second) = (set("a", "1"), set("b", "2"));
    let mut harness = Harness::leader(long_interval(), &first);
    harness.pass(30 * SECOND);
    harness.request(RequestedBy::Store);
    assert_eq!(harness.decided(true), [get("1")]);
    harness.pass(100 * MS);
    assert_eq!(harness.request(RequestedBy::Store), []);
    assert_eq!(
        harness.fetched(&second),
        [from_api(&second), Expected::Publish(second.clone())]
    );
    assert_eq!(harness.published(), [Expected::LoadEnded]);
    assert_eq!(harness.wait_time(), 900 * MS);
    assert_eq!(harness.wait(), [Expected::Decide]);
    assert_eq!(harness.decided(true), [get("2")]);
}

#[test]
fn b12_84_a_follower_leaves_the_request_to_the_leader() {
    let first = set("a", "1");
    for by in [RequestedBy::Store, RequestedBy::Handle] {
        let mut harness = Harness::follower(long_interval(), &first);
        let tick = harness.wait_time();
        assert_eq!(harness.request(by), []);
        assert_eq!(harness.wait_time(), tick);
    }
    // One that led until this decision.
    let mut harness = Harness::leader(long_interval(), &first);
    harness.pass(30 * SECOND);
    assert_eq!(harness.request(RequestedBy::Store), [Expected::Decide]);
    assert_eq!(harness.decided(false), [Expected::Read]);
    assert_eq!(harness.read(Some(&first)), [Expected::LoadEnded]);
    assert!(harness.wait_time() > 500 * SECOND);
}

#[test]
fn b12_84_a_decision_that_takes_a_request_carries_it_out() {
    let first = set("a", "1");
    let mut harness = Harness::leader(long_interval(), &first);
    harness.pass(30 * SECOND);
    assert_eq!(harness.notification(), [Expected::Decide]);
    harness.report(FleetStatus::new().refresh_requested(true));
    harness.unchanged_load("1");
    // Within a second, the next one waits.
    harness.pass(200 * MS);
    assert_eq!(harness.notification(), [Expected::Decide]);
    harness.report(FleetStatus::new().refresh_requested(true));
    assert_eq!(harness.decided(true), [Expected::LoadEnded]);
    assert_eq!(harness.wait_time(), 800 * MS);
    assert_eq!(harness.wait(), [Expected::Decide]);
    harness.unchanged_load("1");
}

#[test]
fn b12_84_the_next_leader_carries_the_request_out() {
    let first = set("a", "1");
    let mut harness = Harness::follower(long_interval(), &first);
    harness.pass(30 * SECOND);
    assert_eq!(harness.notification(), [Expected::Decide]);
    harness.report(FleetStatus::new().refresh_requested(true));
    harness.unchanged_load("1");
    assert_eq!(harness.wait_time(), SECOND, "it asks again");
}

#[test]
fn b12_84_a_request_waits_for_the_end_of_the_backoff() {
    for failure in [
        FetchErrorKind::RateLimited,
        FetchErrorKind::QuotaLimited,
        FetchErrorKind::Unusable,
    ] {
        let first = set("a", "1");
        let mut harness = Harness::leader(policy(), &first);
        assert_eq!(harness.wait(), [Expected::Decide]);
        assert_eq!(harness.decided(true), [get("1")]);
        let retry_after = Some(Duration::from_secs(100));
        let steps = harness.answer(Fetched::Failed {
            failure,
            retry_after,
        });
        assert_eq!(steps, [reported(failure)]);
        assert_eq!(harness.handle(DONE), [Expected::LoadEnded]);
        let failed_at = harness.now;
        harness.pass(SECOND);
        assert_eq!(harness.request(RequestedBy::Store), []);
        while harness.now < failed_at + Duration::from_secs(100) {
            let steps = harness.wait();
            assert_eq!(steps, [Expected::Decide]);
            let steps = harness.decided(true);
            if steps == [get("1")] {
                break;
            }
            assert_eq!(steps, [reported(failure)], "{failure:?}");
            assert_eq!(harness.handle(DONE), [Expected::LoadEnded]);
        }
        assert!(harness.now >= failed_at + Duration::from_secs(100));
    }
}

#[test]
fn b12_84_a_worker_whose_store_carries_no_requests_asks_itself() {
    let (first, second) = (set("a", "1"), set("b", "2"));
    let mut harness = Harness::follower(long_interval(), &first);
    harness.pass(30 * SECOND);
    assert_eq!(
        harness.request(RequestedBy::HandleAlone),
        [Expected::Decide]
    );
    assert_eq!(harness.decided(false), [get("1")]);
    assert_eq!(
        harness.fetched(&second),
        [from_api(&second), Expected::Read]
    );
    assert_eq!(harness.read(Some(&first)), [Expected::LoadEnded]);
    // At most once a second.
    assert_eq!(harness.request(RequestedBy::HandleAlone), []);
    assert_eq!(harness.wait_time(), SECOND);

    // Without a provider.
    let mut alone = Harness::new(crate::lifecycle::Policy {
        has_provider: false,
        ..long_interval()
    });
    assert_eq!(alone.wait(), [GET]);
    assert_eq!(
        alone.fetched(&first),
        [from_api(&first), Expected::LoadEnded]
    );
    assert_eq!(alone.request(RequestedBy::HandleAlone), [get("1")]);
    // One that cannot ask.
    let mut reader = Harness::new(crate::lifecycle::Policy {
        can_fetch: false,
        ..long_interval()
    });
    assert_eq!(reader.wait(), [Expected::Read]);
    assert_eq!(
        reader.read(Some(&first)),
        [from_cache(&first), Expected::LoadEnded]
    );
    assert_eq!(reader.request(RequestedBy::HandleAlone), []);
}

#[test]
fn b12_84_a_store_that_fails_is_asked_three_times() {
    let first = set("a", "1");
    let mut harness = Harness::leader(long_interval(), &first);
    harness.pass(30 * SECOND);
    assert_eq!(harness.request(RequestedBy::Store), [Expected::Decide]);
    assert_eq!(harness.decision_failed(), [Expected::LoadEnded]);
    for wait in [SECOND, 2 * SECOND] {
        assert_eq!(harness.wait_time(), wait);
        assert_eq!(harness.wait(), [Expected::Decide]);
        assert_eq!(harness.decision_failed(), [Expected::LoadEnded]);
    }
    assert!(harness.wait_time() > 400 * SECOND);
}

#[test]
fn b12_84_in_manual_mode_only_the_own_handle_causes_a_load() {
    let first = set("a", "1");
    let mut harness = Harness::new(crate::lifecycle::Policy {
        manual: true,
        ..policy()
    });
    assert_eq!(harness.refresh(), [Expected::Decide]);
    assert_eq!(harness.decided(true), [Expected::Stored]);
    assert_eq!(harness.stored(None), [GET]);
    harness.fetched(&first);
    assert_eq!(harness.published(), [Expected::LoadEnded]);
    harness.pass(30 * SECOND);
    assert_eq!(harness.request(RequestedBy::Store), []);
    assert!(harness.machine.is_idle());
    assert_eq!(harness.request(RequestedBy::Handle), [Expected::Decide]);
    harness.unchanged_load("1");
    assert!(!harness.machine.is_idle(), "it asks again");
    for _ in 0..2 {
        assert_eq!(harness.wait(), [Expected::Decide]);
        harness.unchanged_load("1");
    }
    assert!(harness.machine.is_idle());
}
