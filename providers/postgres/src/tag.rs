//! What marks a user as ours: a comment on it that names the lease, the role and the holder.

use serde::{Deserialize, Serialize};

/// The comment. It is for people and for us, and no authority: whoever may alter the user may alter it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tag {
    /// The lease.
    pub(crate) leasehold: String,
    /// The broker that made it: several may work on one server.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) broker: String,
    /// The role of the configuration.
    #[serde(default)]
    pub(crate) role: String,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) holder: String,
    /// Whether it has ended, and is kept for what it owns.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) ended: bool,
}

impl Tag {
    /// The comment's text.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What a comment says, if it is one of ours.
    pub(crate) fn of(comment: &str) -> Option<Self> {
        serde_json::from_str(comment).ok()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
