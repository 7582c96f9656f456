//! How configuration is read by everything of Leasehold that has any: TOML whose unknown keys are faults, and all faults
//! told at once, each with file, line and column and a way out. What the keys are is for the programs to say.

mod duration;
pub mod element;
pub mod fault;
pub mod record;
pub mod section;
mod size;
pub mod source;

pub use element::{Element, Form};
pub use fault::{Fault, Faults, Place, Sink};
pub use section::{Found, Section};
pub use size::Size;
pub use source::{Source, table};
