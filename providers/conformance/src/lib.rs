//! What every back end must do alike, as a suite that is run against it, and the servers to run it against.
//!
//! A provider's tests implement [`Fixture`] and call [`run`]. [`peers`] starts the real servers; a [`proxy`] in front of
//! one loses, stalls and cuts what it says; what no real server shows on demand is played by a [`scripted`] one. For
//! tests only: nothing here is in a broker.

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
