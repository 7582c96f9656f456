//! Keeps the clock's mark fresh, and tells operators when the time of day is not what the broker goes by.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;
use tracing::{info, warn};

use super::{Mark, Standing, SystemClock};

/// How often it looks.
const LOOK: Duration = Duration::from_secs(5);
/// How many looks it takes until a mark that says the same but for the time is written anew.
const REFRESH: u32 = 6;
/// The time of day may be so far off before anybody is told.
const TELL: i64 = 1_000_000_000;

/// What operators were told of the time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    AsOne,
    Behind,
    Ahead,
}

/// Keeps `mark`, which has just been written to `dir`, until `stop` says true, and once more then.
pub async fn keep(clock: Arc<SystemClock>, mut mark: Mark, dir: PathBuf, mut stop: watch::Receiver<bool>) {
    let (mut told, mut looks, mut written) = (Told::AsOne, 0_u32, true);
    loop {
        let stopping = *stop.borrow_and_update();
        let standing = clock.standing();
        told = tell(told, &standing, clock.tolerance);
        looks = looks.saturating_add(1);
        if standing.offset != mark.offset || looks >= REFRESH || stopping {
            looks = 0;
            (mark.offset, mark.time) = (standing.offset, standing.now);
            let result = write(&mark, &dir).await;
            if let Err(error) = &result
                && written
            {
                warn!(%error, "the time cannot be kept in the state directory: tried on");
            }
            written = result.is_ok();
        }
        if stopping {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}

async fn write(mark: &Mark, dir: &std::path::Path) -> std::io::Result<()> {
    let (mark, dir) = (mark.clone(), dir.to_owned());
    tokio::task::spawn_blocking(move || mark.write(&dir)).await.unwrap_or_else(|error| Err(error.into()))
}

/// Says it when it has changed which of the two clocks is ahead.
fn tell(told: Told, standing: &Standing, tolerance: i64) -> Told {
    let seconds = standing.ahead.unsigned_abs() / 1_000_000_000;
    let next = match standing.ahead {
        ahead if ahead > TELL.max(tolerance) => Told::Behind,
        ahead if ahead < TELL.saturating_neg() => Told::Ahead,
        _ => Told::AsOne,
    };
    if next != told {
        match next {
            Told::Behind => warn!(
                seconds,
                "this machine's time of day was set back: the broker's time runs on, so leases end no later"
            ),
            Told::Ahead => warn!(
                seconds,
                "this machine's time of day jumped ahead: it is not followed unless it stays so, so leases end no sooner"
            ),
            Told::AsOne => info!("the broker's time and this machine's time of day are one again"),
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use leasehold_core::Timestamp;

    use super::*;
    use crate::clock::{Kept, Rules, Sources};

    #[tokio::test(start_paused = true)]
    async fn a_mark_is_never_older_than_half_a_minute() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::going_on(Sources::default(), Rules::default(), &Kept::default()));
        let mark = Mark { boot: "b".to_owned(), offset: 0, time: Timestamp::UNIX_EPOCH, distrusted: None };
        let (stop, stopped) = watch::channel(false);
        let keeping = tokio::spawn(keep(clock.clone(), mark, dir.path().to_owned(), stopped));
        tokio::time::sleep(Duration::from_secs(1)).await;
        while Mark::read(dir.path()).is_none() {
            tokio::task::yield_now().await;
        }
        let first = Mark::read(dir.path()).unwrap();
        // The system may have corrected its time of day by a little since.
        let apart = first.offset.abs_diff(clock.standing().offset);
        assert!(apart < 1_000_000_000, "{first:?} is {apart} ns from what the clock says");
        std::fs::remove_file(dir.path().join("clock")).unwrap();
        tokio::time::sleep(Duration::from_secs(31)).await;
        while Mark::read(dir.path()).is_none() {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
        keeping.await.unwrap();
        assert!(Mark::read(dir.path()).unwrap().time > first.time);
    }

    #[test]
    fn it_is_told_once() {
        let standing = |ahead| Standing { now: Timestamp::UNIX_EPOCH, offset: 0, ahead };
        let second = 1_000_000_000;
        assert_eq!(tell(Told::AsOne, &standing(0), second), Told::AsOne);
        assert_eq!(tell(Told::AsOne, &standing(3_600 * second), second), Told::Behind);
        assert_eq!(tell(Told::Behind, &standing(-3_600 * second), second), Told::Ahead);
        assert_eq!(tell(Told::Ahead, &standing(-1), second), Told::AsOne);
    }
}
