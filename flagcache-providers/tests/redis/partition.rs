//! One worker is cut off from a server that the others reach.

use std::time::Duration;

use flagcache_core::ProviderErrorKind;
use flagcache_providers::redis::RedisStore;
use flagcache_test_support::{RedisServer, eventually};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::worker::{DATA, SERVICE, Worker, builder, set};

const SECOND: Duration = Duration::from_secs(1);
const LOCK_TTL: Duration = Duration::from_secs(3);

/// A network between a worker and the server. While it is cut, connections stay open and nothing gets through; what was
/// sent meanwhile arrives when it is mended, as packets that are sent again do.
struct Network {
    port: u16,
    is_cut: watch::Sender<bool>,
}

impl Network {
    async fn to(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_cut, cut) = watch::channel(false);
        let server = server.port();
        tokio::spawn(async move {
            while let Ok((worker, _)) = listener.accept().await {
                tokio::spawn(carry(worker, server, cut.clone()));
            }
        });
        Self { port, is_cut }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn carry(worker: TcpStream, server: u16, cut: watch::Receiver<bool>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    let (from_worker, to_worker) = worker.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        carry_one_way(from_worker, to_server, cut.clone()),
        carry_one_way(from_server, to_worker, cut)
    );
}

async fn carry_one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut cut: watch::Receiver<bool>,
) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if cut.wait_for(|cut| !cut).await.is_err() || to.write_all(&bytes[..length]).await.is_err()
        {
            return;
        }
    }
}

#[tokio::test]
async fn b8_65_a_leader_that_is_cut_off_is_replaced_and_overwrites_nothing() {
    let server = RedisServer::start();
    let network = Network::to(&server).await;
    let far = RedisStore::builder(network.url(), SERVICE);
    let far = Worker::with(
        far.response_timeout(Duration::from_millis(500))
            .lock_ttl(LOCK_TTL),
    );
    // A lock that no stall of a busy machine outlasts.
    let near = Worker::with(builder(&server).lock_ttl(60 * SECOND));
    far.lead_with(&set(1)).await;
    assert_eq!(near.follow().await, Some(set(1)));

    // In the middle of a load: its decision was true, and its publish is on the way.
    assert!(far.leads().await);
    network.cut();
    assert_eq!(
        far.publish(&set(3)).await.unwrap_err().kind(),
        ProviderErrorKind::Unavailable
    );

    let replaced = eventually("another leads", 20 * SECOND, async || {
        near.decide().await.unwrap_or(false)
    })
    .await;
    println!(
        "Redis: a leader that is cut off is replaced after {replaced:.1?}; the lock's TTL is {LOCK_TTL:?}"
    );
    near.publish(&set(2)).await.unwrap();
    assert_eq!(
        far.decide().await.unwrap_err().kind(),
        ProviderErrorKind::Unavailable
    );
    far.publish(&set(3)).await.unwrap_err();

    // All that it sent meanwhile arrives now: a publish, attempts, renewals.
    network.mend();
    eventually("it is served again", 20 * SECOND, async || {
        far.decide().await.is_ok()
    })
    .await;
    assert_eq!(far.follow().await, Some(set(2)));
    assert!(near.leads().await);
    assert_eq!(
        server.run::<Vec<u8>>(&format!("GET {DATA}")),
        set(2).to_json()
    );
}
