//! The Redis store against a real `redis-server`, which each test starts for itself.
//!
//! Without `redis-server` on the path these tests fail and say how to install it: silently passing would prove nothing.

mod copy;
mod lead;
mod server;
mod worker;
