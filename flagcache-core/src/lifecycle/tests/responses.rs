//! B2: how the poller processes the API's answers.

use std::time::Duration;

use super::harness::*;
use crate::lifecycle::{Event, Fetched, Policy, Reply, Step};
use crate::{FetchErrorKind, FleetStatus, OnQuotaLimited, OnUnauthorized};

/// The leader's next load, with this answer.
fn load(harness: &mut Harness, fetched: Fetched) -> Vec<Expected> {
    loop {
        assert_eq!(harness.wait(), [Expected::Decide]);
        if matches!(harness.decided(true)[..], [Expected::Get(_)]) {
            return harness.answer(fetched);
        }
        // Within the backoff: the last failure is reported again.
        assert_eq!(harness.handle(DONE), [Expected::LoadEnded]);
    }
}

fn failed(failure: FetchErrorKind) -> Fetched {
    Fetched::Failed {
        failure,
        retry_after: None,
    }
}

/// The times between a leader's requests while the API answers with this failure.
fn distances(failure: FetchErrorKind, retry_after: Option<Duration>, n: usize) -> Vec<Duration> {
    let mut harness = Harness::leader(policy(), &set("a", "1"));
    let mut times = Vec::new();
    while times.len() <= n {
        load(
            &mut harness,
            Fetched::Failed {
                failure,
                retry_after,
            },
        );
        times.push(harness.now);
        assert_eq!(harness.handle(DONE), [Expected::LoadEnded]);
    }
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn b2_19_the_etag_is_kept_byte_for_byte_and_cleared_with_a_200_without_one() {
    let mut harness = Harness::leader(policy(), &set("a", "W/\"x y\""));
    harness.wait();
    assert_eq!(harness.decided(true), [get("W/\"x y\"")]);
    let bare = set("b", "");
    assert_eq!(
        harness.fetched(&bare),
        [from_api(&bare), Expected::Publish(bare.clone())]
    );
    harness.published();
    harness.wait();
    assert_eq!(harness.decided(true), [GET]);
}

#[test]
fn b2_22_an_unusable_200_backs_off_from_the_first() {
    let distances = distances(FetchErrorKind::Unusable, None, 3);
    assert!(distances[0] >= INTERVAL * 2, "{distances:?}");
}

#[test]
fn b2_25_a_304_is_a_success_and_replaces_the_etag_only_if_it_carries_one() {
    let a = set("a", "1");
    let mut harness = Harness::leader(policy(), &a);
    load(&mut harness, failed(FetchErrorKind::RateLimited));
    harness.handle(DONE);
    assert_eq!(
        load(&mut harness, Fetched::NotModified { etag: None }),
        [UNCHANGED]
    );
    assert_eq!(harness.machine.backoff(harness.now), Duration::ZERO);
    assert_eq!(harness.machine.last_failure(), None);
    harness.handle(DONE);
    let renamed = a.with_etag(Some("2"));
    let answer = load(
        &mut harness,
        Fetched::NotModified {
            etag: Some("2".to_owned()),
        },
    );
    assert_eq!(answer, [from_api(&renamed), UNCHANGED]);
    harness.handle(DONE);
    harness.wait();
    assert_eq!(harness.decided(true), [get("2")]);
}

#[test]
fn b2_26_a_304_without_memory_is_repeated_once_unconditionally() {
    let a = set("a", "1");
    let mut harness = Harness::new(policy());
    harness.wait();
    harness.decided(true);
    assert_eq!(harness.stored(None), [GET]);
    assert_eq!(harness.not_modified(), [GET]);
    assert_eq!(
        harness.fetched(&a),
        [from_api(&a), Expected::Publish(a.clone())]
    );

    let mut harness = Harness::new(policy());
    harness.wait();
    harness.decided(true);
    harness.stored(None);
    harness.not_modified();
    assert_eq!(
        harness.not_modified(),
        [Expected::Read],
        "once: a second one is a failure"
    );
}

#[test]
fn b2_26_clearing_the_definitions_clears_the_etag() {
    let a = set("a", "1");
    let mut harness = Harness::leader(
        Policy {
            on_unauthorized: OnUnauthorized::Clear,
            ..policy()
        },
        &a,
    );
    let steps_down = Expected::Report {
        failure: Some(FetchErrorKind::Unauthorized),
        has_data: false,
        steps_down: true,
    };
    assert_eq!(
        load(&mut harness, failed(FetchErrorKind::Unauthorized)),
        [Expected::Clear, steps_down]
    );
    harness.handle(DONE);
    harness.pass(INTERVAL * 8);
    harness.wait();
    assert_eq!(
        harness.decided(true),
        [GET],
        "and the stored copy, which is what was cleared, is not asked for"
    );
}

#[test]
fn b2_27_every_leader_load_without_new_definitions_is_reported_once() {
    let a = set("a", "1");
    let mut harness = Harness::leader(policy(), &a);
    assert_eq!(
        load(&mut harness, Fetched::NotModified { etag: None }),
        [UNCHANGED]
    );
    assert_eq!(harness.handle(DONE), [Expected::LoadEnded]);
    assert_eq!(
        load(&mut harness, failed(FetchErrorKind::Server)),
        [reported(FetchErrorKind::Server)]
    );
    assert_eq!(harness.handle(DONE), [Expected::LoadEnded]);
    assert_eq!(
        load(&mut harness, failed(FetchErrorKind::RateLimited)),
        [reported(FetchErrorKind::RateLimited)]
    );
    assert_eq!(harness.handle(DONE), [Expected::LoadEnded]);
    // During the backoff it still leads, and the store can restore its copy.
    assert_eq!(harness.wait(), [Expected::Decide]);
    assert_eq!(
        harness.decided(true),
        [reported(FetchErrorKind::RateLimited)]
    );
}

#[test]
fn b2_28_unauthorized_keeps_by_default_and_backs_off() {
    let a = set("a", "1");
    let mut harness = Harness::leader(policy(), &a);
    load(&mut harness, failed(FetchErrorKind::Unauthorized));
    assert_eq!(
        harness.machine.refusal(),
        Some(FetchErrorKind::Unauthorized)
    );
    let backoff = harness.machine.backoff(harness.now);
    assert!(
        backoff >= INTERVAL && backoff <= INTERVAL * 2,
        "{backoff:?}"
    );
    harness.handle(DONE);
    // Another worker has good keys: a worker that follows it is not refused any more.
    harness.wait();
    harness.decided(false);
    harness.read(Some(&a));
    assert_eq!(harness.machine.refusal(), None);
}

#[test]
fn b2_29_a_402_keeps_by_default_clears_by_choice_and_reaches_the_fleet() {
    let a = set("a", "1");
    let mut harness = Harness::leader(policy(), &a);
    assert_eq!(
        load(&mut harness, failed(FetchErrorKind::QuotaLimited)),
        [reported(FetchErrorKind::QuotaLimited)]
    );
    assert_eq!(
        harness.machine.refusal(),
        Some(FetchErrorKind::QuotaLimited)
    );
    assert!(harness.machine.backoff(harness.now) >= INTERVAL * 2);

    let mut leader = Harness::leader(
        Policy {
            on_quota_limited: OnQuotaLimited::Clear,
            ..policy()
        },
        &a,
    );
    let unserved = Expected::Report {
        failure: Some(FetchErrorKind::QuotaLimited),
        has_data: false,
        steps_down: false,
    };
    assert_eq!(
        load(&mut leader, failed(FetchErrorKind::QuotaLimited)),
        [Expected::Clear, unserved]
    );

    let limited = || {
        FleetStatus::new()
            .quota_limited(true)
            .confirmed_ago(INTERVAL)
    };
    let mut follower = Harness::follower(policy(), &a);
    follower.wait();
    follower.report(limited());
    follower.decided(false);
    assert_eq!(follower.read(Some(&a)), [Expected::LoadEnded]);
    assert_eq!(
        follower.machine.refusal(),
        Some(FetchErrorKind::QuotaLimited)
    );

    let mut follower = Harness::follower(
        Policy {
            on_quota_limited: OnQuotaLimited::Clear,
            ..policy()
        },
        &a,
    );
    follower.wait();
    follower.report(limited());
    follower.decided(false);
    assert_eq!(
        follower.read(Some(&a)),
        [Expected::Clear, Expected::LoadEnded]
    );
    // Still limited: nothing comes back. Lifted: the leader has confirmed the copy since.
    follower.wait();
    follower.report(limited());
    follower.decided(false);
    assert_eq!(follower.read(Some(&a)), [Expected::LoadEnded]);
    follower.wait();
    follower.report(FleetStatus::new().confirmed_ago(Duration::ZERO));
    follower.decided(false);
    assert_eq!(
        follower.read(Some(&a)),
        [from_cache(&a), Expected::LoadEnded]
    );
}

#[test]
fn b2_30_the_backoff_doubles_from_the_interval_to_its_cap_and_a_success_resets_it() {
    let distances = distances(FetchErrorKind::RateLimited, None, 5);
    for (distance, doublings) in distances.iter().zip([2, 4, 8, 8, 8]) {
        let backoff = INTERVAL * doublings;
        assert!(
            *distance >= backoff && *distance <= backoff.mul_f64(1.1) + INTERVAL,
            "{distances:?}"
        );
    }
    let mut harness = Harness::leader(policy(), &set("a", "1"));
    for _ in 0..3 {
        load(&mut harness, failed(FetchErrorKind::RateLimited));
        harness.handle(DONE);
    }
    load(&mut harness, Fetched::NotModified { etag: None });
    harness.handle(DONE);
    load(&mut harness, failed(FetchErrorKind::RateLimited));
    let backoff = harness.machine.backoff(harness.now);
    assert!(
        backoff >= INTERVAL * 2 && backoff <= INTERVAL.mul_f64(2.2),
        "{backoff:?}"
    );
}

#[test]
fn b2_30_retry_after_is_honoured_where_it_is_longer() {
    let long = distances(
        FetchErrorKind::RateLimited,
        Some(Duration::from_secs(500)),
        1,
    );
    assert!(long[0] >= Duration::from_secs(500), "{long:?}");
    let short = distances(FetchErrorKind::RateLimited, Some(Duration::from_secs(1)), 1);
    assert!(short[0] >= INTERVAL * 2, "{short:?}");
}

#[test]
fn b2_30_a_refresh_does_not_bypass_the_backoff_and_a_reader_inherits_none() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut harness = Harness::leader(policy(), &a);
    load(&mut harness, failed(FetchErrorKind::RateLimited));
    harness.handle(DONE);
    assert_eq!(harness.refresh(), [Expected::Decide]);
    assert_eq!(
        harness.decided(true),
        [reported(FetchErrorKind::RateLimited)]
    );
    harness.handle(DONE);
    // It loses leadership, and reads at its ticks like any follower.
    assert!(harness.wait_time() <= INTERVAL.mul_f64(2.2));
    harness.refresh();
    harness.decided(false);
    assert_eq!(
        harness.read(Some(&b)),
        [from_cache(&b), Expected::LoadEnded]
    );
    assert!(harness.wait_time() <= INTERVAL.mul_f64(1.1));
}

