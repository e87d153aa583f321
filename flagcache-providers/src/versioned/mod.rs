#![doc = include_str!("docs.md")]

mod copies;
mod error;
mod head;
mod keys;
mod leadership;
mod provider;
mod renewal;
mod shared;
mod store;

pub use error::VersionedConfigError;
pub use provider::VersionedProvider;
pub use store::Versioned;

use parking_lot::{Mutex, MutexGuard};

/// Only short, panic-free code runs under these locks, and never an await.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
