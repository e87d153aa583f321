//! flagcache.

pub use flagcache_core::*;
#[cfg(feature = "macros")]
pub use flagcache_derive::flag_cache_provider;

#[doc(hidden)]
pub use flagcache_core::__private;
