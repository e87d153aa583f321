//! `#[flag_cache_store]`: the methods of a store with versions, and the trait's methods that call them.

mod forwarder;
mod method;

pub(crate) use method::StoreMethod;
