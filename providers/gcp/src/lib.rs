//! Google Cloud as a back end: secrets of Secret Manager, global and regional, and short-lived tokens of service accounts.
//!
//! The only crate that names a Google Cloud SDK. It knows nothing of leases.

mod change;
mod check;
mod client;
mod config;
mod error;
mod issuer;
mod patience;
mod provider;
mod reference;
mod roles;
mod sdk;
mod sign_in;
mod write;

pub use config::{Credentials, GcpConfig, GcpConfigFault};
pub use provider::GcpProvider;
pub use reference::check_reference;
pub use roles::{GcpRole, Grant};
