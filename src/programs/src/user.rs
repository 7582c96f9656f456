//! As whom a program runs.

use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::process::Command;
use uzers::os::unix::UserExt;

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    uid: u32,
    gid: u32,
    home: PathBuf,
}

/// There is no such user.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no user `{0}`")]
pub struct UnknownUser(pub Box<str>);

impl User {
    /// Looks a user up.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn named(name: &str) -> Result<Self, UnknownUser> {
        let found = uzers::get_user_by_name(name).ok_or_else(|| UnknownUser(name.into()))?;
        Ok(Self { uid: found.uid(), gid: found.primary_group_id(), home: found.home_dir().to_owned() })
    }

    /// Has a program run as this user, in the user's group and no other. Needs `CAP_SETUID` and `CAP_SETGID`.
    pub fn run(&self, command: &mut Command) {
        // The standard library drops the supplementary groups along.
        command.uid(self.uid).gid(self.gid);
    }

    /// The home folder, where there is one.
    pub fn home(&self) -> Option<&Path> {
        self.home.is_dir().then_some(self.home.as_path())
    }
}
