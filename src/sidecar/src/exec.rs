//! Runs a program with the secrets, for as long as it lives.
//!
//! The sidecar stands in for the program: signals go through to it, its exit code comes back, and what it leaves behind is
//! buried, so that the sidecar can be the init of a container. See `leasehold_programs`.

mod given;
mod launch;

use std::{
    collections::BTreeSet, convert::Infallible, ffi::OsString, future::pending, sync::Arc, time::Duration,
};

use leasehold_programs::{Controls, Gone, Group, Outcome, Program, adopt_orphans, supervise};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::sleep,
};
use tracing::{error, info, warn};

pub use self::given::GivenError;
use self::{
    given::Given,
    launch::{Launcher, NotLaunched},
};
use crate::{
    act::{self, ActError, By, News, ToDo},
    args::Exit,
    config::{
        Exec, OnChange,
        exec::{OnProgramChange, ProgramExpired},
    },
    name::Name,
    once::missing,
    publish::Published,
    snapshot::Snapshot,
};

/// A program that is to be run with the secrets.
#[derive(Debug)]
pub struct Run {
    /// How.
    pub settings: Exec,
    /// The program and its arguments.
    pub program: Vec<OsString>,
    /// What else is done on a change.
    pub on_change: Vec<OnChange>,
    /// What is published, from the first on.
    pub published: mpsc::Receiver<Published>,
    /// What is held: for what is wrong before the first, and for leases that end.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// How acting goes.
    pub standing: watch::Sender<act::Standing>,
}

/// How the program hears of what is new.
#[derive(Debug)]
pub(crate) struct Told {
    settings: Arc<Exec>,
    controls: Controls,
    /// What the program was started with last.
    launched: watch::Receiver<u64>,
}

impl Run {
    /// Runs the program when the first is published, and tells it of what is published later as the settings say; `switched`
    /// is told what it uses then. Returns the exit code to end with.
    pub async fn run(mut self, switched: impl Fn(&Snapshot)) -> u8 {
        let _orphans = match adopt_orphans() {
            Ok(adopting) => adopting,
            Err(error) => {
                error!(%error, "the system lets nobody hear of programs that end");
                return Exit::Failed as u8;
            }
        };
        let first = match self.first().await {
            Ok(first) => first,
            Err(code) => return code,
        };
        let settings = Arc::new(self.settings);
        let (latest, latest_seen) = watch::channel(first.snapshot.clone());
        let (launched_tell, launched) = watch::channel(0);
        let (controls, orders) = Controls::new();
        let group = Group::for_standard_input();
        let mut launcher = Launcher {
            settings: settings.clone(),
            argv: self.program,
            latest: latest_seen,
            group,
            launched: launched_tell,
        };
        let program = Program {
            launch: move || launcher.launch(),
            group,
            stop: settings.stop_signal,
            grace: settings.grace,
            pace: settings.pace,
        };
        let told = Told { settings: settings.clone(), controls: controls.clone(), launched };
        let mut to_do: Vec<_> = self.on_change.into_iter().map(ToDo::from).collect();
        to_do.extend(program_to_do(&settings, told));
        let (acted, acting) = mpsc::channel(1);
        let acting = for_ever(act::run_all(to_do, acting, switched, self.standing));
        let telling = for_ever(tell(first, self.published, acted, latest, settings.clone()));
        let stopping = for_ever(stop_when_expired(settings.expired, self.snapshots, controls));
        let outcome = tokio::select! {
            outcome = supervise(program, orders) => outcome,
            never = acting => match never {},
            never = telling => match never {},
            never = stopping => match never {},
        };
        finish(outcome)
    }

