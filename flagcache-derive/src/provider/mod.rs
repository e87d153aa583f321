//! `#[flag_cache_provider]`: the methods of a provider, and the trait's methods that call them.

mod forwarder;
mod method;

pub(crate) use method::ProviderMethod;
