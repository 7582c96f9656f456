//! The listener: TCP and TLS in, authenticated requests out.
//!
//! It accepts, shakes hands, keeps connections and principals within their limits, asks on every request whether the
//! peer is still trusted, and hands the request with its [`Peer`] to a service. What the request asks for, it does
//! not know.

mod admission;
mod connection;
mod establish;
mod gathered;
mod handshakes;
mod peer;
mod refusal;
mod registry;
mod serve;
mod service;
mod settings;
mod sockets;
#[cfg(test)]
mod tests;
mod throttle;

pub use peer::Peer;
pub use serve::{Drained, Listener, Stats};
pub use service::Answers;
pub use settings::Settings;
pub use sockets::{BindError, bind};
