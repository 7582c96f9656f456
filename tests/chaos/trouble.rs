//! What goes wrong: which troubles, in which order and for how long, as a seed has it.

use std::{fmt, time::Duration};

use leasehold_provider_conformance::proxy::{Fault, Injection};
use leasehold_tests::seed::Seed;
use rustix::process::Signal;
use tokio::time::sleep;

use crate::scene::Scene;

/// One trouble: it begins, another one may come and go while it lasts, and it ends.
pub(crate) struct Trouble {
    what: What,
    lasts: Duration,
    within: Option<Box<Trouble>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// The broker is killed, and started again at the end.
    Kill,
    /// The broker stands still.
    Stop,
    /// PostgreSQL ends at once and is started again.
    RestartDatabase,
    /// Every connection to PostgreSQL is cut.
    Cut,
    /// Requests that hold these words meet with this.
    Between(Fault, &'static str),
    /// The journal cannot grow.
    FullDisk,
    /// What is written is not made durable: the broker must end itself.
    FailingDisk,
    /// The time of day is so many milliseconds ahead, or behind, until it is set right.
    Clock(i64),
    /// The broker's machine sleeps for so many milliseconds.
    Sleep(i64),
}

/// The words of what the broker says to PostgreSQL: making, letting live, locking out, dropping.
const WORDS: [&str; 5] = ["CREATE ROLE", "VALID UNTIL", "NOLOGIN", "DROP ROLE", "Q"];

impl Trouble {
    /// The next one.
    pub(crate) fn new(seed: &mut Seed) -> Self {
        Self::nested(seed, 1)
    }

    fn nested(seed: &mut Seed, depth: u32) -> Self {
        let word = *seed.pick(&WORDS);
        let what = match seed.within(0..21) {
            0..5 => What::Kill,
            5 | 6 => What::Stop,
            7 | 8 => What::RestartDatabase,
            9 => What::Cut,
            10 | 11 => What::Between(Fault::LoseAnswer, word),
            12 => What::Between(Fault::CutBefore, word),
            13 | 14 => What::Between(Fault::Stall, word),
            15 => What::Between(Fault::StallBefore, word),
            16 => What::FullDisk,
            17 => What::FailingDisk,
            18 => What::Clock(*seed.pick(&[3_000, 10_000, 3_600_000, -2_000, -60_000, -3_600_000])),
            19 => What::Sleep(*seed.pick(&[500, 4_000, 15_000])),
            _ => What::Between(Fault::DeliverLate, word),
        };
        let longest = match what {
            // Longer than the shortest lease and its margin.
            What::Stop => 8_000,
            What::Between(..) => 4_000,
            _ => 1_500,
        };
        let lasts = Duration::from_millis(seed.within(50..longest));
        let within = (depth > 0 && seed.within(0..2) == 0).then(|| Box::new(Self::nested(seed, depth - 1)));
        Self { what, lasts, within }
    }

    /// Lets it happen, from its beginning to its end.
    pub(crate) async fn befall(&self, scene: &mut Scene<'_>) {
        self.begin(scene).await;
        match &self.within {
            None => sleep(self.lasts).await,
            Some(within) => {
                sleep(self.lasts / 2).await;
                Box::pin(within.befall(scene)).await;
                sleep(self.lasts / 2).await;
            }
        }
        self.end(scene).await;
    }

    async fn begin(&self, scene: &mut Scene<'_>) {
        match self.what {
            What::Kill => scene.kill(),
            What::Stop => scene.signal(Signal::STOP),
            What::RestartDatabase => scene.database.restart().await,
            What::Cut => scene.proxy.cut_connections(),
            What::Between(fault, words) => scene.proxy.inject(Injection::of(fault).on(words)),
            What::FullDisk => scene.disk("room 0"),
            What::FailingDisk => scene.disk("fail-sync 1"),
            What::Clock(ahead) => scene.set_clock(ahead),
            What::Sleep(millis) => scene.sleep(millis),
        }
    }

    async fn end(&self, scene: &mut Scene<'_>) {
        match self.what {
            What::Kill => scene.try_start().await,
            What::Stop => scene.signal(Signal::CONT),
            What::Between(..) => scene.proxy.heal(),
            What::FullDisk => scene.disk(""),
            What::FailingDisk => {
                scene.disk("");
                scene.try_start().await;
            }
            What::Clock(_) => scene.set_clock(0),
            What::RestartDatabase | What::Cut | What::Sleep(_) => {}
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.what, self.lasts)?;
        match &self.within {
            Some(within) => write!(f, " ({within})"),
            None => Ok(()),
        }
    }
}
