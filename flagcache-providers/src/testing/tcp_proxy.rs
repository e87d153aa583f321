//! A TCP proxy whose connections a test can cut, hang and heal.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What happens to the connections between a store and its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Open connections are closed, and so is every new one.
    Cut,
    /// Connections stay open and new ones are accepted, but no byte passes.
    Hang,
    /// The outage is over. What a hanging connection holds passes now.
    Healed,
}

/// The connections that a store has made to its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// How many are open.
    pub open: usize,
    /// How many were ever opened.
    pub opened: u64,
}

/// Stands between a store and its server, on a free port of 127.0.0.1. For tests; not API-stable.
///
/// Give [`addr`](Self::addr) to the store in place of the server's address. The proxy ends when it is dropped.
///
/// ```
/// use flagcache_providers::testing::{Outage, TcpProxy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let proxy = TcpProxy::start("127.0.0.1:5432".parse()?)?;
/// println!("connect to {}", proxy.addr());
/// proxy.set(Outage::Cut);
/// proxy.set(Outage::Healed);
/// assert_eq!(proxy.connections().open, 0);
/// # Ok(()) })
/// # }
/// ```
#[derive(Debug)]
pub struct TcpProxy {
    addr: SocketAddr,
    outage: watch::Sender<Outage>,
    counts: Arc<Counts>,
    accepting: AbortHandle,
}

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    opened: AtomicU64,
}

impl TcpProxy {
    /// Starts a proxy in front of the server at `target`. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let (outage, counts) = (
            watch::Sender::new(Outage::Healed),
            Arc::new(Counts::default()),
        );
        let accept = accept(
            TcpListener::from_std(listener)?,
            target,
            outage.subscribe(),
            Arc::clone(&counts),
        );
        let accepting = tokio::spawn(accept).abort_handle();
        Ok(Self {
            addr,
            outage,
            counts,
            accepting,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Begins or ends an outage.
    pub fn set(&self, outage: Outage) {
        self.outage.send_replace(outage);
    }

    /// The connections that were made through it.
    pub fn connections(&self) -> Connections {
        Connections {
            open: self.counts.open.load(Ordering::SeqCst),
            opened: self.counts.opened.load(Ordering::SeqCst),
        }
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    outage: watch::Receiver<Outage>,
    counts: Arc<Counts>,
) {
    // An error of one connection, such as too many open files, is not the end of the listener.
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        counts.opened.fetch_add(1, Ordering::SeqCst);
        counts.open.fetch_add(1, Ordering::SeqCst);
        let (outage, counts) = (outage.clone(), Arc::clone(&counts));
        tokio::spawn(async move {
            let _ = carry(client, target, outage).await;
            counts.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Carries one connection until either side closes it, the outage cuts it, or the proxy is gone.
async fn carry(
    client: TcpStream,
    target: SocketAddr,
    mut outage: watch::Receiver<Outage>,
) -> io::Result<()> {
    passes(&mut outage).await?;
    if *outage.borrow() == Outage::Cut {
        return Ok(());
    }
    let server = TcpStream::connect(target).await?;
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        ended = pump(from_client, to_server, outage.clone()) => ended,
        ended = pump(from_server, to_client, outage.clone()) => ended,
        _ = outage.wait_for(|outage| *outage == Outage::Cut) => Ok(()),
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut outage: watch::Receiver<Outage>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        passes(&mut outage).await?;
        match read {
            0 => return Ok(()),
            read => to.write_all(&buffer[..read]).await?,
        }
    }
}

/// Waits until bytes may pass; an error once the proxy is gone.
async fn passes(outage: &mut watch::Receiver<Outage>) -> io::Result<()> {
    let passes = outage.wait_for(|outage| *outage != Outage::Hang).await;
    passes
        .map(drop)
        .map_err(|_| io::ErrorKind::ConnectionAborted.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        addr
    }

    async fn echoes(stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(b"x").await?;
        stream.read_exact(&mut [0]).await.map(drop)
    }

    #[tokio::test]
    async fn connections_pass_hang_and_are_cut() {
        let proxy = TcpProxy::start(echo().await).unwrap();
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        echoes(&mut stream).await.unwrap();
        assert_eq!(proxy.connections(), Connections { open: 1, opened: 1 });

        proxy.set(Outage::Hang);
        let short = Duration::from_millis(100);
        assert!(
            tokio::time::timeout(short, echoes(&mut stream))
                .await
                .is_err(),
            "nothing passes"
        );
        proxy.set(Outage::Healed);
        stream.read_exact(&mut [0]).await.unwrap();
        echoes(&mut stream).await.unwrap();

        proxy.set(Outage::Cut);
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "it is closed");
        let mut second = TcpStream::connect(proxy.addr()).await.unwrap();
        assert!(echoes(&mut second).await.is_err(), "and so is a new one");
        proxy.set(Outage::Healed);
        echoes(&mut TcpStream::connect(proxy.addr()).await.unwrap())
            .await
            .unwrap();
        drop((stream, second));
        let all_closed = async {
            while proxy.connections().open > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), all_closed)
            .await
            .unwrap();
    }
}
