//! What the stub counts and remembers.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

use hyper::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;

/// Counts of requests. For tests; not API-stable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiStats {
    /// All requests.
    pub requests: u64,
    /// Requests answered with 200.
    pub ok: u64,
    /// Requests answered with 304.
    pub not_modified: u64,
    /// Requests answered with anything else, or with nothing.
    pub others: u64,
    /// What PostHog would bill: 10 for a 200, 1 for a 304.
    pub units: u64,
    /// Bytes of bodies that were handed to the network.
    pub body_bytes: u64,
}

/// One request. For tests; not API-stable.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ApiRequest {
    /// When it arrived.
    pub at: Instant,
    /// `GET` as a rule.
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// The status of the answer; `None` if the connection was reset.
    pub status: Option<u16>,
    headers: HeaderMap,
}

impl ApiRequest {
    /// A request header, if it came and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.headers.get(name)?.as_bytes()).ok()
    }

    /// Whether it carried an ETag.
    pub fn is_conditional(&self) -> bool {
        self.headers.contains_key(hyper::header::IF_NONE_MATCH)
    }

    /// Who sent it: the suffix of the User-Agent distinguishes workers.
    pub fn user_agent(&self) -> Option<&str> {
        self.header("user-agent")
    }
}

#[derive(Debug)]
pub(super) struct Log {
    requests: Mutex<Vec<ApiRequest>>,
    stats: watch::Sender<ApiStats>,
    events: watch::Sender<Vec<Value>>,
}

/// What a client posts.
#[derive(Deserialize)]
struct Batch {
    batch: Vec<Value>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            requests: Mutex::default(),
            stats: watch::Sender::new(ApiStats::default()),
            events: watch::Sender::new(Vec::new()),
        }
    }

    pub(super) fn take_events(&self, body: &[u8]) -> Result<(), serde_json::Error> {
        let Batch { batch } = serde_json::from_slice(body)?;
        self.events.send_modify(|events| events.extend(batch));
        Ok(())
    }

    pub(super) fn events(&self) -> Vec<Value> {
        self.events.borrow().clone()
    }

    pub(super) async fn wait_for_events(
        &self,
        limit: Duration,
        count: usize,
    ) -> Result<Vec<Value>, Vec<Value>> {
        let mut events = self.events.subscribe();
        let reached =
            tokio::time::timeout(limit, events.wait_for(|events| events.len() >= count)).await;
        match reached {
            Ok(Ok(events)) => Ok(events.clone()),
            _ => Err(self.events()),
        }
    }

    /// Remembers a request. It counts from here on, also if its answer is delayed or cut.
    pub(super) fn record(
        &self,
        request: &hyper::Request<hyper::body::Incoming>,
        status: Option<u16>,
    ) {
        self.requests.lock().push(ApiRequest {
            at: Instant::now(),
            method: request.method().to_string(),
            target: request.uri().to_string(),
            status,
            headers: request.headers().clone(),
        });
        self.stats.send_modify(|stats| {
            stats.requests += 1;
            match status {
                Some(200) => (stats.ok, stats.units) = (stats.ok + 1, stats.units + 10),
                Some(304) => {
                    (stats.not_modified, stats.units) = (stats.not_modified + 1, stats.units + 1)
                }
                _ => stats.others += 1,
            }
        });
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.stats
            .send_modify(|stats| stats.body_bytes += bytes as u64);
    }

    pub(super) fn stats(&self) -> ApiStats {
        *self.stats.borrow()
    }

    pub(super) fn requests(&self) -> Vec<ApiRequest> {
        self.requests.lock().clone()
    }

    pub(super) async fn wait_until(
        &self,
        limit: Duration,
        condition: impl Fn(&ApiStats) -> bool,
    ) -> Result<ApiStats, ApiStats> {
        let mut stats = self.stats.subscribe();
        let reached = tokio::time::timeout(limit, stats.wait_for(&condition)).await;
        match reached {
            Ok(Ok(stats)) => Ok(*stats),
            _ => Err(self.stats()),
        }
    }
}
