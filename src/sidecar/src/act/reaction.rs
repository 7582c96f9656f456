//! One thing that is done again and again: waiting until it is due, doing it, trying it again.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
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
}

/// Changes that never stop do not put off what is to be done for longer than so many times the pause.
const PATIENCE: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Reaction {
    pub(super) async fn run(self, inbox: Arc<Inbox>) {
        let mut process = Process::default();
        if let By::Setting(setting) = &self.to_do.by
            && let Deed::Signal { pid_file, .. } = &setting.deed
        {
            // Who is there now is known again, even when the clock has been set meanwhile.
            let _ = process.find(pid_file);
        }
        loop {
            inbox.came().await;
            quiet(&inbox, self.to_do.timing).await;
            let Some(news) = inbox.take() else { continue };
            let Some(generation) = self.persist(news, &inbox, &mut process).await else { continue };
            sleep(self.to_do.settle).await;
            if self.done.send((self.number, generation)).await.is_err() {
                return;
            }
        }
    }

    /// Does it, again when it fails, and says for which generation it worked.
    async fn persist(&self, mut news: News, inbox: &Inbox, process: &mut Process) -> Option<u64> {
        let mut pause = FIRST_PAUSE;
        let mut left = self.to_do.retries;
        loop {
            if let Some(newer) = inbox.take() {
                news.add(newer);
            }
            let problem = match self.act(&news, process).await {
                Ok(()) => {
                    let what = self.to_do.what();
                    info!(changed = %list(&news), "{what}: done");
                    self.standing.send_modify(|standing| {
                        standing.done = standing.done.saturating_add(1);
                        standing.given_up.retain(|given_up| !given_up.starts_with(&*what));
                    });
                    return Some(news.snapshot.generation);
                }
                // There is nobody to be told.
                Err(ActError::Gone(_)) => return None,
                Err(problem) => problem,
            };
            let what = self.to_do.what();
            self.standing.send_modify(|standing| standing.failed = standing.failed.saturating_add(1));
            if left == 0 {
                error!(changed = %list(&news), "{what}: {problem}; given up until the next change");
                self.standing.send_modify(|standing| {
                    standing.given_up.retain(|given_up| !given_up.starts_with(&*what));
                    standing.given_up.push(format!("{what}: {problem}").into());
                });
                return None;
            }
            left = left.saturating_sub(1);
            warn!(changed = %list(&news), "{what}: {problem}; tried again in {pause:?}");
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    async fn act(&self, news: &News, process: &mut Process) -> Result<(), ActError> {
        let setting = match &self.to_do.by {
            By::Program(program) => return program.tell(news).await,
            By::Nobody => return Err(leasehold_programs::Gone.into()),
            By::Setting(setting) => setting,
        };
        let _turn = self.turn.acquire().await;
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
