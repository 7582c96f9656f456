//! The authorizer over Cedar: which principal may do what to which secret, by the policies of a folder.
//!
//! Everything that decides is compiled once, at load, and never changes after: a new folder makes new [`Policies`],
//! and [`CedarAuthorizer::replace`] puts them into force as a whole. A faulty folder makes none, and says every fault.
//!
//! A decision is a function of the request, the policies and the [`PolicySettings`]; there is no clock and no look-up
//! in it. Nothing here knows whether a secret exists.

mod authorizer;
mod clause;
mod context;
mod denial;
mod entities;
#[cfg(test)]
mod equivalence;
mod explain;
mod fault;
mod identity;
mod limit;
mod load;
mod nesting;
mod policies;
mod select;
mod site;

pub use authorizer::CedarAuthorizer;
pub use explain::{Considered, EntityView, Explanation, PolicyEffect, Verdict};
pub use fault::{Fault, PolicyErrors};
pub use identity::PolicySettings;
pub use policies::{Policies, SCHEMA};
