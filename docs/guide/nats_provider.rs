//! [`NatsStore`]: shares flag definitions through a bucket of NATS JetStream, with `read`, `write` and `watch`.
//! [`Versioned`](flagcache::Versioned) implements leases, fencing, restoring and everything else.
//!
//! Create the bucket once, with as many replicas as you need: `nats kv add flags --replicas 3`. The server rejects
//! values larger than its `max_payload` (by default 1 MB): raise it if the definitions are larger.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::jetstream::context::{
    Context, ContextBuilder, PublishErrorKind::WrongLastSequence,
};
use async_nats::jetstream::{
    message::PublishMessage, stream::LastRawMessageErrorKind::NoMessageFound,
};
use async_nats::{Client, Error};
use flagcache::{ChangeNotifier, Expected, flag_cache_store};
use futures_util::StreamExt;
use tokio::time::timeout;

/// One connection, shared by the pollers of a process. `async_nats` reconnects automatically. Make the client with
/// `retry_on_initial_connect`, so that a worker can start while the server is down.
#[derive(Clone)]
pub struct NatsStore(Context);

#[flag_cache_store]
impl NatsStore {
    pub fn new(client: Client) -> Self {
        // Less than half of the poller's timeout for a call, which may make two requests.
        Self(
            ContextBuilder::new()
                .timeout(Duration::from_millis(500))
                .build(client),
        )
    }

    async fn read(&self, key: &str) -> Result<Option<(Vec<u8>, u64)>, Error> {
        let bucket = self.0.get_stream_no_info("KV_flags").await?;
        // Read from the leader of the bucket: a lagging replica may answer a direct get.
        match bucket
            .get_last_raw_message_by_subject(&format!("$KV.flags.{key}"))
            .await
        {
            // `nats kv del` leaves an empty value, which is not valid: flagcache replaces it.
            Ok(last) => Ok(Some((last.payload.into(), last.sequence))),
            Err(error) if error.kind() == NoMessageFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn write(
        &self,
        key: &str,
        value: Vec<u8>,
        expected: Expected,
    ) -> Result<Option<u64>, Error> {
        // 0 means that the key does not exist.
        let known = expected
            .version()
            .map_or(Ok(0), |version| version.parse())?;
        let message = PublishMessage::build()
            .payload(value.into())
            .expected_last_subject_sequence(known);
        match self
            .0
            .send_publish(format!("$KV.flags.{key}"), message)
            .await?
            .await
        {
            Err(error) if error.kind() == WrongLastSequence => Ok(None),
            written => Ok(Some(written?.sequence)),
        }
    }

    fn watch(&self, key: &str, changed: ChangeNotifier) {
        let (client, subject, mut connects) = (self.0.client(), format!("$KV.flags.{key}"), 0);
        tokio::spawn(async move {
            let mut writes = client.subscribe(subject).await?;
            while changed.is_connected() {
                let write = timeout(Duration::from_secs(1), writes.next())
                    .await
                    .transpose()
                    .ok_or("it was closed")?;
                let connected = client.statistics().connects.load(Relaxed);
                // Notifications of writes are lost while there is no connection.
                if write.is_ok() || connected > connects {
                    changed.notify();
                }
                connects = connected;
            }
            Ok::<_, Error>(())
        });
    }
}
