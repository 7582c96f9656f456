//! Ports for servers that cannot choose one themselves.

use std::net::{Ipv4Addr, TcpListener};

use super::PeerError;

/// How often a port that was free may turn out to be taken.
const TRIES: usize = 8;

/// Starts a server on a free port, and on another if somebody was faster.
pub(super) async fn on_a_free_port<T>(
    program: &'static str,
    start: impl AsyncFn(u16) -> Result<T, PeerError>,
) -> Result<T, PeerError> {
    let mut last = PeerError::NotStarted(program, "there is no free port".to_owned());
    for _ in 0..TRIES {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = port.map_err(|error| PeerError::NotStarted(program, error.to_string()))?.port();
        match start(port).await {
            Err(PeerError::NotStarted(name, why))
                if why.to_lowercase().contains("address already in use") =>
            {
                last = PeerError::NotStarted(name, why);
            }
            outcome => return outcome,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_exchanged_and_another_failure_is_told() {
        let tries = AtomicUsize::new(0);
        let taken = || PeerError::NotStarted("x", "bind: Address already in use".to_owned());
        let outcome = on_a_free_port("x", async |port| {
            if tries.fetch_add(1, Ordering::SeqCst) < 2 { Err(taken()) } else { Ok(port) }
        });
        assert!(outcome.await.unwrap() > 0);
        assert_eq!(tries.load(Ordering::SeqCst), 3);
        assert!(on_a_free_port("x", async |_| Err::<(), _>(taken())).await.is_err());
        let broken = async |_| Err::<(), _>(PeerError::NotStarted("x", "no licence".to_owned()));
        assert!(on_a_free_port("x", broken).await.unwrap_err().to_string().contains("licence"));
    }
}
