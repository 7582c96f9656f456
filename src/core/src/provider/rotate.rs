//! Rotation as back ends and targets see it.

use crate::{
    path::SecretPath,
    secret::{FieldName, SecretValue, VersionId},
};

/// One rotation's step at a target.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The secret, for the target's own log.
    pub secret: &'a SecretPath,
    /// Names the rotation: the same at every step and repetition of it.
    pub token: &'a str,
    /// The field that names the user.
    pub user_field: &'a FieldName,
    /// The field that is made anew.
    pub field: &'a FieldName,
    /// The value that is being replaced; absent when there was none before.
    pub old: Option<&'a SecretValue>,
    /// The value that replaces it.
    pub new: &'a SecretValue,
}

/// Whether a target accepts a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It does.
    Accepted,
    /// It does not.
    Refused,
}

/// How far a back end has come with a rotation of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It goes on.
    Running,
    /// This version is current now.
    Done(VersionId),
    /// It has not worked, and is not tried on there; in words without a value.
    Failed(String),
}
