//! What systemd is told (sd_notify(3)). Without a `NOTIFY_SOCKET` all of this does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The broker serves.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// New configuration is being read; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// The broker drains and ends.
pub fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("finishing requests")]);
}

/// One line about how it goes.
pub fn status(text: &str) {
    send(&[NotifyState::Status(text)]);
}

/// Says for ever that the broker lives, half a watchdog period apart, while `is_alive` says so. Ends at once when there
/// is no watchdog. It runs on the runtime that serves requests, so a runtime that hangs says nothing either.
pub async fn watchdog(is_alive: impl Fn() -> bool) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let mut ticks =
        tokio::time::interval(period.checked_div(2).unwrap_or(period).max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        if is_alive() {
            send(&[NotifyState::Watchdog]);
        }
    }
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
