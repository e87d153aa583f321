//! The protocol of Google Cloud Storage, for which there is no emulator with conditional requests: a server that knows as much
//! of it as is needed, and refuses a put without a condition.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::testing::conformance::{POLL_INTERVAL, TestStore};
use flagcache_providers::{BucketStore, BucketStoreBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use xxhash_rust::xxh3::xxh3_64;

use crate::worker::SERVICE;

const LEASE_TTL: Duration = Duration::from_secs(2);

/// By path, each with its generation.
type Objects = Arc<Mutex<HashMap<String, (u64, Bytes)>>>;

struct Google {
    port: u16,
}

impl Google {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let objects = Objects::default();
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&objects)));
            }
        });
        Self { port }
    }

    fn store(&self) -> BucketStoreBuilder {
        let url = format!(
            "gs://flags/eu?endpoint=http://127.0.0.1:{}&bearer_token=hunter2",
            self.port
        );
        BucketStore::builder(url, SERVICE)
    }
}

async fn serve(mut connection: TcpStream, objects: Objects) {
    let mut buffer = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
                let rest = buffer.split_off(end + 4);
                break String::from_utf8(std::mem::replace(&mut buffer, rest)).unwrap();
            }
            if !matches!(connection.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
        };
        let header = |name: &str| {
            let values = head.lines().filter_map(|line| line.split_once(": "));
            let mut values = values.filter(|(key, _)| key.eq_ignore_ascii_case(name));
            values.next().map(|(_, value)| value.to_owned())
        };
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        while buffer.len() < length {
            if !matches!(connection.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
        }
        let rest = buffer.split_off(length);
        let value = Bytes::from(std::mem::replace(&mut buffer, rest));
        let (method, path) = head.split_once(' ').unwrap();
        let path = path.split_once(' ').unwrap().0.to_owned();
        // One name with slashes in it.
        assert!(path.starts_with("/flags/eu%2Fposthog%2Fflags%2F"), "{path}");
        let answer = match method {
            "GET" => get(&objects, &path, header("if-none-match")),
            "PUT" => put(&objects, path, value, header("x-goog-if-generation-match")),
            other => panic!("{other}"),
        };
        if connection.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn get(objects: &Objects, path: &str, known: Option<String>) -> Vec<u8> {
    let Some((generation, value)) = objects.lock().unwrap().get(path).cloned() else {
        return answer("404 Not Found", None, b"<Code>NoSuchKey</Code>");
    };
    if known == Some(e_tag(&value)) {
        return answer("304 Not Modified", None, b"");
    }
    answer("200 OK", Some((generation, &value)), &value)
}

fn put(objects: &Objects, path: String, value: Bytes, condition: Option<String>) -> Vec<u8> {
    static GENERATIONS: AtomicU64 = AtomicU64::new(1_700_000_000_000_000);
    let Some(condition) = condition else {
        return answer("400 Bad Request", None, b"a put without a condition");
    };
    let mut objects = objects.lock().unwrap();
    let present = objects.get(&path).map_or(0, |(generation, _)| *generation);
    if condition != present.to_string() {
        return answer("412 Precondition Failed", None, b"");
    }
    let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
    objects.insert(path, (generation, value.clone()));
    answer("200 OK", Some((generation, &value)), b"")
}

fn e_tag(value: &[u8]) -> String {
    format!("\"{:x}\"", xxh3_64(value))
}

fn answer(status: &str, object: Option<(u64, &[u8])>, body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\n");
    if !status.starts_with("304") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    if let Some((generation, value)) = object {
        head.push_str(&format!(
            "ETag: {}\r\nx-goog-generation: {generation}\r\nLast-Modified: Sat, 28 Nov 2026 12:00:00 GMT\r\n",
            e_tag(value)
        ));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

#[async_trait]
impl TestStore for Google {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        Arc::new(
            self.store()
                .lease_ttl(LEASE_TTL)
                .build()
                .unwrap()
                .provider(),
        )
    }

    /// The lease is renewed until two polls have been missed.
    fn lease_time(&self) -> Duration {
        LEASE_TTL + POLL_INTERVAL * 2
    }
}

flagcache_providers::conformance!(
    Google::start,
    elects,
    lease,
    create_only,
    fenced,
    stored_copy,
    steps_down,
    confirms,
    reports_lease,
    quota_mark
);
