//! What a provider must bear.

use std::time::Duration;

use flagcache_core::FetchOutcome;
use tokio::time::timeout;

use super::TestStore;
use super::sample::numbered;
use super::worker::Worker;

/// B4 41: a call that is dropped where it stands leaves the store usable, for this worker and for the others.
pub async fn cancelled_calls_do_no_harm(store: &dyn TestStore) {
    let (worker, reader) = (Worker::join(store), Worker::join(store));
    let data = numbered(1);
    // Zero polls the call once.
    for cut in [0, 0, 1, 3, 10].map(Duration::from_millis) {
        let provider = worker.provider();
        let _ = timeout(cut, provider.should_fetch_flag_definitions()).await;
        let _ = timeout(cut, provider.on_flag_definitions_received(&data)).await;
        let _ = timeout(cut, provider.get_flag_definitions()).await;
        let _ = timeout(cut, provider.peek_flag_definitions()).await;
        let _ = timeout(
            cut,
            provider.on_fetch_without_update(FetchOutcome::unchanged(&data)),
        )
        .await;
    }
    worker.recovers().await;
    worker.loads(&data).await;
    reader
        .assert_reads(&data, "after calls that were cut")
        .await;
    worker.shuts_down().await;
}

/// B5 45: shutdown is sound though nothing was ever called, attached to a poller or not.
pub async fn unused_provider_shuts_down(store: &dyn TestStore) {
    Worker::join(store).shuts_down().await;
    let shut_down = store.provider().shutdown().await;
    assert!(
        shut_down.is_ok(),
        "shutdown of a provider that was never attached failed: {shut_down:?}"
    );
}

/// B5 49: a provider that is in use can be dropped outside a runtime.
pub async fn drop_outside_a_runtime(store: &dyn TestStore) {
    let worker = Worker::join(store);
    worker.loads(&numbered(1)).await;
    let dropped = std::thread::spawn(move || drop(worker)).join();
    assert!(
        dropped.is_ok(),
        "dropping a provider outside a runtime panicked"
    );
}
