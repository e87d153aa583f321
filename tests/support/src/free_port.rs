//! Ports for servers that need one on their command line.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// A TCP port of 127.0.0.1 that stays the test's own while this lives, also while nothing listens there: a server can be
/// killed and started again on it.
///
/// It lies below the ports that systems give to outgoing connections and to listeners that ask for any, and the tests that
/// run at the same time, in whatever process, keep out of each other's way by the UDP port of the same number.
#[derive(Debug)]
pub struct FreePort {
    number: u16,
    _mark: UdpSocket,
}

impl FreePort {
    /// Finds one.
    ///
    /// # Panics
    ///
    /// If none can be found.
    pub fn find() -> Self {
        for _ in 0..10_000 {
            let number = fastrand::u16(10_000..30_000);
            let Ok(mark) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else {
                continue;
            };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self {
                    number,
                    _mark: mark,
                };
            }
        }
        panic!("no free port on 127.0.0.1");
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_found_once_until_it_is_released() {
        let port = FreePort::find();
        let number = port.number();
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).is_err());
        drop(port);
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).is_ok());
    }
}
