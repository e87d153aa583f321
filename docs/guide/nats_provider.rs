//! Shares flag definitions through a bucket of NATS JetStream: a store in two methods, and a third that watches. Leases,
//! fencing, restoring and all else come from [`Versioned`](flagcache::Versioned).
//!
//! Create the bucket once, with as many replicas as you need: `nats kv add flags --replicas 3`. A server refuses values
//! larger than its `max_payload`, 1 MB unless configured: raise it where the definitions are larger.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::jetstream::context::{Context, ContextBuilder, PublishErrorKind::WrongLastSequence};
use async_nats::jetstream::{message::PublishMessage, stream::LastRawMessageErrorKind::NoMessageFound};
use async_nats::{Client, Error};
use flagcache::{ChangeNotifier, Expected, flag_cache_store};
use futures_util::StreamExt;
use tokio::time::timeout;

/// One connection, shared by the pollers of a process. `async_nats` connects again by itself; make the client with
/// `retry_on_initial_connect`, and a worker starts without the server too.
#[derive(Clone)]
pub struct NatsStore(Context);

#[flag_cache_store]
impl NatsStore {
    pub fn new(client: Client) -> Self {
        // Shorter than the time that a poller gives to a call, which may be two requests.
        Self(ContextBuilder::new().timeout(Duration::from_millis(500)).build(client))
    }

    async fn read(&self, key: &str) -> Result<Option<(Vec<u8>, u64)>, Error> {
        let bucket = self.0.get_stream_no_info("KV_flags").await?;
        // Of the leader of the bucket. A direct get may be answered by a replica that lags.
        match bucket.get_last_raw_message_by_subject(&format!("$KV.flags.{key}")).await {
            // After `nats kv del` it is empty, which is no copy and no leader record: it is written anew.
            Ok(last) => Ok(Some((last.payload.into(), last.sequence))),
            Err(error) if error.kind() == NoMessageFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn write(&self, key: &str, value: Vec<u8>, expected: Expected) -> Result<Option<u64>, Error> {
        // 0 stands for a key that does not exist.
        let known = expected.version().map_or(Ok(0), |version| version.parse())?;
        let message = PublishMessage::build().payload(value.into()).expected_last_subject_sequence(known);
        match self.0.send_publish(format!("$KV.flags.{key}"), message).await?.await {
            Err(error) if error.kind() == WrongLastSequence => Ok(None),
            written => Ok(Some(written?.sequence)),
        }
    }

    fn watch(&self, key: &str, changed: ChangeNotifier) {
        let (client, subject, mut connects) = (self.0.client(), format!("$KV.flags.{key}"), 0);
        tokio::spawn(async move {
            let mut writes = client.subscribe(subject).await?;
            while changed.is_connected() {
                let write = timeout(Duration::from_secs(1), writes.next()).await.transpose().ok_or("it was closed")?;
                let connected = client.statistics().connects.load(Relaxed);
                // What was written while there was no connection came to no subscriber.
                if write.is_ok() || connected > connects {
                    changed.notify();
                }
                connects = connected;
            }
            Ok::<_, Error>(())
        });
    }
}
