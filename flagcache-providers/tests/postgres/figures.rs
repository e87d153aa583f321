//! What a tick costs, and how soon a change is seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::server::Postgres;
use crate::sets::fetched;
use crate::worker::Worker;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b11_82_sixteen_cold_workers_elect_one() {
    let server = Postgres::start();
    let workers: Vec<Worker> = (0..16).map(|_| Worker::of(&server.url())).collect();
    let asked = futures_util::future::join_all(workers.iter().map(Worker::tries_to_lead)).await;
    let leaders = asked
        .iter()
        .filter(|answer| matches!(answer, Ok(true)))
        .count();
    assert_eq!(leaders, 1, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b11_82_a_change_is_seen_by_notification_within_a_tenth_of_a_second() {
    let server = Postgres::start();
    let ttl = Duration::from_secs(10);
    let leader = Worker::with_lease(&server.url(), ttl);
    let follower = Worker::with_lease(&server.url(), ttl);
    assert!(leader.leads().await);
    leader.publishes_until_heard(&follower).await;
    let mut delays = Vec::new();
    for number in 0..100 {
        let data = fetched("beta", &format!("\"{number}\""), 500 - number);
        assert!(leader.leads().await);
        let begin = Instant::now();
        leader.publishes(&data).await.unwrap();
        assert!(follower.is_notified_within(Duration::from_secs(2)).await);
        follower.leads().await;
        assert_eq!(follower.reads().await.unwrap().etag(), data.etag());
        delays.push(begin.elapsed());
    }
    delays.sort();
    println!(
        "from publish to read: median {:?}, p99 {:?}",
        delays[50], delays[98]
    );
    // Beside whatever else runs here; alone it is some milliseconds.
    assert!(delays[50] <= Duration::from_millis(100), "{:?}", delays[50]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b11_82_an_unchanged_tick_costs_the_same_few_bytes_at_any_size() {
    const TICKS: u64 = 20;
    let server = Postgres::start();
    let wire = Wire::to(server.port()).await;
    let url = server
        .url()
        .replace(&server.port().to_string(), &wire.port.to_string());
    for size in [10_000, 2_000_000] {
        let leader = Worker::with_lease(&server.url(), Duration::from_secs(600));
        let follower = Worker::with_lease(&url, Duration::from_secs(600));
        assert!(leader.leads().await);
        let data = fetched(&"x".repeat(size), "\"1\"", 0);
        leader.publishes(&data).await.unwrap();
        // Until it listens, has read the copy, and nothing is under way any more.
        follower
            .drain_notifications(Duration::from_millis(500))
            .await;
        follower.leads().await;
        assert!(follower.reads().await.unwrap().same_content(&data));
        let before = wire.bytes.load(Ordering::Relaxed);
        for _ in 0..TICKS {
            assert!(!follower.leads().await);
            follower.reads().await.unwrap();
        }
        let tick = (wire.bytes.load(Ordering::Relaxed) - before) / TICKS;
        println!("an unchanged tick at {size} bytes: {tick} bytes in both directions");
        assert!(tick <= 700, "{tick} bytes at {size}");
        leader.shuts_down().await;
    }
}

/// A way to the server that counts what goes over it.
struct Wire {
    port: u16,
    bytes: Arc<AtomicU64>,
}

impl Wire {
    async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&bytes);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let (near, far) = (near.into_split(), far.into_split());
                tokio::spawn(copy(near.0, far.1, Arc::clone(&counter)));
                tokio::spawn(copy(far.0, near.1, Arc::clone(&counter)));
            }
        });
        Self { port, bytes }
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, counter: Arc<AtomicU64>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        counter.fetch_add(count as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}
