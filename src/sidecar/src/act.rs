//! What is done when something has changed: signals, units, commands, and the program of `exec`.
//!
//! Each thing to do waits for itself until nothing else changes, and is tried again when it fails; but for the program of
//! `exec`, which may have to wait for long, one is done at a time. A secret counts as switched when everybody who was to be
//! told of its change has been; where that fails, its older lease is left to its end.

mod command;
mod crew;
mod inbox;
mod pid_file;
mod reaction;
mod switching;
mod unit;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use leasehold_programs::{Gone, UnknownUser, Untrusted};
use thiserror::Error;
use tokio::sync::{mpsc, watch};

pub(crate) use self::inbox::News;
pub use self::pid_file::PidFileError;
use self::{
    crew::{Crew, Dismissed},
    inbox::Inbox,
    switching::Switching,
};
use crate::{
    config::{
        OnChange,
        on_change::{Deed, Timing},
    },
    edition::Edition,
    exec::{GivenError, Told},
    name::Name,
    publish::Published,
    snapshot::Snapshot,
};

/// How acting goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How often something was done.
    pub done: u64,
    /// How often it failed, with every time that it was tried again.
    pub failed: u64,
    /// What was given up until the next change, by the number of who was to do it.
    pub given_up: BTreeMap<usize, Box<str>>,
}

/// Why something could not be done.
#[derive(Debug, Error)]
pub enum ActError {
    /// The program is not run for what others could make of it.
    #[error("{0}")]
    Untrusted(#[from] Untrusted),
    /// The program cannot be run as this user.
    #[error("{0}")]
    User(#[from] UnknownUser),
    /// The program cannot be run.
    #[error("`{program}` cannot be run: {error}")]
    NotRun {
        /// The program.
        program: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The program says that it did not work.
    #[error("`{program}` ended with the exit code {code}")]
    Failed {
        /// The program.
        program: String,
        /// What it said.
        code: i32,
    },
    /// The program was ended by a signal.
    #[error("`{program}` was ended by a signal")]
    Killed {
        /// The program.
        program: String,
    },
    /// The program took too long.
    #[error("`{program}` took longer than {limit:?} and was ended")]
    TooSlow {
        /// The program.
        program: String,
        /// How long it may take.
        limit: Duration,
    },
    /// There is no systemd.
    #[error(
        "there is no `systemctl` on this machine: tell the service in another way, or run it under systemd"
    )]
    NoSystemd,
    /// A secret that the command is to have is not held.
    #[error("the secret `{0}` is not held")]
    NotHeld(Name),
    /// The process cannot be told.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// The program of `exec` cannot be given what is new.
    #[error(transparent)]
    Given(#[from] GivenError),
    /// The program of `exec` has ended.
    #[error(transparent)]
    Gone(#[from] Gone),
}

/// One thing to do, and when.
#[derive(Debug)]
pub(crate) struct ToDo {
    pub(crate) only_for: BTreeSet<Name>,
    pub(crate) timing: Timing,
    pub(crate) settle: Duration,
    pub(crate) retries: u32,
    pub(crate) on_start: bool,
    pub(crate) by: By,
}

/// Who does it.
#[derive(Debug)]
pub(crate) enum By {
    /// As `[[on_change]]` says.
    Setting(OnChange),
    /// The program of `exec`.
    Program(Told),
    /// Nobody: it is never done.
    Nobody,
}

/// Acts on everything that is published until that ends, at first as `settings` say and then as each reading of the
/// configuration does; `switched` is told what everybody uses then. `standing` says how it goes.
pub async fn run(
    settings: Vec<OnChange>,
    published: mpsc::Receiver<Published>,
    switched: impl Fn(&Snapshot),
    standing: watch::Sender<Standing>,
) {
    run_all(settings.into_iter().map(ToDo::from).collect(), published, switched, standing).await;
}

pub(crate) async fn run_all(
    all: Vec<ToDo>,
    mut published: mpsc::Receiver<Published>,
    switched: impl Fn(&Snapshot),
    standing: watch::Sender<Standing>,
) {
    let (done, mut dones) = mpsc::channel(16);
    let mut crew = Crew::new(done, standing);
    crew.hire(all);
    let mut switching = Switching::default();
    loop {
        let all_use = tokio::select! {
            news = published.recv() => {
                let Some(Published { first, changed, snapshot, edition }) = news else { return };
                let follow = |edition: Arc<Edition>| crew.follow(&edition.config.on_change);
                let gone = edition.map(follow).unwrap_or_default();
                let told = tell(&crew, first, &changed, &gone, &snapshot);
                // Nothing is closed in between: what is owed is open under the numbers of who is told instead.
                gone.numbers.iter().for_each(|number| switching.forget(*number));
                switching.published(&snapshot, &told)
            }
            Some((number, generation)) = dones.recv() => switching.done(number, generation),
        };
        if let Some(all_use) = all_use {
            switched(&all_use);
        }
    }
}

/// Puts it into the inboxes of those who mind it: what has changed, and for who is new also what others have not been told
/// with success. Who is told, and of which secrets.
fn tell(
    crew: &Crew,
    first: bool,
    changed: &BTreeSet<Name>,
    gone: &Dismissed,
    snapshot: &Arc<Snapshot>,
) -> Vec<(usize, BTreeSet<Name>)> {
    let with_owed: BTreeSet<Name> = changed.union(&gone.owed).cloned().collect();
    let mut told = Vec::new();
    for member in crew.members() {
        let is_new = !gone.numbers.is_empty() && member.number >= gone.new_from;
        let changed = if is_new { &with_owed } else { changed };
        let only_for = &member.only_for;
        let concerned = only_for.is_empty() || !only_for.is_disjoint(changed);
        if concerned && !changed.is_empty() && (!first || member.on_start) {
            told.push((member.number, secrets_behind(only_for, changed, snapshot)));
            member.inbox.put(News { changed: changed.clone(), snapshot: snapshot.clone() });
        }
    }
    told
}

/// The secrets that have not been switched before somebody who minds only some names has been told. What a file is made of
/// is not known here: with one of those it is all that have changed.
fn secrets_behind(
    only_for: &BTreeSet<Name>,
    changed: &BTreeSet<Name>,
    snapshot: &Snapshot,
) -> BTreeSet<Name> {
    let is_secret = |name: &Name| snapshot.secrets.contains_key(name);
    let by_file = only_for.iter().any(|name| changed.contains(name) && !is_secret(name));
    let all = only_for.is_empty() || by_file;
    changed.iter().filter(|name| is_secret(name) && (all || only_for.contains(*name))).cloned().collect()
}

impl From<OnChange> for ToDo {
    fn from(setting: OnChange) -> Self {
        Self {
            only_for: setting.only_for.iter().cloned().collect(),
            timing: setting.timing,
            settle: setting.settle,
            retries: setting.retries,
            on_start: setting.on_start,
            by: By::Setting(setting),
        }
    }
}

impl ToDo {
    /// How people know it.
    fn what(&self) -> String {
        match &self.by {
            By::Program(_) => "the program is told".to_owned(),
            By::Nobody => String::new(),
            By::Setting(setting) => match &setting.deed {
                Deed::Signal { pid_file, signal } => format!("{signal} to {}", pid_file.display()),
                Deed::Unit { unit, .. } => format!("unit `{}`", unit.as_str()),
                Deed::Command { command, .. } => {
                    format!("command `{}`", command.first().map(String::as_str).unwrap_or_default())
                }
            },
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
