//! Waiting for what must come to pass, however busy the machine is.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What takes longer than this does not happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until it holds.
///
/// # Panics
/// When it does not within [`PATIENCE`].
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "it does not come to pass that {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
