//! What the trait asks of a type.

/// Checked apart from [`FlagDefinitionCacheProvider`](crate::FlagDefinitionCacheProvider), whose supertraits these are.
pub trait Shareable: Send + Sync {}
