//! The end, in order: accept no more, finish what was begun, record it, close the journal.

use std::{collections::BTreeMap, time::Duration};

use leasehold_core::record::{Kind, Outcome};
use leasehold_engine::Engine;
use leasehold_ledger::{Embedded, LedgerHealth};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use crate::{args::Exit, listener::Drained, notify};

/// Why the broker ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It was told to.
    Signal(&'static str),
    /// Nothing can be promised any more.
    Poisoned(String),
    /// Something that must never end has ended.
    Lost(Part),
}

/// What runs as long as the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Ledger,
    Listener,
    Reconciler,
}

/// The signals that end a process in order.
pub(crate) struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

/// What has to be ended.
pub(crate) struct Serving {
    pub(crate) engine: std::sync::Arc<Engine>,
    pub(crate) ledger: Embedded,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) listener: JoinHandle<Drained>,
    pub(crate) reconcile: JoinHandle<()>,
    pub(crate) drain_timeout: Duration,
}

/// What the broker's own last steps may take.
const LAST_STEPS: Duration = Duration::from_secs(10);

impl EndSignals {
    /// Takes the signals over.
    ///
    /// # Errors
    /// When the system does not give them.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

impl Reason {
    /// The code for it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Signal(_) => Exit::Ok,
            Self::Poisoned(_) => Exit::Poisoned,
            Self::Lost(_) => Exit::Failed,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signal(name) => f.write_str(name),
            Self::Poisoned(why) => write!(f, "the journal is poisoned: {why}"),
            Self::Lost(part) => {
                let name = match part {
                    Part::Ledger => "ledger",
                    Part::Listener => "listener",
                    Part::Reconciler => "reconciler",
                };
                write!(f, "the {name} has ended by itself")
            }
        }
    }
}

/// Tells of every change of the ledger's health; returns when nothing can be promised any more.
pub(crate) async fn poisoned(mut health: watch::Receiver<LedgerHealth>) -> Reason {
    let mut last = LedgerHealth::Ok;
    loop {
        let now = health.borrow_and_update().clone();
        match &now {
            LedgerHealth::Poisoned(why) => return Reason::Poisoned(why.clone()),
            LedgerHealth::Ok if last != now => {
                tracing::info!("the ledger takes commits again");
                notify::status("serving");
            }
            LedgerHealth::Full(_) | LedgerHealth::Unavailable(_) if last != now => {
                tracing::error!("nothing is issued until this is mended: the ledger is {now}");
                notify::status(&format!("not serving: the ledger is {now}"));
            }
            _ => {}
        }
        last = now;
        if health.changed().await.is_err() {
            return Reason::Lost(Part::Ledger);
        }
    }
}

/// Ends everything, and says with which code the process is to end. A second signal ends the waiting.
pub(crate) async fn end(serving: Serving, reason: Reason, signals: &mut EndSignals) -> Exit {
    let Serving { engine, ledger, stop, listener, reconcile, drain_timeout } = serving;
    match &reason {
        Reason::Signal(_) => {
            tracing::info!("ending on {reason}: finishing requests, at most {drain_timeout:?}")
        }
        _ => tracing::error!("ending: {reason}"),
    }
    notify::stopping();
    let _ = stop.send(true);
    let drained = async {
        // The listener keeps its own time; this is for the case that it does not.
        let drained = timeout(drain_timeout.saturating_add(LAST_STEPS), listener).await;
        let _ = timeout(LAST_STEPS, reconcile).await;
        drained.ok().and_then(Result::ok)
    };
    let cut = tokio::select! {
        drained = drained => drained.map(|drained| drained.cut),
        name = signals.next() => {
            tracing::warn!("{name} again: not waiting for requests");
            None
        }
    };
    match cut {
        Some(0) => tracing::info!("every request is finished"),
        Some(cut) => tracing::warn!("{cut} connections were cut"),
        None => tracing::warn!("some requests may not be finished"),
    }
    let details = BTreeMap::from([("reason".to_owned(), reason.to_string())]);
    let exit = reason.exit();
    if exit != Exit::Poisoned {
        let note = engine.note(Kind::BrokerStopped, Outcome::Ok, details);
        match timeout(LAST_STEPS, note).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the journal has no record of the end"),
            Err(_) => tracing::warn!("the journal did not take the record of the end in time"),
        }
    }
    if timeout(LAST_STEPS, ledger.close()).await.is_err() {
        tracing::warn!("the ledger was not closed in time: the next start has more to read");
    }
    tracing::info!(code = exit as u8, "ended");
    exit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_poisoned_ledger_ends_the_broker() {
        let (health, seen) = watch::channel(LedgerHealth::Ok);
        let waiting = tokio::spawn(poisoned(seen));
        for mended in [LedgerHealth::Full("no room".into()), LedgerHealth::Unavailable("gone".into())] {
            health.send_replace(mended);
            tokio::time::sleep(Duration::from_secs(1)).await;
            health.send_replace(LedgerHealth::Ok);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!waiting.is_finished());
        }
        health.send_replace(LedgerHealth::Poisoned("fdatasync failed".into()));
        let reason = waiting.await.unwrap();
        assert_eq!(reason, Reason::Poisoned("fdatasync failed".into()));
        assert_eq!(reason.exit(), Exit::Poisoned);
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_is_gone_ends_it_too() {
        let (health, seen) = watch::channel(LedgerHealth::Ok);
        drop(health);
        assert_eq!(poisoned(seen).await, Reason::Lost(Part::Ledger));
        assert_eq!(Reason::Lost(Part::Ledger).exit(), Exit::Failed);
        assert_eq!(Reason::Signal("SIGTERM").exit(), Exit::Ok);
    }
}
