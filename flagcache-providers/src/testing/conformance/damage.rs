//! What happens to a copy that another program changes.

use bytes::Bytes;
use flagcache_core::{FetchErrorKind, FetchOutcome, FlagDefinitionCacheData};

use super::TestStore;
use super::difference::{answer, difference};
use super::sample::numbered;
use super::worker::Worker;

const GARBAGE: [&str; 9] = [
    "garbage",
    "{}",
    "[]",
    "null",
    r#"{"flags":null}"#,
    r#"{"flags":"x"}"#,
    r#"{"flags":[1,2]}"#,
    r#"{"flags":[{"key":"half-wri"#,
    "\u{0}\u{1}",
];

/// B8 66: garbage in the store is an error, not a set, not an empty store, not a panic; and it does no harm to what is
/// stored after it.
pub async fn garbage_is_an_error(store: &dyn TestStore) {
    let (writer, reader) = (Worker::join(store), Worker::join(store));
    for (number, garbage) in (1..).zip(GARBAGE) {
        let data = numbered(number);
        writer.loads(&data).await;
        reader.assert_reads(&data, "a publish over garbage").await;
        damage(store, Some(garbage), &data).await;
        let copy = reader.tries_to_read().await;
        assert!(
            copy.is_err(),
            "{garbage:?} was put into the store, and it gives {} in place of an error",
            answer(&copy)
        );
        let copy = reader.tries_stored().await;
        let is_given = matches!(copy, Ok(Some(_)));
        assert!(
            !is_given,
            "{garbage:?} was put into the store, and a leader is given {}",
            answer(&copy)
        );
    }
}

/// B6 54: a copy without our metadata, as another SDK stores it, loads.
pub async fn copy_of_another_sdk_loads(store: &dyn TestStore) {
    const COPY: &str = r#"{"flags":[{"key":"theirs","active":true}],"groupTypeMapping":{"0":"company"},"cohorts":{}}"#;
    let (writer, reader) = (Worker::join(store), Worker::join(store));
    // A store that no worker has used may have nothing to replace, such as a row.
    let data = numbered(1);
    writer.loads(&data).await;
    damage(store, Some(COPY), &data).await;
    let copy = reader.tries_to_read().await;
    let loaded = copy
        .as_ref()
        .ok()
        .and_then(Option::as_ref)
        .is_some_and(|copy| {
            // Whatever ETag the store made up, the API never gave it for this content.
            copy.flag("theirs").is_some() && copy.etag().is_none()
        });
    assert!(
        loaded,
        "a copy that another SDK stored, with no ETag of the API, gives {}",
        answer(&copy)
    );
}

/// B8 63: a copy that was lost is back after the leader's next confirmation.
pub async fn unchanged_restores_a_lost_copy(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    let data = numbered(1);
    leader.loads(&data).await;
    damage(store, None, &data).await;
    leader.leads().await;
    leader
        .ends_without_update(FetchOutcome::unchanged(&data))
        .await;
    follower.assert_reads(&data, "lost, then confirmed").await;
}

/// B8 63: a copy that was lost is back after the leader's next load, though the API fails.
pub async fn failed_load_restores_a_lost_copy(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    let data = numbered(1);
    leader.loads(&data).await;
    damage(store, None, &data).await;
    leader.leads().await;
    leader
        .ends_without_update(FetchOutcome::failed(FetchErrorKind::Server, Some(&data)))
        .await;
    follower
        .assert_reads(&data, "lost, then a load that failed")
        .await;
}

/// B8 66: a copy that another program changed, into garbage or into a valid set, is replaced at the leader's next
/// confirmation.
pub async fn unchanged_replaces_a_damaged_copy(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    let data = numbered(1);
    for foreign in [r#"{"flags":[]}"#, r#"{"flags":[{"key":"half-wri"#] {
        leader.loads(&data).await;
        damage(store, Some(foreign), &data).await;
        leader.leads().await;
        leader
            .ends_without_update(FetchOutcome::unchanged(&data))
            .await;
        follower
            .assert_reads(&data, "damaged, then confirmed")
            .await;
    }
}

/// B8 63: a copy that is gone is `None`, though this worker has read it, or stored it, before.
pub async fn lost_copy_is_not_remembered(store: &dyn TestStore) {
    let (writer, reader) = (Worker::join(store), Worker::join(store));
    let data = numbered(1);
    writer.loads(&data).await;
    reader.follows().await;
    reader.assert_reads(&data, "after a publish").await;
    damage(store, None, &data).await;
    for (worker, who) in [
        (&reader, "the worker that has read it"),
        (&writer, "the worker that has stored it"),
    ] {
        worker.leads().await;
        let copy = worker.tries_to_read().await;
        assert!(
            !matches!(copy, Ok(Some(_))),
            "the copy is gone, and {who} still gives {}",
            answer(&copy)
        );
        let copy = worker.tries_stored().await;
        assert!(
            !matches!(copy, Ok(Some(_))),
            "the copy is gone, and {who} still gives a leader {}",
            answer(&copy)
        );
    }
}

/// Puts `foreign` in the place of `data`, and makes sure that it was done: by a worker that is new and so remembers nothing.
pub(super) async fn damage(
    store: &dyn TestStore,
    foreign: Option<&'static str>,
    data: &FlagDefinitionCacheData,
) {
    store
        .damage(foreign.map(|foreign| Bytes::from_static(foreign.as_bytes())))
        .await;
    let copy = Worker::join(store).tries_to_read().await;
    let is_unharmed =
        copy.is_ok_and(|copy| copy.is_some() && difference(copy.as_ref(), data).is_none());
    assert!(
        !is_unharmed,
        "the test rig is at fault, not the provider: `TestStore::damage` changed nothing, a new worker still reads the copy \
         that was there; a store with the capability `damage` implements it, for the row, key or file that its provider reads"
    );
}
