//! Who calls: what the listener knows of the connection, taken from the request.

use std::sync::Arc;

use http::Extensions;
use leasehold_core::record::Actor;
use tonic::Request;

use super::status::EdgeError;
use crate::listener::Peer;

/// The caller of a request with these extensions.
pub(super) fn of(extensions: &Extensions) -> Result<Actor, EdgeError> {
    let peer = extensions.get::<Arc<Peer>>().ok_or(EdgeError::NoIdentity)?;
    Ok(Actor { call: extensions.get().copied(), ..peer.actor().clone() })
}

/// The caller and what it asks.
pub(super) fn split<T>(request: Request<T>) -> Result<(Actor, T), EdgeError> {
    Ok((of(request.extensions())?, request.into_inner()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_calls_without_an_identity() {
        assert!(matches!(split(Request::new(())), Err(EdgeError::NoIdentity)));
    }
}
