//! Other people's programs as children of this process: which of them are run, what they are given, and that they end.
//!
//! Two ways of running one: [`run`] starts a program for one piece of work and ends it when it takes too long, and
//! [`supervise`] stands in for a program for as long as that lives: signals go through to it, its exit code comes back, and
//! it is told of changes or restarted. What a program is for, and what its exit codes mean, is for the caller to know.

mod child;
mod course;
mod environment;
mod fields;
mod launch;
mod mask;
mod memory;
mod once;
mod orphans;
mod pace;
mod said;
mod signals;
mod supervise;
mod trust;
mod user;

pub use child::{Child, End, Group};
pub use environment::{is_variable, own_variables};
pub use fields::Fields;
pub use launch::{Launch, LaunchError};
pub use mask::Mask;
pub use memory::sealed;
pub use once::{Ended, Run, run};
pub use orphans::adopt_orphans;
pub use pace::Pace;
pub use signals::{SignalName, UnknownSignal};
pub use supervise::{Controls, Gone, Orders, Outcome, Program, supervise};
pub use trust::{Untrusted, find, trusted};
pub use user::{UnknownUser, User};

#[cfg(test)]
mod tests;