#[test]
fn b2_31_transient_faults_back_off_from_the_second() {
    for failure in [
        FetchErrorKind::Server,
        FetchErrorKind::Timeout,
        FetchErrorKind::Rejected,
    ] {
        let distances = distances(failure, None, 2);
        assert!(
            distances[0] <= INTERVAL.mul_f64(1.1),
            "{failure}: {distances:?}"
        );
        assert!(
            distances[1] >= INTERVAL && distances[1] <= INTERVAL * 2,
            "{failure}: {distances:?}"
        );
    }
}

#[test]
fn b2_30_only_a_leaders_tick_just_before_the_end_of_its_backoff_waits_for_that_end() {
    let a = set("a", "1");
    let asked = |seconds| Fetched::Failed {
        failure: FetchErrorKind::Server,
        retry_after: Some(Duration::from_secs(seconds)),
    };
    // The backoff ends before one and a half intervals, or later.
    for (seconds, waits) in [(40, true), (44, true), (46, false), (300, false)] {
        let mut harness = Harness::leader(policy(), &a);
        load(&mut harness, asked(seconds));
        harness.handle(DONE);
        let wait = harness.wait_time();
        let tick = INTERVAL.mul_f64(0.9)..=INTERVAL.mul_f64(1.1);
        assert_eq!(
            wait == Duration::from_secs(seconds),
            waits,
            "{seconds}: {wait:?}"
        );
        assert_eq!(tick.contains(&wait), !waits, "{seconds}: {wait:?}");
    }
    // A follower has to read meanwhile.
    let mut harness = Harness::follower(policy(), &a);
    harness.fetch_in_outage();
    harness.answer(asked(40));
    let wait = harness.wait_time();
    assert!(wait <= INTERVAL.mul_f64(1.1), "{wait:?}");
}

