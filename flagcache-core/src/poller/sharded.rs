//! The handles of one set.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use crate::FlagDefinitionCacheData;

/// For each processor: threads are given handles by turns, and those that run at the same moment should not have the same.
const FOR_EACH_PROCESSOR: usize = 4;
const MOST: usize = 64;

/// Several handles of one set, so that threads that take one and drop it all the time do not wait for each other.
#[derive(Debug)]
pub(super) struct Handles(Box<[FlagDefinitionCacheData]>);

impl Handles {
    pub(super) fn new(data: FlagDefinitionCacheData) -> Self {
        let others = (1..count())
            .map(|_| data.another_handle())
            .collect::<Vec<_>>();
        Self(std::iter::once(data).chain(others).collect())
    }

    /// The one of this thread.
    pub(super) fn here(&self) -> &FlagDefinitionCacheData {
        // There are a power of two of them.
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

/// A number of this thread.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // It fails in a thread that is ending.
    PLACE.try_with(|place| *place).unwrap_or_default()
}
