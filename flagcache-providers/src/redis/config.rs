//! [`Config`]: the checked settings of a store.

use std::time::Duration;

use super::connection::endpoint::Endpoint;

/// The checked settings of a store. Passwords are inside [`ConnectionInfo`], whose `Debug` hides them.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) endpoint: Endpoint,
    pub(super) service: String,
    pub(super) lock_ttl: Duration,
    pub(super) response_timeout: Duration,
    pub(super) data_ttl: Option<Duration>,
}
