//! The listening sockets: opening them, and taking connections from them.

use std::{future::poll_fn, io, net::SocketAddr, task::Poll};

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

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

/// Accepts from whichever socket has somebody waiting, beginning with another one each turn.
pub(crate) async fn accept_any(sockets: &[TcpListener], turn: usize) -> io::Result<(TcpStream, SocketAddr)> {
    let first = turn.checked_rem(sockets.len()).unwrap_or(0);
    poll_fn(|cx| {
        let (before, after) = sockets.split_at_checked(first).unwrap_or((sockets, &[]));
        for socket in after.iter().chain(before) {
            if let Poll::Ready(accepted) = socket.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// Whether the peer went away before it was accepted, which says nothing about the next one.
pub(crate) fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_cannot_be_had_is_named_with_the_way_out() {
        let held = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let taken = held[0].local_addr().unwrap();
        let error = bind(&[taken]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {taken}: another process")), "{error}");
        let error = bind(&["192.0.2.1:0".parse().unwrap()]).unwrap_err().to_string();
        assert!(error.contains("no such address"), "{error}");
    }
}
