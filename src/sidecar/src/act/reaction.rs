//! One thing that is done again and again: waiting until it is due, doing it, trying it again.

use std::{
    convert::Infallible,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit, mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{ActError, By, Inbox, News, Standing, ToDo, command, pid_file::Process, unit};
use crate::config::on_change::{Deed, Timing};

pub(super) struct Reaction {
    pub(super) number: usize,
    pub(super) to_do: ToDo,
    pub(super) turn: Arc<Semaphore>,
    /// Where it says that it has been done for everything up to a generation.
    pub(super) done: mpsc::Sender<(usize, u64)>,
    pub(super) standing: watch::Sender<Standing>,
    /// Begun is finished, and nothing else is begun.
    pub(super) dismissed: CancellationToken,
}

/// What doing it came to.
enum Outcome {
    /// It worked, for everything up to this generation.
    Done(u64),
    /// Nothing more is tried before the next change.
    GivenUp,
}

/// Changes that never stop do not put off what is to be done for longer than so many times the pause.
const PATIENCE: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Reaction {
    pub(super) async fn run(self, inbox: Arc<Inbox>) {
        self.work(&inbox).await;
    }

    /// Until it is dismissed, or nobody listens.
    async fn work(&self, inbox: &Inbox) -> Option<Infallible> {
        let mut process = Process::default();
        if let By::Setting(setting) = &self.to_do.by
            && let Deed::Signal { pid_file, .. } = &setting.deed
        {
            // Who is there now is known again, even when the clock has been set meanwhile.
            let _ = process.find(pid_file);
        }
        loop {
            self.unless_dismissed(inbox.came()).await?;
            self.unless_dismissed(quiet(inbox, self.to_do.timing)).await?;
            let Some(news) = inbox.take() else { continue };
            let Outcome::Done(generation) = self.persist(news, inbox, &mut process).await? else { continue };
            self.unless_dismissed(sleep(self.to_do.settle)).await?;
            self.done.send((self.number, generation)).await.ok()?;
            inbox.settled();
        }
    }

    /// Waits for it; `None` once this one is dismissed.
    async fn unless_dismissed<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        self.dismissed.run_until_cancelled(wait).await
    }

    /// Does it, again when it fails; `None` once this one is dismissed.
    async fn persist(&self, mut news: News, inbox: &Inbox, process: &mut Process) -> Option<Outcome> {
        let mut pause = FIRST_PAUSE;
        let mut left = self.to_do.retries;
        loop {
            if let Some(newer) = inbox.take() {
                news.add(newer);
            }
            let turn = self.turn().await?;
            let outcome = self.act(&news, process).await;
            drop(turn);
            let what = self.to_do.what();
            let problem = match outcome {
                Ok(()) => {
                    info!(changed = %list(&news), "{what}: done");
                    self.standing.send_modify(|standing| {
                        standing.done = standing.done.saturating_add(1);
                        standing.given_up.remove(&self.number);
                    });
                    return Some(Outcome::Done(news.snapshot.generation));
                }
                // There is nobody to be told.
                Err(ActError::Gone(_)) => return Some(Outcome::GivenUp),
                Err(problem) => problem,
            };
            self.standing.send_modify(|standing| standing.failed = standing.failed.saturating_add(1));
            if left == 0 {
                error!(changed = %list(&news), "{what}: {problem}; given up until the next change");
                self.standing.send_modify(|standing| {
                    // Of who is dismissed meanwhile nobody would take it back.
                    if !inbox.is_closed() {
                        standing.given_up.insert(self.number, format!("{what}: {problem}").into());
                    }
                });
                return Some(Outcome::GivenUp);
            }
            left = left.saturating_sub(1);
            warn!(changed = %list(&news), "{what}: {problem}; tried again in {pause:?}");
            self.unless_dismissed(sleep(pause)).await?;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// One's turn, where only one is done at a time.
    async fn turn(&self) -> Option<Option<SemaphorePermit<'_>>> {
        match self.to_do.by {
            By::Setting(_) => self.unless_dismissed(self.turn.acquire()).await.map(Result::ok),
            // The program may have to be waited for.
            By::Program(_) | By::Nobody => Some(None),
        }
    }

    async fn act(&self, news: &News, process: &mut Process) -> Result<(), ActError> {
        let setting = match &self.to_do.by {
            By::Program(program) => return program.tell(news).await,
            By::Nobody => return Err(leasehold_programs::Gone.into()),
            By::Setting(setting) => setting,
        };
        match &setting.deed {
            Deed::Signal { pid_file, signal } => Ok(process.signal(pid_file, *signal)?),
            Deed::Unit { unit, order } => unit::tell(unit, *order, setting.timeout, news).await,
            Deed::Command { command, user, dir, input } => {
                let order = command::Order {
                    command,
                    user: user.as_deref(),
                    dir: dir.as_deref(),
                    input,
                    timeout: setting.timeout,
                };
                order.run(news).await
            }
        }
    }
}

fn list(news: &News) -> String {
    news.changed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Returns when nothing has come for the pause, and a random time after that.
async fn quiet(inbox: &Inbox, timing: Timing) {
    let started = Instant::now();
    let after = |from: Instant, wait: Duration| from.checked_add(wait).unwrap_or(from);
    let latest = after(started, timing.debounce.saturating_mul(PATIENCE));
    loop {
        let due = after(Instant::now(), timing.debounce).min(latest);
        tokio::select! {
            biased;
            () = sleep_until(due) => break,
            () = inbox.came() => {}
        }
    }
    sleep(somewhere_in(timing.splay)).await;
}

/// A random part of a time. The hashers' keys are random: good enough to spread a fleet.
fn somewhere_in(time: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random.checked_rem(millis.saturating_add(1)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_spread() {
        let time = Duration::from_secs(60);
        let drawn: Vec<_> = (0..1000).map(|_| somewhere_in(time)).collect();
        assert!(drawn.iter().all(|at| *at <= time));
        for quarter in 0..4 {
            let within = time / 4 * quarter..=time / 4 * (quarter + 1);
            assert!(drawn.iter().filter(|at| within.contains(*at)).count() > 150, "{quarter}");
        }
        assert_eq!(somewhere_in(Duration::ZERO), Duration::ZERO);
    }
}
