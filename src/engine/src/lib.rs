//! The use cases of the broker, one file a verb, over the ports of `leasehold-core`; and the one background loop,
//! [`reconcile`], into which expiry, revocation, crashes and provider failures all lead.
//!
//! Nothing here knows gRPC, TLS, Cedar or sled.

pub mod error;
pub mod request;

pub use error::EngineError;
