//! [`detached`]: runs what may hang on a thread of its own.

use std::io;
use std::thread;

use tokio::sync::oneshot;

/// Runs `work` on a thread of its own, and returns its result; an error if there is no thread, or if `work` panics.
///
/// Not on the runtime's blocking pool, because a runtime that shuts down waits for that pool: work that hangs, such as a
/// name lookup with broken DNS or a file on a dead mount, would delay the end of the program. A hanging thread outlives
/// its caller.
pub(crate) async fn detached<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (answer, answered) = oneshot::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Fails if the caller gave up.
            let _ = answer.send(work());
        })?;
    answered.await.map_err(io::Error::other)
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
            let hanging = detached("hanging", move || {
                let _ = ended.recv_timeout(Duration::from_secs(30));
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
