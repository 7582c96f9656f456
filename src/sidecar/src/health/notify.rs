//! What systemd is told (sd_notify(3)). Without a `NOTIFY_SOCKET` all of this does nothing.

use std::{convert::Infallible, future::pending, time::Duration};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Sources;

/// A lease can end without anything else happening.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The sidecar ends.
pub fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("ending")]);
}

/// Tells how it goes, for ever: that it is ready once everything is there, one line of status when that changes, and that
/// it lives, half a watchdog period apart. All of it on the thread that does the work: one that hangs says nothing.
pub(super) async fn tell(sources: Sources) -> Infallible {
    tokio::join!(status(sources), watchdog()).0
}

async fn status(mut sources: Sources) -> Infallible {
    let mut was_ready = false;
    let mut told = String::new();
    loop {
        sources.snapshots.borrow_and_update();
        let report = sources.report();
        let line = report.to_string();
        if report.ready && !was_ready {
            was_ready = true;
            send(&[NotifyState::Ready, NotifyState::Status(&line)]);
        } else if line != told {
            send(&[NotifyState::Status(&line)]);
        }
        told = line;
        let published = async {
            match &mut sources.publishing {
                Some(publishing) => publishing.changed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            // Whoever sends is gone: it ends with them, or is told by the clock alone.
            changed = sources.snapshots.changed() => if changed.is_err() { sleep(LOOK_AGAIN).await },
            changed = published => if changed.is_err() { sleep(LOOK_AGAIN).await },
            () = sleep(LOOK_AGAIN) => {}
        }
    }
}

async fn watchdog() -> Infallible {
    let Some(period) = sd_notify::watchdog_enabled() else { return pending().await };
    let mut ticks = interval(period.checked_div(2).unwrap_or(period).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        send(&[NotifyState::Watchdog]);
    }
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
