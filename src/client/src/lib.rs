//! The Rust SDK of Leasehold: a typed client of the broker's gRPC contract over mutual TLS, and a guard that keeps what was
//! leased.
//!
//! ```no_run
//! use leasehold_client::{Change, Client};
//!
//! # async fn lease() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::from_env().await?;
//! let held = client.lease("prod/payments/db").await?;
//! let password = held.field("password");
//!
//! // Somewhere else: learn when there is another value.
//! let mut changes = held.changes();
//! while let Some(change) = changes.next().await {
//!     if let Change::Replaced(new) = change {
//!         // ... use it, and when nothing uses the old one any more:
//!         held.switched(&new);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Values are `leasehold_core`'s [`SecretValue`](leasehold_core::SecretValue): wiped when dropped, never printed. TLS is
//! 1.3 only, by aws-lc-rs; the system's authorities are never trusted. The calls of [`Client`] renew nothing by themselves;
//! a [`Leased`] does.

mod address;
mod backoff;
mod builder;
mod client;
mod connect;
mod credentials;
mod error;
mod explanation;
mod lease;
mod leased;
mod operator;
mod random;
mod retry;
mod revocation;
mod rotation;
mod source;
mod tls;
mod transport;
mod watch_secret;
mod wire;

pub use address::{Address, InvalidAddress};
pub use builder::{
    Builder, ENV_ADDR, ENV_CA, ENV_CERT, ENV_IDENTITY, ENV_KEY, ENV_SERVER_ID, ENV_WORKLOAD_API,
};
pub use client::{Client, IdentityFacts, Issue, Watch};
pub use connect::{ClientFault, ConnectError, ServerFault};
pub use credentials::{CredentialError, Identity, TrustBundle};
pub use error::{Answer, Error, Violation};
pub use explanation::Explanation;
pub use lease::{EndCause, Ending, IssuedLease, Lease, LeaseChange, LeaseState, Notice, Page, RenewedLease};
pub use leased::{Borrow, Change, Changes, Holding, Leased, Standing, WhyEnded};
pub use leasehold_proto::v1 as proto;
pub use operator::{AuditRecords, LeaseFilter, Operator, Revocation, RevocationFailure, SecretChange, Write};
pub use revocation::{RevocationProgress, StartRevocation};
pub use rotation::{RotateSecret, RotationFilter, RotationProgress};
pub use watch_secret::{SecretNews, SecretNotice, SecretWatch};
