//! How far a long piece of work has come: one line on standard error that changes, on a terminal only.

use std::{
    future::Future,
    io::{IsTerminal, Write},
    time::Duration,
};

use crate::{duration, look::Look, output::printable};

/// The line. It is gone when this is.
pub(crate) struct Progress {
    width: Option<usize>,
    on: bool,
    shown: bool,
}

/// Work that is done sooner than this is not worth a line.
const QUIET: Duration = Duration::from_millis(400);
const TICK: Duration = Duration::from_secs(1);
const BAR: i64 = 24;

impl Progress {
    /// A line, when standard error is a terminal and `wanted`.
    pub(crate) fn new(wanted: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let on = wanted && !dumb && std::io::stderr().is_terminal();
        Self { width: Look::of_stderr(crate::look::ColorWhen::Never).width, on, shown: false }
    }

    /// Whether anybody sees it.
    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    /// Shows this in the place of what was shown.
    pub(crate) fn show(&mut self, line: &str) {
        if !self.on {
            return;
        }
        // A line that wraps could not be taken back.
        let most = self.width.map_or(usize::MAX, |width| width.saturating_sub(1));
        let line: String = printable(line).chars().take(most).collect();
        self.shown = true;
        // When nobody reads it, the end has to do.
        let _ = write!(std::io::stderr(), "\r\x1b[K{line}").and_then(|()| std::io::stderr().flush());
    }

    /// Takes it away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// So much of it is done.
pub(crate) fn bar(done: i64, total: i64) -> String {
    let full = done.max(0).saturating_mul(BAR).checked_div(total).unwrap_or(BAR).clamp(0, BAR);
    let full = usize::try_from(full).unwrap_or_default();
    let left = usize::try_from(BAR).unwrap_or_default().saturating_sub(full);
    format!("[{}{}]", "#".repeat(full), ".".repeat(left))
}

/// Waits, and says for how long already.
pub(crate) async fn waiting<T>(what: &str, wanted: bool, work: impl Future<Output = T>) -> T {
    let mut seconds = 0_u64;
    let line = || {
        let line = format!("{what} ({})", duration::show(Duration::from_secs(seconds)));
        seconds = seconds.saturating_add(1);
        line
    };
    following(TICK, line, wanted, work).await
}

/// Waits, and says every so often how far the work has come.
pub(crate) async fn following<T>(
    every: Duration,
    mut line: impl FnMut() -> String,
    wanted: bool,
    work: impl Future<Output = T>,
) -> T {
    let mut progress = Progress::new(wanted);
    if !progress.is_on() {
        return work.await;
    }
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(QUIET, &mut work).await {
        return done;
    }
    loop {
        progress.show(&line());
        if let Ok(done) = tokio::time::timeout(every, &mut work).await {
            return done;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_the_work_is_done() {
        assert_eq!(bar(0, 9), "[........................]");
        assert_eq!(bar(3, 9), "[########................]");
        assert_eq!(bar(9, 9), "[########################]");
        assert_eq!((bar(10, 9), bar(0, 0)), (bar(9, 9), bar(9, 9)));
    }

    #[tokio::test]
    async fn what_is_waited_for_comes() {
        assert_eq!(waiting("x", false, async { 7 }).await, 7);
    }
}
