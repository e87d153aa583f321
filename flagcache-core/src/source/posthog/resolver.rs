//! [`DetachedResolver`]: name resolution that does not block the end of a process.

use std::net::ToSocketAddrs;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::detached::detached;

/// Resolves names with the system's resolver on a thread of its own.
///
/// The HTTP client's default uses the runtime's blocking pool, and a runtime that shuts down waits for that pool. With
/// broken DNS a lookup hangs for tens of seconds, which would delay every shutdown of the program. A hanging thread
/// outlives its request, but the time between requests keeps their number low.
pub(super) struct DetachedResolver;

impl Resolve for DetachedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let look_up = move || (name.as_str(), 0).to_socket_addrs();
            let addresses: Addrs = Box::new(detached("flagcache-dns", look_up).await??);
            Ok(addresses)
        })
    }
}
