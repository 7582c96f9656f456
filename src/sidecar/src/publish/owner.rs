//! Users and groups as the configuration names them.

use std::fmt;

use rustix::fs::{Gid, Uid};
use thiserror::Error;

use crate::config::Files;

/// Whose files are to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The owner; the sidecar's own user when absent.
    pub user: Option<u32>,
    /// The group; left as it is when absent.
    pub group: Option<u32>,
}

/// There is no such user or group on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no {kind} `{name}` on this machine: make it, or write a number")]
pub struct NoSuchOwner {
    kind: &'static str,
    name: String,
}

impl Ownership {
    /// Looks the names up; a number is taken as it is.
    ///
    /// # Errors
    /// When there is no such user or group.
    pub fn of(settings: &Files) -> Result<Self, NoSuchOwner> {
        let user = settings.owner.as_deref().map(user).transpose()?;
        let group = match settings.group.as_deref() {
            Some(name) => Some(group(name)?),
            None => user.and_then(|(_, group)| group),
        };
        Ok(Self { user: user.map(|(id, _)| id), group })
    }

    pub(super) fn uid(self) -> Option<Uid> {
        self.user.map(Uid::from_raw)
    }

    pub(super) fn gid(self) -> Option<Gid> {
        self.group.map(Gid::from_raw)
    }

    /// Whether the files are for somebody else, who needs a way through the directory.
    pub(super) fn is_shared(self) -> bool {
        self.user.is_some() || self.group.is_some()
    }
}

/// As `chown` takes it.
impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = self.user {
            write!(f, "{user}")?;
        }
        if let Some(group) = self.group {
            write!(f, ":{group}")?;
        }
        Ok(())
    }
}

/// A user with its own group, where that is known.
fn user(name: &str) -> Result<(u32, Option<u32>), NoSuchOwner> {
    if let Ok(id) = name.parse() {
        return Ok((id, uzers::get_user_by_uid(id).map(|user| user.primary_group_id())));
    }
    let found = uzers::get_user_by_name(name).map(|user| (user.uid(), Some(user.primary_group_id())));
    found.ok_or_else(|| NoSuchOwner { kind: "user", name: name.to_owned() })
}

fn group(name: &str) -> Result<u32, NoSuchOwner> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let found = uzers::get_group_by_name(name).map(|group| group.gid());
    found.ok_or_else(|| NoSuchOwner { kind: "group", name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(user("root").unwrap(), (0, Some(0)));
        assert_eq!(user("4242424").unwrap(), (4_242_424, None));
        assert_eq!(group("root").unwrap(), 0);
        let whose = |user, group| Ownership { user, group }.to_string();
        assert_eq!([whose(Some(1), None), whose(None, Some(2)), whose(Some(1), Some(2))], ["1", ":2", "1:2"]);
        let error = user("nobody-of-that-name").unwrap_err().to_string();
        assert!(error.contains("there is no user `nobody-of-that-name`"), "{error}");
    }
}
