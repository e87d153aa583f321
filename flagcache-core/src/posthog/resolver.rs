//! Name resolution that never keeps a process from ending.

use std::net::ToSocketAddrs;
use std::thread;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::oneshot;

/// Resolves names with the system's resolver on a thread of its own.
///
/// The HTTP client's default does so on the runtime's blocking pool, and a runtime that goes down waits for that pool. With
/// DNS out of order a lookup hangs for tens of seconds, which would hold up every shutdown of the program.
pub(super) struct DetachedResolver;

impl Resolve for DetachedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            thread::Builder::new().name("flagcache-dns".to_owned()).spawn(move || {
                // Nobody waits any more if the request was cut at its limit.
                let _ = answer.send((name.as_str(), 0).to_socket_addrs());
            })?;
            let addresses: Addrs = Box::new(answered.await??);
            Ok(addresses)
        })
    }
}
