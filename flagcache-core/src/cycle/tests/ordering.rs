//! B3: what is newer wins, and the end.

use super::world::*;
use crate::cycle::{Event, Fetched};

#[test]
fn b3_34_a_result_of_an_earlier_load_is_ignored_and_its_error_too() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    for late in
        [Fetched::New(b.clone()), Fetched::Failed { failure: crate::FetchFailure::RateLimited, retry_after: None }]
    {
        let mut world = World::new(policy());
        world.wait();
        world.decided(false);
        assert_eq!(world.wait(), [GET]);
        assert_eq!(world.read(Some(&a)), [from_cache(&a), Word::CancelGet, Word::LoadEnded]);
        assert_eq!(world.answer(late), []);
        assert_eq!(world.cycle.last_failure(), None);
    }
    // Nor is it taken for the answer of the request that is under way by then.
    let mut world = World::new(policy());
    world.wait();
    world.decided(false);
    assert_eq!(world.wait(), [GET]);
    let late = world.generation();
    assert_eq!(world.read(Some(&a)), [from_cache(&a), Word::CancelGet, Word::LoadEnded]);
    world.wait();
    assert_eq!(world.decided(true), [get("1")]);
    assert_eq!(world.tell(Event::Fetched { generation: late, fetched: Fetched::New(b.clone()) }), []);
    assert_eq!(world.not_modified(), [UNCHANGED]);
}

#[test]
fn b3_35_a_304_counts_only_for_the_etag_that_was_sent() {
    // Sent without an ETag, answered 304: it says nothing about what memory holds.
    let bare = set("a", "");
    let b = set("b", "2");
    let mut world = World::leader(policy(), &bare);
    world.wait();
    assert_eq!(world.decided(true), [GET]);
    assert_eq!(world.not_modified(), [GET]);
    assert_eq!(world.fetched(&b), [from_api(&b), Word::Publish(b.clone())]);
}

#[test]
fn b3_37_a_copy_from_the_cache_brings_its_own_etag_or_none() {
    // A→B→A over a change of leader: led with A, followed to B, leads again after a roll-back.
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut world = World::leader(policy(), &a);
    world.wait();
    world.decided(false);
    assert_eq!(world.read(Some(&b)), [from_cache(&b), Word::LoadEnded]);
    world.wait();
    assert_eq!(world.decided(true), [get("2")], "never the ETag of A, which the API would answer with a 304");
    assert_eq!(world.fetched(&a), [from_api(&a), Word::Publish(a.clone())]);

    let bare = foreign(r#"{"flags":[{"key":"c"}]}"#);
    let mut world = World::leader(policy(), &a);
    world.wait();
    world.decided(false);
    world.read(Some(&bare));
    world.wait();
    assert_eq!(world.decided(true), [GET]);
}

#[test]
fn b3_38_a_new_leader_asks_with_the_etag_of_the_stored_copy() {
    let a = set("a", "1");
    let stored = crate::FlagDefinitionCacheData::from_json(a.to_json()).unwrap();
    let mut world = World::follower(policy(), &stored);
    world.wait();
    assert_eq!(world.decided(true), [get("1")]);
}

#[test]
fn b3_39_a_failed_publish_is_retried_without_a_refetch() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let mut world = World::leader(policy(), &a);
    world.wait();
    world.decided(true);
    world.fetched(&b);
    assert_eq!(world.publish_failed(), [Word::LoadEnded]);
    world.wait();
    assert_eq!(world.decided(true), [get("2")]);
    assert_eq!(world.not_modified(), [Word::Publish(b.clone())]);
    assert_eq!(world.published(), [UNCHANGED]);
    assert_eq!(world.tell(Event::Told), [Word::LoadEnded]);
    // Done: not again.
    world.wait();
    world.decided(true);
    assert_eq!(world.not_modified(), [UNCHANGED]);
}

#[test]
fn b3_39_also_while_the_api_fails_but_not_by_a_former_leader() {
    let (a, b) = (set("a", "1"), set("b", "2"));
    let unpublished = || {
        let mut world = World::leader(policy(), &a);
        world.wait();
        world.decided(true);
        world.fetched(&b);
        world.publish_failed();
        world
    };
    let mut world = unpublished();
    world.wait();
    world.decided(true);
    assert_eq!(world.fetch_failed(crate::FetchFailure::Server), [Word::Publish(b.clone())]);
    assert_eq!(world.published(), [told(crate::FetchFailure::Server)]);

    let mut world = unpublished();
    world.wait();
    world.decided(false);
    world.read(None);
    world.wait();
    world.decided(true);
    assert_eq!(world.not_modified(), [UNCHANGED], "it was another leader's turn meanwhile");
}

#[test]
fn b5_46_the_call_under_way_ends_before_shutdown_and_the_get_is_cut() {
    let a = set("a", "1");
    let mut world = World::leader(policy(), &a);
    world.wait();
    assert_eq!(world.tell(Event::Stop), []);
    assert_eq!(world.tell(Event::Stop), [], "asked twice");
    assert_eq!(world.decided(true), [Word::Shutdown]);
    assert_eq!(world.tell(Event::ShutDown), [Word::Ended]);
    assert_eq!(world.refresh(), []);
    assert_eq!(world.cycle.deadline(), None);

    let mut world = World::leader(policy(), &a);
    world.wait();
    world.decided(true);
    assert_eq!(world.tell(Event::Stop), [Word::CancelGet, Word::Shutdown]);
    assert_eq!(world.not_modified(), []);
}