#[test]
fn b2_31_without_a_provider_the_tick_waits_for_the_backoff() {
    let a = set("a", "1");
    let mut harness = Harness::new(Policy {
        has_provider: false,
        ..policy()
    });
    harness.wait();
    harness.fetched(&a);
    harness.wait();
    assert_eq!(
        harness.fetch_failed(FetchErrorKind::RateLimited),
        [Expected::LoadEnded]
    );
    assert!(harness.wait_time() >= INTERVAL * 2);
    assert_eq!(harness.wait(), [get("1")]);
}

#[test]
fn b1_16_a_load_says_whether_it_ticked_and_whether_it_left_its_worker_unserved() {
    let a = set("a", "1");
    let ended = |harness: &mut Harness, event| match harness
        .machine
        .handle(harness.now, event)
        .as_slice()
    {
        [.., Step::LoadEnded { ticked, unserved }] => (*ticked, *unserved),
        other => panic!("{other:?}"),
    };
    let limited = || failed(FetchErrorKind::RateLimited);
    let mut harness = Harness::leader(policy(), &a);
    load(&mut harness, limited());
    assert_eq!(ended(&mut harness, DONE), (true, true));
    // Suppressed by the backoff, on demand: the same.
    assert_eq!(harness.refresh(), [Expected::Decide]);
    assert_eq!(
        harness.decided(true),
        [reported(FetchErrorKind::RateLimited)]
    );
    assert_eq!(ended(&mut harness, DONE), (false, true));
    // A follower that fetched because its store failed still has its definitions.
    let mut harness = Harness::follower(policy(), &a);
    harness.fetch_in_outage();
    let fetched = Event::Fetched {
        generation: harness.generation(),
        fetched: limited(),
    };
    assert_eq!(ended(&mut harness, fetched), (true, false));
    // Without definitions there is no fallback.
    let mut harness = Harness::new(policy());
    harness.wait();
    harness.decision_failed();
    harness.stored(None);
    harness.answer(limited());
    assert_eq!(
        ended(&mut harness, Event::Replied(Reply::Definitions(Ok(None)))),
        (true, true)
    );
    // A success is not unserved either.
    let mut harness = Harness::leader(policy(), &a);
    harness.wait();
    harness.decided(true);
    harness.not_modified();
    assert_eq!(ended(&mut harness, DONE), (true, false));
}
