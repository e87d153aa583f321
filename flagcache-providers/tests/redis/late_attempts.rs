//! Attempts to acquire leadership that reach the server after their worker has stopped waiting for the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use flagcache_providers::redis::{RedisStore, RedisStoreBuilder};
use flagcache_test_support::{RedisServer, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::worker::{LOCK, SERVICE, Worker, builder};

const SECOND: Duration = Duration::from_secs(1);
const A_DAY_IN_MS: i64 = 86_400_000;

/// Locks that no stall of a busy machine outlasts, so that only attempts run scripts, and nothing ends meanwhile.
fn lasting(builder: RedisStoreBuilder) -> RedisStoreBuilder {
    builder.lock_ttl(300 * SECOND)
}

/// How many scripts the server has run.
fn scripts_run(server: &RedisServer) -> u64 {
    let stats = server.run::<String>("INFO commandstats");
    let calls = stats.lines().find_map(|line| {
        line.strip_prefix("cmdstat_evalsha:calls=")?
            .split(',')
            .next()
    });
    calls.map_or(0, |calls| calls.parse().unwrap())
}

fn lock(server: &RedisServer) -> Option<String> {
    server.run(&format!("GET {LOCK}"))
}

fn free(server: &RedisServer) {
    server.run::<()>(&format!("DEL {LOCK}"));
}

/// The worker attempts to acquire leadership, and ends while the server hangs. Then the server resumes, and runs the script.
async fn attempts_and_ends_while_it_hangs(worker: Worker, server: &RedisServer) {
    let before = scripts_run(server);
    server.hang();
    worker.decide().await.unwrap_err();
    drop(worker);
    server.resume();
    eventually("the late attempt was run", 20 * SECOND, async || {
        scripts_run(server) > before
    })
    .await;
}

#[tokio::test]
async fn b8_64_the_last_attempt_of_a_worker_that_ended_while_the_server_hung_acquires_nothing() {
    let server = RedisServer::start();
    let worker = Worker::with(lasting(builder(&server)));
    assert!(worker.leads().await);
    free(&server);
    attempts_and_ends_while_it_hangs(worker, &server).await;
    assert_eq!(lock(&server), None);
    assert!(Worker::of(&server).leads().await, "no lock is in the way");
}

#[tokio::test]
async fn b8_64_the_last_attempt_of_a_worker_that_ended_while_the_server_hung_extends_no_lock() {
    let server = RedisServer::start();
    let worker = Worker::with(lasting(builder(&server)));
    assert!(worker.leads().await);
    let before = lock(&server);
    server.run::<()>(&format!("PEXPIRE {LOCK} 200000"));
    attempts_and_ends_while_it_hangs(worker, &server).await;
    assert_eq!(lock(&server), before);
    let left = server.run::<i64>(&format!("PTTL {LOCK}"));
    assert!(left <= 200_000, "{left}");
}

/// A server whose clock shows another time in every answer to an attempt.
struct OtherClock {
    port: u16,
    ahead: Arc<AtomicI64>,
}

impl OtherClock {
    async fn of(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ahead = Arc::new(AtomicI64::new(0));
        let (server, shown) = (server.port(), Arc::clone(&ahead));
        tokio::spawn(async move {
            while let Ok((worker, _)) = listener.accept().await {
                tokio::spawn(carry(worker, server, Arc::clone(&shown)));
            }
        });
        Self { port, ahead }
    }

    fn show_ahead_by(&self, millis: i64) {
        self.ahead.store(millis, Ordering::SeqCst);
    }
}

async fn carry(worker: TcpStream, server: u16, ahead: Arc<AtomicI64>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    let (mut from_worker, mut to_worker) = worker.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = async move {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = from_server.read(&mut bytes).await {
            let answer = with_clock_ahead(&bytes[..length], ahead.load(Ordering::SeqCst));
            if to_worker.write_all(&answer).await.is_err() {
                return;
            }
        }
    };
    let _ = tokio::join!(tokio::io::copy(&mut from_worker, &mut to_server), answers);
}

/// The only number of an answer that has thirteen digits is the time.
fn with_clock_ahead(answer: &[u8], ahead: i64) -> Vec<u8> {
    let moved = |line: &[u8]| {
        let digits = line
            .strip_prefix(b":")
            .filter(|digits| digits.len() == 13)?;
        let millis: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(format!(":{}", millis + ahead).into_bytes())
    };
    let lines = answer
        .split(|&byte| byte == b'\n')
        .map(|line| match line.strip_suffix(b"\r") {
            Some(line) => [moved(line).unwrap_or_else(|| line.to_vec()), b"\r".to_vec()].concat(),
            None => line.to_vec(),
        });
    lines.collect::<Vec<_>>().join(&b'\n')
}

#[tokio::test]
async fn clock_steps_and_another_servers_clock_prevent_no_leader() {
    let server = RedisServer::start();
    let other = OtherClock::of(&server).await;
    let url = format!("redis://127.0.0.1:{}", other.port);
    let worker = Worker::with(lasting(RedisStore::builder(url, SERVICE)));
    worker.read().await.unwrap();
    for (ahead, attempts, what) in [
        (0, 1, "the first, with no idea of the time"),
        (-A_DAY_IN_MS, 1, "as ever"),
        (
            0,
            2,
            "a clock that was set forward makes the attempt look late, so it is repeated",
        ),
        (A_DAY_IN_MS, 1, "as ever"),
        (
            0,
            1,
            "a clock that was set back lets the attempt count for longer than it should",
        ),
        (0, 1, "as ever"),
    ] {
        other.show_ahead_by(ahead);
        free(&server);
        let before = scripts_run(&server);
        assert!(worker.leads().await, "{what}");
        assert_eq!(scripts_run(&server) - before, attempts, "{what}");
    }
}
