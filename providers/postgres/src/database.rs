//! What is any database's: how a lease's user is called, what its password is, what statements of the configuration may
//! say, and how long the database itself keeps a user.
//!
//! It knows no database: what quotes a value in one is its [`Dialect`].

mod name;
mod password;
mod statements;

use std::time::Duration;

use leasehold_core::{Timestamp, ttl::after};

pub use self::{
    name::{InvalidPrefix, UserNames},
    password::generate,
    statements::{Dialect, Form, InvalidStatement, Parameter, Statements, Token, Unclosed, Values},
};

/// When the database itself stops letting a user in: later than the lease by a margin, so that clocks which differ a
/// little cut no lease short. It is the second bolt: the broker ends the user at the lease's end.
pub fn last_entry(end: Timestamp, margin: Duration) -> Timestamp {
    after(end, margin)
}