    /// What the program starts with.
    async fn first(&mut self) -> Result<Published, u8> {
        let listen =
            || Ok::<_, std::io::Error>((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?));
        let Ok((mut term, mut int)) = listen() else { return Err(Exit::Failed as u8) };
        let limit = self.settings.start_timeout;
        let too_late = async {
            match limit {
                Some(limit) => sleep(limit).await,
                None => pending().await,
            }
        };
        tokio::pin!(too_late);
        loop {
            tokio::select! {
                biased;
                _ = term.recv() => return Err(killed_by(SignalKind::terminate())),
                _ = int.recv() => return Err(killed_by(SignalKind::interrupt())),
                published = self.published.recv() => match published {
                    Some(published) if published.snapshot.is_complete() => return Ok(published),
                    Some(_) => {}
                    None => return Err(Exit::Failed as u8),
                },
                () = &mut too_late => {
                    let why = missing(&self.snapshots.borrow());
                    error!(
                        "the program is not started: its first secrets did not come within {:?} (`start_timeout`): {why}",
                        limit.unwrap_or_default()
                    );
                    return Err(Exit::NoSecrets as u8);
                }
            }
        }
    }
}

/// Hands on what is published, and keeps the latest for the next start.
async fn tell(
    first: Published,
    mut published: mpsc::Receiver<Published>,
    acted: mpsc::Sender<Published>,
    latest: watch::Sender<Arc<Snapshot>>,
    settings: Arc<Exec>,
) {
    let mut next = Some(first);
    while let Some(news) = next {
        // What cannot be given is no reason to start without what can be.
        if Given::of(&settings, &news.snapshot).is_ok() {
            latest.send_replace(news.snapshot.clone());
        }
        if acted.send(news).await.is_err() {
            return;
        }
        next = published.recv().await;
    }
    // The program lives on, and so do those who are being told.
    pending().await
}

/// What is done with the program on a change.
fn program_to_do(settings: &Exec, told: Told) -> Option<ToDo> {
    let fixed: BTreeSet<Name> =
        settings.environment.iter().map(|(_, part)| &part.secret).chain(&settings.fd).cloned().collect();
    let (only_for, settle, by) = match settings.on_change {
        OnProgramChange::Restart => (BTreeSet::new(), Duration::ZERO, By::Program(told)),
        OnProgramChange::Signal(_, settle) => (BTreeSet::new(), settle, By::Program(told)),
        // What it was started with it has until it ends: those leases are never said to be switched.
        OnProgramChange::Nothing if fixed.is_empty() => return None,
        OnProgramChange::Nothing => (fixed, Duration::ZERO, By::Nobody),
    };
    Some(ToDo { only_for, timing: settings.timing, settle, retries: 3, on_start: false, by })
}

impl Told {
    pub(crate) async fn tell(&self, news: &News) -> Result<(), ActError> {
        // Before the old one is ended.
        Given::of(&self.settings, &news.snapshot)?;
        match self.settings.on_change {
            // A restart for something else may have brought it already.
            OnProgramChange::Restart if *self.launched.borrow() >= news.snapshot.generation => {}
            OnProgramChange::Restart => self.controls.restart().await?,
            OnProgramChange::Signal(signal, _) => self.controls.signal(signal).await?,
            OnProgramChange::Nothing => return Err(Gone.into()),
        }
        Ok(())
    }
}

async fn stop_when_expired(
    setting: ProgramExpired,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    controls: Controls,
) {
    if setting == ProgramExpired::Keep {
        return;
    }
    let names = match snapshots.wait_for(|snapshot| snapshot.expired().next().is_some()).await {
        Ok(snapshot) => snapshot.expired().map(ToString::to_string).collect::<Vec<_>>().join("`, `"),
        Err(_) => return,
    };
    error!("the program is ended: the lease of `{names}` has, and there is no other (`expired = \"stop\"`)");
    controls.stop().await;
}

fn finish(outcome: Result<Outcome, NotLaunched>) -> u8 {
    match outcome {
        Ok(Outcome { stopped: true, .. }) => Exit::NoSecrets as u8,
        Ok(Outcome { end, .. }) => {
            info!(?end, "the program has ended");
            end.exit_code()
        }
        Err(error) => {
            error!("{error}");
            error.exit() as u8
        }
    }
}

fn killed_by(signal: SignalKind) -> u8 {
    warn!("told to end before the program was started");
    u8::try_from(signal.as_raw_value().saturating_add(128)).unwrap_or(u8::MAX)
}

/// What happens beside the program ends with it, and never ends it.
async fn for_ever(task: impl Future<Output = ()>) -> Infallible {
    task.await;
    pending().await
}

#[cfg(test)]
mod tests;
