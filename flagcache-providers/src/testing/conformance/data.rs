//! What is stored comes back.

use super::TestStore;
use super::difference::{difference, metadata_difference};
use super::sample::{empty, large, numbered, rich};
use super::worker::Worker;

/// A store that holds nothing says so, and it is no error.
pub async fn empty_store_reads_none(store: &dyn TestStore) {
    let worker = Worker::join(store);
    assert!(
        worker.reads().await.is_none(),
        "an empty store gives a copy: no other store of the test may be this one"
    );
    assert!(
        worker.stored().await.is_none(),
        "an empty store has a copy for a leader"
    );
}

/// B6 50: unknown members, 64-bit integers and fractions come back byte for byte, to the writer and to the others, as often
/// as they are read.
pub async fn round_trip_is_exact(store: &dyn TestStore) {
    let (writer, reader) = (Worker::join(store), Worker::join(store));
    let data = rich();
    writer.loads(&data).await;
    for worker in [&reader, &reader, &writer] {
        let copy = worker.reads().await;
        let same = copy
            .as_ref()
            .is_some_and(|copy| copy.raw_json() == data.raw_json());
        let found = copy.as_ref().map_or(0, |copy| copy.raw_json().len());
        assert!(
            same,
            "{} bytes were stored, other {found} bytes came back: keep them as they are",
            data.raw_json().len()
        );
    }
}

/// B3 38: the ETag, byte for byte, the fetch time and the project travel with the set.
pub async fn metadata_travels(store: &dyn TestStore) {
    let (writer, reader) = (Worker::join(store), Worker::join(store));
    let data = rich();
    writer.loads(&data).await;
    let copy = reader.reads().await;
    let difference = metadata_difference(copy.as_ref(), &data);
    assert!(difference.is_none(), "{}", difference.unwrap_or_default());
}

/// B2 23: a set without flags is a set.
pub async fn empty_definitions_are_not_a_missing_copy(store: &dyn TestStore) {
    let (writer, reader) = (Worker::join(store), Worker::join(store));
    writer.loads(&empty()).await;
    let flags = reader.reads().await.map(|copy| copy.len());
    assert!(
        flags == Some(0),
        "a set without flags is not read back: store and read it as any other"
    );
}

/// Half a megabyte comes back whole.
pub async fn large_definitions_survive(store: &dyn TestStore) {
    let (writer, reader) = (Worker::join(store), Worker::join(store));
    let data = large(1, 512);
    writer.loads(&data).await;
    let copy = reader.tries_to_read().await;
    let same = copy
        .as_ref()
        .is_ok_and(|copy| copy.as_ref().is_some_and(|copy| copy.same_content(&data)));
    assert!(
        same,
        "a set of {} bytes did not come back whole",
        data.raw_json().len()
    );
}

/// The copy stays when its writer shuts down.
pub async fn copy_outlives_its_writer(store: &dyn TestStore) {
    let writer = Worker::join(store);
    let data = numbered(1);
    writer.loads(&data).await;
    writer.shuts_down().await;
    drop(writer);
    Worker::join(store)
        .assert_reads(&data, "after its writer's shutdown")
        .await;
}

/// B1 4: a new leader is given the copy with its ETag, so that its first request costs 1 unit.
pub async fn cold_leader_is_given_the_stored_copy(store: &dyn TestStore) {
    let (writer, cold) = (Worker::join(store), Worker::join(store));
    let data = numbered(1);
    writer.loads(&data).await;
    let copy = cold.stored().await;
    let difference = difference(copy.as_ref(), &data);
    assert!(
        difference.is_none(),
        "what a cold leader is given: {}",
        difference.unwrap_or_default()
    );
}
