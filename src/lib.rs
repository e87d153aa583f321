//! flagcache.
