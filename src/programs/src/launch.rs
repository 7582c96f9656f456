//! Starting a program with secrets: in its environment, and on a descriptor.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::ffi::OsStrExt,
    },
};

use leasehold_core::SecretBytes;
use thiserror::Error;
use tokio::process::Command;

use crate::{Child, Group, User, find, own_variables, sealed};

/// What is to be started, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The program, found as a shell finds it, and its arguments.
    pub argv: &'a [OsString],
    /// Variables and what is in them; what has a zero byte cannot be in one.
    pub variables: &'a [(String, SecretBytes)],
    /// What it reads from a descriptor, whose number [`Launch::FD`] tells it.
    pub memory: Option<&'a SecretBytes>,
    /// Which of [our own variables](own_variables) it gets all the same.
    pub inherit: &'a [String],
    /// As whom.
    pub user: Option<&'a User>,
    /// In which group.
    pub group: Group,
}

/// Why a program was not started.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// There is none of that name.
    #[error("`{program}` is not found: give its path, or have its folder in PATH")]
    NotFound {
        /// What it was called.
        program: String,
    },
    /// The system does not start it.
    #[error("`{program}` cannot be started: {error}{hint}")]
    NotStarted {
        /// What it was called.
        program: String,
        /// What the system says.
        error: io::Error,
        /// The way out, where one is known.
        hint: &'static str,
    },
    /// The system does not let a program be run, or not be waited for.
    #[error("the system does not let a program be run: {0}")]
    System(#[from] io::Error),
}

impl Launch<'_> {
    /// The variable in which a program finds the number of its descriptor.
    pub const FD: &'static str = "LEASEHOLD_SECRETS_FD";

    /// Starts it.
    ///
    /// # Errors
    /// Why it does not run.
    pub fn start(&self) -> Result<Child, LaunchError> {
        let Some((program, arguments)) = self.argv.split_first() else {
            return Err(LaunchError::NotFound { program: String::new() });
        };
        let not_found = || LaunchError::NotFound { program: program.to_string_lossy().into_owned() };
        let mut command = Command::new(find(program).ok_or_else(not_found)?);
        command.args(arguments);
        for variable in own_variables() {
            if !self.inherit.iter().any(|wanted| *wanted.as_str() == *variable) {
                command.env_remove(variable);
            }
        }
        for (name, value) in self.variables {
            command.env(name, OsStr::from_bytes(value.expose()));
        }
        let memory = self.memory.map(|bytes| sealed("leasehold-secrets", bytes.expose())).transpose()?;
        if let Some(memory) = &memory {
            command.env(Self::FD, memory.as_raw_fd().to_string());
        }
        if let Some(user) = self.user {
            user.run(&mut command);
        }
        let inherited: Vec<_> = memory.iter().map(AsFd::as_fd).collect();
        Child::start(&mut command, self.group, &inherited).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => not_found(),
            kind => {
                let as_another = kind == io::ErrorKind::PermissionDenied && self.user.is_some();
                let hint = if as_another {
                    ": to run it as another user, this needs CAP_SETUID and CAP_SETGID"
                } else {
                    ""
                };
                LaunchError::NotStarted { program: program.to_string_lossy().into_owned(), error, hint }
            }
        })
    }
}

impl LaunchError {
    /// How shells and `env(1)` tell it: 127 for what is not found, 126 for what cannot be run, 125 for what is not the
    /// program's fault.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotStarted { .. } => 126,
            Self::System(_) => 125,
        }
    }
}
