//! The PostHog API on this machine.

mod body;
mod connection;
mod gzip;
mod log;
mod reply;
mod service;
mod state;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use state::State;

pub use log::{ApiRequest, ApiStats};
pub use reply::{ApiReply, EtagForm};

/// A PostHog API for tests: an HTTP/1.1 server on a free port of `127.0.0.1`, run by the current tokio runtime. For tests;
/// not API-stable.
///
/// It answers `GET /flags/definitions?token=…&send_cohorts` with a set of definitions and a strong ETag made of its content,
/// with 304 to the ETag it gave, and with 401 without the right keys. It counts requests and what PostHog would bill for
/// them, and shows every fault that is [scripted](ApiReply). At `POST /batch` it takes [events](Self::events). Other processes may use it by its [`url`](Self::url); it is
/// controlled from the process that started it.
///
/// Dropping it closes the port and cuts all connections.
///
/// ```
/// use flagcache_providers::testing::{ApiStub, Definitions, ApiReply};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let stub = ApiStub::start().await?;
/// stub.set_definitions(Definitions::realistic(100, 1));
/// stub.next(ApiReply::status(503).header("retry-after", "7"));   // the next request fails, the one after it does not
/// assert_eq!(stub.stats().units, 0);
/// # Ok(()) }
/// ```
pub struct ApiStub {
    address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

impl ApiStub {
    /// The project key that it takes.
    pub const PROJECT_KEY: &'static str = "phc_stub_project";
    /// The secret key that it takes.
    pub const SECRET_KEY: &'static str = "phs_stub_secret";

    /// Starts one with the empty set of definitions.
    ///
    /// # Errors
    ///
    /// If no port can be bound.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::new());
        let server = tokio::spawn(connection::serve(listener, Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            server,
        })
    }

    /// Where it listens, as a host to configure: `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Replaces the definitions, and with them the ETag if the content differs. Takes a [`Definitions`](super::Definitions)
    /// or any bytes.
    pub fn set_definitions(&self, body: impl Into<Bytes>) {
        self.state.set_definitions(body.into());
    }

    /// The secret keys that it takes from now on, in place of [`SECRET_KEY`](Self::SECRET_KEY).
    pub fn set_secret_keys<K: Into<String>>(&self, keys: impl IntoIterator<Item = K>) {
        self.state
            .set_secret_keys(keys.into_iter().map(Into::into).collect());
    }

    /// The form of the ETags from now on. Default [`EtagForm::Strong`].
    pub fn set_etag_form(&self, form: EtagForm) {
        self.state.set_etag_form(form);
    }

    /// Whether definitions are compressed for those who accept gzip. Default no.
    pub fn set_gzip(&self, on: bool) {
        self.state.set_gzip(on);
    }

    /// Answers the next request so, in place of the usual answer; the one after it if replies are waiting already.
    pub fn next(&self, reply: ApiReply) {
        self.state.push(reply, 1);
    }

    /// Answers each of the next `count` requests so.
    pub fn next_n(&self, count: usize, reply: ApiReply) {
        self.state.push(reply, count);
    }

    /// Answers so until [`clear`](Self::clear), once the replies of [`next`](Self::next) are used up.
    pub fn always(&self, reply: ApiReply) {
        self.state.set_always(reply);
    }

    /// Forgets all scripted replies.
    pub fn clear(&self) {
        self.state.clear();
    }

    /// What was counted since the start.
    pub fn stats(&self) -> ApiStats {
        self.state.log.stats()
    }

    /// All requests since the start, in the order of their arrival.
    pub fn requests(&self) -> Vec<ApiRequest> {
        self.state.log.requests()
    }

    /// Waits until `condition` holds of the counts.
    ///
    /// # Errors
    ///
    /// The counts as they are when `limit` is over.
    pub async fn wait_until(
        &self,
        limit: Duration,
        condition: impl Fn(&ApiStats) -> bool,
    ) -> Result<ApiStats, ApiStats> {
        self.state.log.wait_until(limit, condition).await
    }
}

/// Events.
impl ApiStub {
    /// The events that clients have sent, as they came. A client posts them uncompressed, in batches; such a post is not
    /// counted as a request, and answered at once.
    pub fn events(&self) -> Vec<Value> {
        self.state.log.events()
    }

    /// Waits until `count` events have come, and gives all.
    ///
    /// # Errors
    ///
    /// The events that have come when `limit` is over.
    pub async fn wait_for_events(
        &self,
        limit: Duration,
        count: usize,
    ) -> Result<Vec<Value>, Vec<Value>> {
        self.state.log.wait_for_events(limit, count).await
    }
}

impl Drop for ApiStub {
    fn drop(&mut self) {
        // The connections are owned by this task and go with it.
        self.server.abort();
    }
}

impl fmt::Debug for ApiStub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiStub")
            .field("address", &self.address)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
