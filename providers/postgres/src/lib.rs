//! PostgreSQL as a back end: a user of the database for each lease, made by the broker itself and taken away again; and as
//! a target of rotation: users that are there, whose passwords are changed.
//!
//! The only crate that names `tokio-postgres`. What is any database's is in [`database`], which knows nothing of this one.

mod administrator;
mod check;
mod config;
mod connection;
pub mod database;
mod ending;
mod error;
mod handle;
mod in_time;
mod issuer;
mod provider;
mod role;
mod scram;
mod secrets;
mod server;
mod session;
mod sql;
mod tag;
mod target;
mod tls;
mod trial;

use leasehold_core::provider::{ErrorClass, ProviderError};

pub use config::{Administrator, PostgresConfig, PostgresConfigFault, Terminate, Tls};
pub use provider::PostgresProvider;
pub use role::{InvalidRole, Owned, PostgresRole};

/// Whether `text` can be a secret's `ref` here: there are no static secrets, so none can.
///
/// # Errors
/// Always, with what to write instead.
pub fn check_reference(text: &str) -> Result<(), ProviderError> {
    let message = format!("`{text}`: a database has no secrets to read: lend its users by `role`");
    Err(ProviderError::new(ErrorClass::Invalid, message))
}
