//! Opening the listening sockets.

use std::{io, net::SocketAddr};

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};

/// Why an address cannot be listened on, with the way out.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {}", advice(.cause))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub cause: io::Error,
}

/// Connections that wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// Listens on all of the addresses.
///
/// # Errors
/// The first address that cannot be had.
pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    addresses.iter().map(|&address| listen(address).map_err(|cause| BindError { address, cause })).collect()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for the old process's connections to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there; end it (`ss -ltnp` names it) or choose another port".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "not allowed; ports below 1024 need the capability CAP_NET_BIND_SERVICE".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    }
}
