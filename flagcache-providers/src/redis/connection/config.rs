//! [`Config`]: the checked settings of a store.

use std::sync::Arc;
use std::time::Duration;

use super::credentials::Credentials;
use super::endpoint::Endpoint;

/// The checked settings of a store. Passwords are inside [`ConnectionInfo`], whose `Debug` hides them.
#[derive(Clone, Debug)]
pub(in crate::redis) struct Config {
    pub(in crate::redis) endpoint: Endpoint,
    /// In place of the user and the password in the endpoint, except those of Sentinels.
    pub(in crate::redis) credentials: Option<Arc<Credentials>>,
    pub(in crate::redis) service: String,
    pub(in crate::redis) lock_ttl: Duration,
    pub(in crate::redis) response_timeout: Duration,
    pub(in crate::redis) data_ttl: Option<Duration>,
    /// Whether changes are stored and read as patches too.
    pub(in crate::redis) patches: bool,
}
