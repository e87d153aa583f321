//! [`ShardedDefinitions`]: several handles of one snapshot, so that readers do not contend for one reference count.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use crate::FlagDefinitionCacheData;

/// Per processor: threads get handles in turn, and threads that run at the same moment should not share one.
const FOR_EACH_PROCESSOR: usize = 4;
const MOST: usize = 64;

/// Several handles of one snapshot, for threads that clone and drop it all the time.
#[derive(Debug)]
pub(super) struct ShardedDefinitions(Box<[FlagDefinitionCacheData]>);

impl ShardedDefinitions {
    pub(super) fn new(data: FlagDefinitionCacheData) -> Self {
        let others = (1..count())
            .map(|_| data.another_handle())
            .collect::<Vec<_>>();
        Self(std::iter::once(data).chain(others).collect())
    }

    /// The handle of this thread.
    pub(super) fn here(&self) -> &FlagDefinitionCacheData {
        // The number of handles is a power of two.
        &self.0[place() & (self.0.len() - 1)]
    }
}

fn count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| {
        let processors = available_parallelism().map_or(1, usize::from);
        (processors * FOR_EACH_PROCESSOR)
            .next_power_of_two()
            .min(MOST)
    })
}

/// This thread's number.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // Fails in a thread that is ending.
    PLACE.try_with(|place| *place).unwrap_or_default()
}
