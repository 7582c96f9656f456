//! `leaseholdd`, the broker: configuration, the wiring of every part, TLS, the gRPC edge, start and end.
//!
//! A library only so that tests can reach in; the program is `main.rs`. What the broker decides is in
//! `leasehold-engine`; here is how it meets the machine.

pub mod args;
pub mod check;
pub mod clock;
pub mod compose;
pub mod config;
pub mod grpc;
pub mod hardening;
pub mod identity;
pub mod init;
pub mod listener;
pub mod log;
pub mod notify;
pub mod providers;
pub mod reload;
pub mod shutdown;
pub mod state_dir;
pub mod tls;
