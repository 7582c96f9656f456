//! The use cases of the broker, one file a verb, over the ports of `leasehold-core`; and the one background loop,
//! `Engine::reconcile`, into which expiry, revocation, crashes and provider failures all lead.
//!
//! Nothing here knows gRPC, TLS, Cedar or sled.

mod access;
mod broker;
mod cache;
mod change_secret;
mod check_provider;
mod circuit;
mod clock_taken_back;
mod desk;
mod endings;
mod engine;
pub mod error;
mod find_leases;
mod forget_lease;
mod hold;
mod idempotency;
mod issue_lease;
mod known_holders;
mod on_its_way_out;
mod orphans;
mod own_secret;
mod quota;
mod read_leases;
mod reconcile;
mod renew_lease;
pub mod request;
mod resting;
mod retry_lease;
mod revocation;
mod revoke_lease;
mod rotation;
mod secrets;
mod shield;
mod sign_in;
mod sweep;
mod tally;
mod unclaimed;
mod upstream;
mod versions;
mod watch_leases;
mod watch_secret;

pub use engine::{Engine, Parts, ProviderLimits, Settings};
pub use error::{Denial, EngineError};
pub use resting::Rests;
pub use rotation::{RotationParts, TooOld};
