//! What a provider must withstand.

use std::time::Duration;

use flagcache_core::FetchOutcome;
use tokio::time::timeout;

use super::TestStore;
use super::sample::numbered;
use super::worker::Worker;
use crate::testing::ProviderMethod;

/// B4 41: a call of any method that is dropped before it ends leaves the store usable, for this worker and for the others.
pub async fn cancelled_calls_do_no_harm(store: &dyn TestStore) {
    // Zero polls the call once.
    let cuts = [0, 0, 1, 3, 10].map(Duration::from_millis);
    let (worker, reader) = (Worker::join(store), Worker::join(store));
    for (number, method) in (1..).zip(
        ProviderMethod::ASYNC
            .into_iter()
            .filter(|method| *method != ProviderMethod::Shutdown),
    ) {
        // Each of another length.
        let data = numbered(10_u64.pow(number));
        for cut in cuts {
            // What only a leader does is cut too.
            worker.recovers().await;
            let provider = worker.provider();
            let _ = match method {
                ProviderMethod::ShouldFetch => {
                    timeout(cut, provider.should_fetch_flag_definitions())
                        .await
                        .is_ok()
                }
                ProviderMethod::Get => timeout(cut, provider.get_flag_definitions()).await.is_ok(),
                ProviderMethod::Peek => {
                    timeout(cut, provider.peek_flag_definitions()).await.is_ok()
                }
                ProviderMethod::FetchWithoutUpdate => timeout(
                    cut,
                    provider.on_fetch_without_update(FetchOutcome::unchanged(&data)),
                )
                .await
                .is_ok(),
                _ => timeout(cut, provider.on_flag_definitions_received(&data))
                    .await
                    .is_ok(),
            };
        }
        worker.recovers().await;
        worker.publishes_once_free(&data).await;
        reader
            .assert_reads(&data, &format!("after calls of {method} that were cut"))
            .await;
    }
    worker.shuts_down().await;
    for cut in [0, 3].map(Duration::from_millis) {
        let ending = Worker::join(store);
        ending.recovers().await;
        let _ = timeout(cut, ending.provider().shutdown()).await;
        drop(ending);
        // It is answered; whether it leads yet is a matter of the lease.
        let next = Worker::join(store);
        next.recovers().await;
        next.reads().await;
        next.shuts_down().await;
    }
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
