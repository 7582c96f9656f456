//! Leasehold's domain: what a lease, a secret, a principal and a record *are*, and what may happen to them.
//!
//! Pure by rule: no runtime, no I/O, no clock, no randomness, no protocol types. What the domain needs
//! from the world it asks for through the traits of [`ports`]; adapters in the other crates implement them.

pub mod access;
pub mod bytes;
pub mod catalog;
pub mod codec;
pub mod explanation;
pub mod id;
pub mod lease;
pub mod path;
pub mod ports;
pub mod principal;
pub mod provider;
pub mod record;
pub mod rotation;
pub mod secret;
pub mod state;
pub mod ttl;

pub use id::{CallId, LeaseId, RequestId, RevocationId};
pub use jiff::Timestamp;
pub use lease::Lease;
pub use path::SecretPath;
pub use principal::SpiffeId;
pub use secret::{SecretBytes, SecretValue};
