//! Why a broker did not start, and with which code the process ends for it.

use std::io;

use leasehold_audit::JournalError;
use leasehold_core::{principal::InvalidSpiffeId, provider::ProviderName};
use leasehold_engine::EngineError;
use leasehold_ledger::OpenError;
use leasehold_seal::KeyRingError;
use thiserror::Error;

use crate::{
    args::Exit,
    check::Finding,
    config::Faults,
    init::InitError,
    listener::BindError,
    log::LogError,
    providers::{ProviderFault, with_causes},
    state_dir::StateDirError,
};

/// Why it did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration.
    #[error("{0}")]
    Config(Faults),
    /// What it names.
    #[error("{}", lines(.0))]
    Findings(Vec<Finding>),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state directory.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The seal key.
    #[error(transparent)]
    Key(#[from] KeyRingError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// Whether the state lies where it lay.
    #[error("the note in the state directory of where the state lies cannot be read")]
    Place(#[source] io::Error),
    /// What an earlier process left in the state.
    #[error("what the broker was doing when it ended cannot be read from the state")]
    TakeUp(#[source] EngineError),
    /// The back ends.
    #[error("{}", lines(.0))]
    Providers(Vec<ProviderFault>),
    /// A trust domain so long that the broker's own identity does not fit.
    #[error("the broker's own identity cannot be made in this trust domain")]
    Identity(#[source] InvalidSpiffeId),
    /// The kernel's boot id, by which a power cut is noticed.
    #[error("/proc/sys/kernel/random/boot_id cannot be read: the broker needs it to notice a power cut")]
    BootId(#[source] io::Error),
    /// An address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The runtime or the signals.
    #[error("the system does not let the broker run")]
    System(#[source] io::Error),
    /// `init`.
    #[error(transparent)]
    Init(#[from] InitError),
    /// A running broker has what is to be worked on.
    #[error("a broker runs on the provider `{0}`: stop it first")]
    ProviderInUse(ProviderName),
    /// A bundle that could not be carried.
    #[error("{0}")]
    Bundle(String),
}

impl StartError {
    /// The code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Findings(_) | Self::Log(_) | Self::Identity(_) => Exit::Config,
            Self::StateDir(StateDirError::InUse { .. }) | Self::ProviderInUse(_) => Exit::InUse,
            // Nothing is wrong with the state, and when there is room again a restart helps.
            Self::Ledger(error) if is_for_want_of_room(error) => Exit::Failed,
            // The index is not readable; the restart makes it anew.
            Self::TakeUp(EngineError::Unavailable(_)) => Exit::Failed,
            Self::StateDir(_)
            | Self::Key(_)
            | Self::Ledger(_)
            | Self::Place(_)
            | Self::TakeUp(_)
            | Self::Init(_) => Exit::State,
            Self::Bundle(_) | Self::Providers(_) | Self::BootId(_) | Self::Bind(_) | Self::System(_) => {
                Exit::Failed
            }
        }
    }

    /// What is printed: the error with everything below it.
    pub fn report(&self) -> String {
        with_causes(self)
    }
}

impl From<Vec<ProviderFault>> for StartError {
    fn from(faults: Vec<ProviderFault>) -> Self {
        Self::Providers(faults)
    }
}

fn is_for_want_of_room(error: &OpenError) -> bool {
    let source = match error {
        OpenError::Io { source, .. }
        | OpenError::Journal(JournalError::Io { source, .. } | JournalError::Full { source, .. }) => source,
        _ => return false,
    };
    matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn lines<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use leasehold_core::state::LedgerError;

    use super::*;

    #[test]
    fn a_full_disk_is_worth_another_start_and_a_closed_one_is_not() {
        let exit = |kind: io::ErrorKind| {
            StartError::from(OpenError::Io { path: "/s".into(), verb: "written", source: kind.into() }).exit()
        };
        assert_eq!(exit(io::ErrorKind::StorageFull), Exit::Failed);
        assert_eq!(exit(io::ErrorKind::PermissionDenied), Exit::State);
        let unreadable =
            StartError::TakeUp(EngineError::Unavailable(LedgerError::Corrupt("a block".to_owned())));
        assert_eq!(unreadable.exit(), Exit::Failed, "the restart makes the index anew");
        let cut = OpenError::Journal(JournalError::Cut { ends_at: 1, applied: 2 });
        assert_eq!(StartError::from(cut).exit(), Exit::State);
    }
}
