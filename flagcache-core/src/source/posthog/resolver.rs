//! [`DetachedResolver`]: name resolution that does not block the end of a process.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;
use std::vec;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::oneshot;

/// Resolves names with the system's resolver on a thread of its own.
///
/// The HTTP client's default uses the runtime's blocking pool, and a runtime that shuts down waits for that pool. With
/// broken DNS a lookup hangs for tens of seconds, which would delay every shutdown of the program. A hanging thread
/// outlives its request, but the time between requests keeps their number low.
pub(super) struct DetachedResolver;

impl Resolve for DetachedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses: Addrs =
                Box::new(detached(move || (name.as_str(), 0).to_socket_addrs()).await?);
            Ok(addresses)
        })
    }
}

type Found = vec::IntoIter<SocketAddr>;

async fn detached(
    look_up: impl FnOnce() -> io::Result<Found> + Send + 'static,
) -> io::Result<Found> {
    let (answer, answered) = oneshot::channel();
    thread::Builder::new()
        .name("flagcache-dns".to_owned())
        .spawn(move || {
            // Fails if the request timed out.
            let _ = answer.send(look_up());
        })?;
    answered.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn b5_47_a_hung_name_lookup_does_not_block_the_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (end_of_test, ended) = mpsc::channel::<()>();
        let start = Instant::now();
        let cut = runtime.block_on(async {
            let hanging = detached(move || {
                let _ = ended.recv_timeout(Duration::from_secs(30));
                Err(io::ErrorKind::TimedOut.into())
            });
            tokio::time::timeout(Duration::from_millis(50), hanging).await
        });
        assert!(cut.is_err());
        drop(runtime);
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{:?}",
            start.elapsed()
        );
        drop(end_of_test);
    }
}
