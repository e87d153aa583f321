//! B3: ordering of results. B5: shutdown.

use super::harness::*;
use crate::lifecycle::{Event, Fetched};

#[test]
fn b3_34_a_result_of_an_earlier_load_is_ignored_and_its_error_too() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    for late in [
        Fetched::New(b.clone()),
        Fetched::Failed {
            failure: crate::FetchErrorKind::RateLimited,
            retry_after: None,
        },
    ] {
        let mut harness = Harness::new(policy());
        harness.wait();
        harness.decided(false);
        assert_eq!(harness.wait(), [GET]);
        assert_eq!(
            harness.read(Some(&a)),
            [from_cache(&a), Expected::CancelGet, Expected::LoadEnded]
        );
        assert_eq!(harness.answer(late), []);
        assert_eq!(harness.machine.last_failure(), None);
    }
    // Nor is it taken for the answer to the request in progress.
    let mut harness = Harness::new(policy());
    harness.wait();
    harness.decided(false);
    assert_eq!(harness.wait(), [GET]);
    let late = harness.generation();
    assert_eq!(
        harness.read(Some(&a)),
        [from_cache(&a), Expected::CancelGet, Expected::LoadEnded]
    );
    harness.wait();
    assert_eq!(harness.decided(true), [get("1")]);
    assert_eq!(
        harness.handle(Event::Fetched {
            generation: late,
            fetched: Fetched::New(b.clone())
        }),
        []
    );
    assert_eq!(harness.not_modified(), [UNCHANGED]);
}

#[test]
fn b3_35_a_304_counts_only_for_the_etag_that_was_sent() {
    // Sent without an ETag, answered 304: the answer does not refer to the definitions in memory.
    let bare = set("a", "");
    let b = set("b", "2");
    let mut harness = Harness::leader(policy(), &bare);
    harness.wait();
    assert_eq!(harness.decided(true), [GET]);
    assert_eq!(harness.not_modified(), [GET]);
    assert_eq!(
        harness.fetched(&b),
        [from_api(&b), Expected::Publish(b.clone())]
    );
}

#[test]
fn b3_37_a_copy_from_the_cache_brings_its_own_etag_or_none() {
    // A→B→A over a change of leader: fetched A as leader, read B as follower, leads again after a roll-back.
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut harness = Harness::leader(policy(), &a);
    harness.wait();
    harness.decided(false);
    assert_eq!(
        harness.read(Some(&b)),
        [from_cache(&b), Expected::LoadEnded]
    );
    harness.wait();
    assert_eq!(
        harness.decided(true),
        [get("2")],
        "never the ETag of A, which the API would answer with a 304"
    );
    assert_eq!(
        harness.fetched(&a),
        [from_api(&a), Expected::Publish(a.clone())]
    );

    let bare = foreign(r#"{"flags":[{"key":"c"}]}"#);
    let mut harness = Harness::leader(policy(), &a);
    harness.wait();
    harness.decided(false);
    harness.read(Some(&bare));
    harness.wait();
    assert_eq!(harness.decided(true), [GET]);
}

#[test]
fn b3_38_a_new_leader_asks_with_the_etag_of_the_stored_copy() {
    let a = set("a", "1");
    let stored = crate::FlagDefinitionCacheData::from_json(a.to_json()).unwrap();
    let mut harness = Harness::follower(policy(), &stored);
    harness.wait();
    assert_eq!(harness.decided(true), [get("1")]);
}

#[test]
fn b3_39_a_failed_publish_is_retried_without_a_refetch() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut harness = Harness::leader(policy(), &a);
    harness.wait();
    harness.decided(true);
    harness.fetched(&b);
    assert_eq!(harness.publish_failed(), [Expected::LoadEnded]);
    harness.wait();
    assert_eq!(harness.decided(true), [get("2")]);
    assert_eq!(harness.not_modified(), [Expected::Publish(b.clone())]);
    assert_eq!(harness.published(), [UNCHANGED]);
    assert_eq!(harness.handle(DONE), [Expected::LoadEnded]);
    // Published: not again.
    harness.wait();
    harness.decided(true);
    assert_eq!(harness.not_modified(), [UNCHANGED]);
}

#[test]
fn b3_39_a_failed_publish_is_retried_while_the_api_fails_but_not_by_a_former_leader() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let unpublished = || {
        let mut harness = Harness::leader(policy(), &a);
        harness.wait();
        harness.decided(true);
        harness.fetched(&b);
        harness.publish_failed();
        harness
    };
    let mut harness = unpublished();
    harness.wait();
    harness.decided(true);
    assert_eq!(
        harness.fetch_failed(crate::FetchErrorKind::Server),
        [Expected::Publish(b.clone())]
    );
    assert_eq!(
        harness.published(),
        [reported(crate::FetchErrorKind::Server)]
    );

    let mut harness = unpublished();
    harness.wait();
    harness.decided(false);
    harness.read(None);
    harness.wait();
    harness.decided(true);
    assert_eq!(
        harness.not_modified(),
        [UNCHANGED],
        "another worker led meanwhile"
    );
}

#[test]
fn b5_46_the_call_under_way_ends_before_shutdown_and_the_get_is_cut() {
    let a = set("a", "1");
    let mut harness = Harness::leader(policy(), &a);
    harness.wait();
    assert_eq!(harness.handle(Event::Stop), []);
    assert_eq!(harness.handle(Event::Stop), [], "requested twice");
    assert_eq!(harness.decided(true), [Expected::Shutdown]);
    assert_eq!(harness.handle(DONE), [Expected::Ended]);
    assert_eq!(harness.refresh(), []);
    assert_eq!(harness.machine.deadline(), None);

    let mut harness = Harness::leader(policy(), &a);
    harness.wait();
    harness.decided(true);
    assert_eq!(
        harness.handle(Event::Stop),
        [Expected::CancelGet, Expected::Shutdown]
    );
    assert_eq!(harness.not_modified(), []);
}
