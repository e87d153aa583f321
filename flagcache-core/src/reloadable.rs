//! [`Reloadable`]: a secret that may be replaced while it is in use.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::detached::detached;

type BoxError = Box<dyn Error + Send + Sync>;
type ReadFn<T> = dyn Fn() -> Result<T, BoxError> + Send + Sync;

/// Longer than any secret. Bounds the read, so that a wrong path cannot fill the memory.
const LONGEST_FILE: u64 = 64 * 1024;

/// A value that is read again where it is used, not watched: a read costs microseconds, sees a file that was written in
/// place as well as one that was replaced by a rename or through a symbolic link, as in Kubernetes, and misses no change.
///
/// A read that fails or hangs keeps the last value. It runs on a thread of its own, and there is at most one at a time.
pub struct Reloadable<T> {
    read: Arc<ReadFn<T>>,
    held: Mutex<T>,
    /// Whether the last read failed, which was reported.
    failed: Mutex<bool>,
    /// Held during a read, so that a read that hangs blocks only one thread.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl<T> fmt::Debug for Reloadable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloadable").finish_non_exhaustive()
    }
}

/// The result of a reload.
#[derive(Debug)]
pub enum Reload {
    /// The value was read.
    Read {
        /// It differs from the last one.
        replaced: bool,
        /// The read before failed.
        recovered: bool,
    },
    /// It cannot be read any more.
    Failed(BoxError),
    /// As before, it cannot be read.
    FailedAgain,
}

impl<T: Clone + PartialEq + Send + 'static> Reloadable<T> {
    /// Reads the value for the first time, on the calling thread.
    pub fn new(
        read: impl Fn() -> Result<T, BoxError> + Send + Sync + 'static,
    ) -> Result<Self, BoxError> {
        Ok(Self {
            held: Mutex::new(read()?),
            read: Arc::new(read),
            failed: Mutex::new(false),
            reading: Arc::default(),
        })
    }

    /// The value of the last read that succeeded.
    pub fn held(&self) -> T {
        self.held.lock().clone()
    }

    /// Reads the value again; if that fails or takes longer than `limit`, the last one is kept.
    pub async fn reload(&self, limit: Duration) -> Reload {
        let read = async {
            let reading = Arc::clone(&self.reading).lock_owned().await;
            let read = Arc::clone(&self.read);
            let reads = move || {
                let _reading = reading;
                read()
            };
            detached("flagcache-secret", reads).await
        };
        let result = match tokio::time::timeout(limit, read).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err("the function panicked, or there is no thread for it".into()),
            Err(_) => Err(BoxError::from(format!("it took longer than {limit:?}"))),
        };
        let recovered = mem::replace(&mut *self.failed.lock(), result.is_err());
        match result {
            Ok(read) => {
                let before = mem::replace(&mut *self.held.lock(), read.clone());
                Reload::Read {
                    replaced: before != read,
                    recovered,
                }
            }
            Err(error) if !recovered => Reload::Failed(error),
            Err(_) => Reload::FailedAgain,
        }
    }
}

/// The text of a small file with a secret. Follows symbolic links. A file that is not a regular one is refused before it
/// is opened, because opening a named pipe waits for its writer.
pub fn read_secret_file(path: &Path) -> Result<String, BoxError> {
    if !std::fs::metadata(path)?.is_file() {
        return Err("it is not a regular file".into());
    }
    let mut text = String::new();
    let size = File::open(path)?
        .take(LONGEST_FILE)
        .read_to_string(&mut text)?;
    if size as u64 == LONGEST_FILE {
        return Err("it is too large for a key".into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_read_that_hangs_keeps_the_last_value_and_does_not_block_the_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (end_of_test, ended) = mpsc::channel::<()>();
        let ended = Mutex::new(ended);
        let is_first = Mutex::new(true);
        let secret = Reloadable::new(move || {
            if !mem::replace(&mut *is_first.lock(), false) {
                let _ = ended.lock().recv_timeout(Duration::from_secs(30));
            }
            Ok("first")
        })
        .unwrap();
        let start = Instant::now();
        let limit = Duration::from_millis(20);
        runtime.block_on(async {
            assert!(matches!(secret.reload(limit).await, Reload::Failed(_)));
            assert!(matches!(secret.reload(limit).await, Reload::FailedAgain));
        });
        assert_eq!(secret.held(), "first");
        drop(runtime);
        assert!(start.elapsed() < Duration::from_secs(10));
        drop(end_of_test);
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let folder = std::env::temp_dir();
        let error = read_secret_file(&folder).unwrap_err().to_string();
        assert_eq!(error, "it is not a regular file");
        #[cfg(unix)]
        assert_eq!(
            read_secret_file(Path::new("/dev/zero"))
                .unwrap_err()
                .to_string(),
            "it is not a regular file"
        );
    }
}
