//! What every back end must do alike, as a suite that is run against it, and the servers to run it against.
//!
//! A provider's tests implement [`Fixture`] and call [`run`]. Faults that no real server shows on demand are played by a
//! [`scripted`] one; [`peers`] starts the real ones. For tests only: nothing here is in a broker.

mod cases;
pub mod fixture;
pub mod peers;
pub mod report;
pub mod scripted;

pub use cases::{Case, run};
pub use fixture::{Fixture, Placed};
pub use report::{Outcome, Report};
