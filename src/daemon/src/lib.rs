//! `leaseholdd`, the broker: configuration, the wiring of every part, TLS, the gRPC edge, start and end.
//!
//! A library only so that tests can reach in; the program is `main.rs`. What the broker decides is in
//! `leasehold-engine`; here is how it meets the machine.

#[cfg(not(any(
    feature = "local",
    feature = "aws",
    feature = "vault",
    feature = "gcp",
    feature = "azure",
    feature = "postgres"
)))]
compile_error!(
    "a broker without a back end has nothing to lend: build with one of `--features local,aws,vault,gcp,azure,postgres`"
);

pub mod args;
#[cfg(feature = "local")]
pub mod bundle;
pub mod check;
pub mod clock;
pub mod compose;
pub mod config;
mod facts;
pub mod grpc;
pub mod hardening;
pub mod identity;
pub mod init;
pub mod listener;
pub mod live;
pub mod log;
mod metrics;
pub mod notify;
pub mod own_secrets;
pub mod place;
pub mod program;
mod programs;
pub mod providers;
#[cfg(test)]
mod reference;
mod reload;
mod shutdown;
pub mod start_error;
pub mod state_dir;
#[cfg(test)]
mod systemd_units;
pub mod tls;
