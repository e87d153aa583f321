//! The leader lock of a service: the lease, its renewal, and the server's clock.

pub(super) mod clock;
pub(super) mod lease;
pub(super) mod renewal;
