//! One server with TLS, which lets in only those whose certificate it knows.

use std::time::Duration;

use flagcache_test_support::{Certificates, RedisServer};

use crate::redis::shapes::{DATA, PrimaryServer, test_store};
use crate::rules::rules_for;
use crate::test_store::Failing;

rules_for!(Tls, as another shape);

pub(crate) struct Tls {
    server: RedisServer,
    certificates: Certificates,
}

impl Tls {
    fn start() -> Self {
        let certificates = Certificates::make();
        let tls = certificates.server("server").for_known_clients();
        Self {
            server: RedisServer::start_with_tls(&tls, &[]),
            certificates,
        }
    }

    fn options(&self) -> String {
        let path = |file| self.certificates.path(file);
        format!(
            "&ca={}&cert={}&key={}",
            path("root.crt"),
            path("client.crt"),
            path("client.key")
        )
    }
}

impl PrimaryServer for Tls {
    fn primary(&self) -> Option<&RedisServer> {
        Some(&self.server)
    }
}

test_store!(
    Tls,
    "TLS",
    Self::start(),
    |this| format!("rediss://localhost:{}", this.server.tls_port().unwrap()),
    this.options()
);

impl Failing for Tls {
    const GATHERS_IN: Duration = Duration::ZERO;

    fn evict(&self) {
        self.server.run_args::<()>(&["DEL", DATA]);
    }

    fn flush(&self) {
        self.server.run("FLUSHALL")
    }

    fn restart(&mut self) {
        self.server.kill();
        self.server.start_again();
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn start_again(&mut self) {
        self.server.start_again();
    }

    fn hang(&mut self) {
        self.server.hang();
    }

    fn resume(&mut self) {
        self.server.resume();
    }
}
