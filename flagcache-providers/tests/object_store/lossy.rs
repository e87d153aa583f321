//! A way to a server on which answers can be lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Passes everything, except the answers to some puts: their connections are closed instead.
pub(crate) struct Lossy {
    pub(crate) port: u16,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    puts: AtomicUsize,
    to_lose: AtomicUsize,
}

impl Lossy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::<Counts>::default();
        let counted = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(pass(near, far, Arc::clone(&counted)));
            }
        });
        Self { port, counts }
    }

    pub(crate) fn lose_next_answer(&self) {
        self.counts.to_lose.store(1, Ordering::SeqCst);
    }

    pub(crate) fn puts(&self) -> usize {
        self.counts.puts.load(Ordering::SeqCst)
    }
}

async fn pass(mut near: TcpStream, mut far: TcpStream, counts: Arc<Counts>) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut is_put = false;
    loop {
        tokio::select! {
            read = near.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                let line = up[..count].split(|byte| *byte == b'\r').next();
                let line = String::from_utf8_lossy(line.unwrap_or_default());
                if line.starts_with("PUT ") && !line.contains("/probe") {
                    counts.puts.fetch_add(1, Ordering::SeqCst);
                    is_put = true;
                } else if line.starts_with("GET ") || line.starts_with("PUT ") {
                    is_put = false;
                }
                if far.write_all(&up[..count]).await.is_err() {
                    return;
                }
            }
            read = far.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                let lose = || counts.to_lose.swap(0, Ordering::SeqCst) == 1;
                // Not the server's consent to send the value.
                if is_put && !down.starts_with(b"HTTP/1.1 100") && lose() {
                    return;
                }
                if near.write_all(&down[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
