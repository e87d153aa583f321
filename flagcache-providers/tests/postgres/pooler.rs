//! Through PgBouncer in transaction mode.

use std::time::Duration;

use flagcache_core::FetchOutcome;

use crate::server::{Pooler, Postgres};
use crate::sets::fetched;
use crate::worker::Worker;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b11_82_everything_but_notifications_works_through_a_pooler() {
    let server = Postgres::start();
    let pooler = Pooler::start(&server);
    let workers: Vec<Worker> = (0..8).map(|_| Worker::of(&pooler.url())).collect();
    let leading = futures_util::future::join_all(workers.iter().map(Worker::leads)).await;
    assert_eq!(leading.iter().filter(|leads| **leads).count(), 1);
    let at = leading.iter().position(|leads| *leads).unwrap();
    for number in 0..20 {
        let data = fetched("beta", &format!("\"{number}\""), 100 - number);
        assert!(workers[at].leads().await);
        workers[at].publishes(&data).await.unwrap();
        for worker in &workers {
            worker.leads().await;
            assert_eq!(worker.reads().await.unwrap().etag(), data.etag());
        }
        workers[at].leads().await;
        workers[at]
            .hears(FetchOutcome::unchanged(&data))
            .await
            .unwrap();
    }
    workers[at].shuts_down().await;
    let next = &workers[(at + 1) % workers.len()];
    assert!(next.leads_within(Duration::from_secs(2)).await.is_some());
}
