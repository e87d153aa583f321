//! The contract between a poller and a store: [`FlagDefinitionCacheProvider`](provider::FlagDefinitionCacheProvider)
//! and the types of its methods.

pub(crate) mod context;
pub(crate) mod delegate;
pub(crate) mod error;
pub(crate) mod fetch_outcome;
pub(crate) mod fleet_failure;
pub(crate) mod provider;
pub(crate) mod provider_method;
pub(crate) mod versioned_store;
