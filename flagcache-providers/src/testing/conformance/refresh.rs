//! Requests for a refresh.

use std::time::Duration;

use tokio::time::timeout;

use super::TestStore;
use super::notifications::listen;
use super::worker::Worker;

/// B12 84: requests of any workers are taken as one, by the next decision of the leader.
pub async fn refresh_request_is_taken_once(store: &dyn TestStore) {
    let (leader, follower, other) = (
        Worker::join(store),
        Worker::join(store),
        Worker::join(store),
    );
    assert!(
        leader.leads().await,
        "the only worker that asked does not lead"
    );
    assert!(
        !leader.status().await.refresh_requested,
        "a request for a refresh was reported although there was none"
    );
    for worker in [&follower, &other, &leader, &follower] {
        worker.requests_refresh().await;
    }
    assert!(
        !follower.status().await.refresh_requested,
        "a worker that does not lead took the request: only the leader may"
    );
    assert!(
        leader.status().await.refresh_requested,
        "the leader's decision did not report the request for a refresh"
    );
    assert!(
        !leader.status().await.refresh_requested,
        "requests were reported by two decisions: the decision that reports them must remove them"
    );
}

/// B12 84: a request of another worker wakes the leader in time, by a notification or as a request.
pub async fn refresh_request_wakes_the_leader(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    listen(store, &leader, &follower).await;
    assert!(leader.leads().await, "the leader does not lead any more");
    let limit = store.notification_time();
    leader.is_quiet_for(Duration::from_millis(50), limit).await;
    follower.requests_refresh().await;
    assert!(
        timeout(limit, leader.is_woken()).await.is_ok(),
        "the leader was not woken within {limit:?} by a request for a refresh"
    );
}
