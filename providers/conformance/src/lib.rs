//! What every back end must do alike, as a suite that is run against it, and the servers to run it against.
//!
//! A provider's tests implement [`Fixture`], and [`Issuing`] if it makes credentials, and call [`run`]:
//!
//! ```text
//! let Some(bao) = or_skip(Bao::start().await).unwrap() else { return };
//! let report = run(&Vault::on(bao).await).await;
//! report.record().unwrap();
//! report.passed().unwrap();
//! ```
//!
//! A case is run against a real or an independent server wherever that can show it ([`peers`]), if need be with a
//! [`proxy`] in front of it that loses, stalls and cuts what it says; what no real server can be brought to is played by
//! a [`scripted`] one. The [`report`] says of each case which it was. For tests only: nothing here is in a broker.

pub mod authority;
mod cases;
pub mod fixture;
pub mod http;
pub mod issuing;
pub mod peers;
pub mod proxy;
pub mod report;
pub mod scene;
pub mod scripted;

pub use cases::{Case, run};
pub use fixture::{Fixture, Placed};
pub use issuing::{Issuing, Lossy};
pub use report::{Against, Outcome, Report};
pub use scene::{Scene, Trouble, Unplayed};
