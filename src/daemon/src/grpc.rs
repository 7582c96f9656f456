//! The gRPC edge: the services of `leasehold.v1` over the engine, with health and reflection.
//!
//! Messages become typed requests here and nothing of the contract goes deeper; failures become codes and reasons in
//! [`status`] alone. Who calls comes from the [`listener`](crate::listener), which lets nobody through without an
//! identity and which ends streams whose peer is no longer trusted. What a call may do is the engine's to decide.

mod audit_leave;
mod audit_stream;
mod broker_status;
mod caller;
mod convert;
mod health;
mod lease_service;
mod operator_service;
mod rate_limits;
mod request_info;
mod routes;
mod seats;
pub mod status;
#[cfg(test)]
mod tests;
mod unary;
mod watches;

pub use broker_status::{BrokerFacts, Facts, LastReload, LedgerFacts};
pub use rate_limits::{Rate, RateLimits, Rates};
pub use routes::{Parts, Routes, Settings};
