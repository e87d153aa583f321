//! [`FreePort`]: a port for a server that needs one on its command line.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// A TCP port of 127.0.0.1 that stays reserved for the test until this is dropped, also while no server listens there:
/// a server can be killed and started again on it.
///
/// It is below the ports that systems assign to outgoing connections and to listeners without a port. Tests that run at
/// the same time, also in other processes, avoid each other's ports by binding the UDP port of the same number.
#[derive(Debug)]
pub struct FreePort {
    number: u16,
    _reservation: UdpSocket,
}

impl FreePort {
    /// Finds a free port.
    ///
    /// # Panics
    ///
    /// If no free port is found.
    pub fn find() -> Self {
        for _ in 0..10_000 {
            let number = fastrand::u16(10_000..30_000);
            let Ok(reservation) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else {
                continue;
            };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self {
                    number,
                    _reservation: reservation,
                };
            }
        }
        panic!("no free port on 127.0.0.1");
    }

    /// The number of the port.
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
