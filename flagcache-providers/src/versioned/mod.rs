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

/// Locks a mutex. Hold it only for short, panic-free code, and never across an await.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
