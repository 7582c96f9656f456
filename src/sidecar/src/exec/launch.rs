//! Starting the program with what it is given.

use std::{ffi::OsString, io, sync::Arc};

use leasehold_programs::{Child, Group, Launch, LaunchError, UnknownUser, User};
use thiserror::Error;
use tokio::sync::watch;
use tracing::info;

use super::given::{Given, GivenError};
use crate::{args::Exit, config::Exec, hardening, snapshot::Snapshot};

/// Why the program does not run.
#[derive(Debug, Error)]
pub(super) enum NotLaunched {
    #[error("the program is not started: {0}")]
    Given(#[from] GivenError),
    #[error("the program is not started: {0}")]
    User(#[from] UnknownUser),
    #[error("{0}")]
    Program(#[from] LaunchError),
}

pub(super) struct Launcher {
    pub(super) settings: Arc<Exec>,
    pub(super) argv: Vec<OsString>,
    pub(super) latest: watch::Receiver<Arc<Snapshot>>,
    pub(super) group: Group,
    /// The generation that it was started with.
    pub(super) launched: watch::Sender<u64>,
}

impl Launcher {
    pub(super) fn launch(&mut self) -> Result<Child, NotLaunched> {
        let snapshot = self.latest.borrow().clone();
        let given = Given::of(&self.settings, &snapshot)?;
        let user = self.settings.user.as_deref().map(User::named).transpose()?;
        let launch = Launch {
            argv: &self.argv,
            variables: &given.variables,
            memory: given.memory.as_ref(),
            inherit: &self.settings.inherit,
            user: user.as_ref(),
            group: self.group,
        };
        let child = hardening::as_it_was(|| launch.start())?;
        self.launched.send_replace(snapshot.generation);
        info!(pid = child.pid(), "the program runs");
        Ok(child)
    }
}

impl NotLaunched {
    /// How the sidecar ends then.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Given(_) => Exit::NoSecrets,
            Self::User(_) | Self::Program(LaunchError::NotStarted { .. }) => Exit::NotStarted,
            Self::Program(LaunchError::NotFound { .. }) => Exit::NotFound,
            Self::Program(LaunchError::System(_)) => Exit::Failed,
        }
    }
}

impl From<io::Error> for NotLaunched {
    fn from(error: io::Error) -> Self {
        Self::Program(error.into())
    }
}
