//! Keeps what strangers do from filling the log: a few lines a while, then a count of what was left out.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// At most [`BURST`] lines in any [`WINDOW`].
#[derive(Default)]
pub(crate) struct Throttle(Mutex<State>);

#[derive(Default)]
struct State {
    window: Option<Instant>,
    said: u32,
    left_out: u64,
}

const WINDOW: Duration = Duration::from_secs(10);
const BURST: u32 = 10;

impl Throttle {
    /// Whether one more line may be written; if so, how many were left out since the last.
    pub(crate) fn allow(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.window.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW) {
            state.window = Some(now);
            state.said = 0;
        }
        if state.said >= BURST {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.said = state.said.saturating_add(1);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_silence_then_a_count() {
        let throttle = Throttle::default();
        let said = (0..100).filter(|_| throttle.allow().is_some()).count();
        assert_eq!(said, 10);
        tokio::time::advance(WINDOW).await;
        assert_eq!(throttle.allow(), Some(90));
        assert_eq!(throttle.allow(), Some(0));
    }
}
