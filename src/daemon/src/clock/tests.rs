//! A machine whose clocks are set by hand.

use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// A time of day that is nothing special.
const NOON: i64 = 1_800_000_000 * SECOND;

/// A machine of its own for one test: sources are plain functions.
macro_rules! machine {
    ($machine:ident) => {
        static WALL: AtomicI64 = AtomicI64::new(NOON);
        static TICKS: AtomicI64 = AtomicI64::new(5 * HOUR);
        let sources =
            Sources { wall: || WALL.load(Ordering::SeqCst), ticks: || TICKS.load(Ordering::SeqCst) };
        let $machine = Machine { wall: &WALL, ticks: &TICKS, sources };
    };
}

struct Machine {
    wall: &'static AtomicI64,
    ticks: &'static AtomicI64,
    sources: Sources,
}

impl Machine {
    /// Real time goes by, whether the machine sleeps or not.
    fn pass(&self, nanos: i64) {
        self.wall.fetch_add(nanos, Ordering::SeqCst);
        self.ticks.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Real time goes by, and the broker looks at the clock now and then.
    fn live(&self, clock: &SystemClock, nanos: i64) {
        for _ in 0..100 {
            self.pass(nanos / 100);
            clock.now();
        }
    }

    /// Somebody sets the time of day.
    fn step(&self, nanos: i64) {
        self.wall.fetch_add(nanos, Ordering::SeqCst);
    }

    fn clock(&self, kept: &Kept) -> SystemClock {
        SystemClock::going_on(self.sources, Rules::default(), kept)
    }

    /// The broker when it is started again on what it kept, in this start of the machine.
    fn restarted(&self, mark: &Mark, boot: &str) -> SystemClock {
        self.clock(&Mark::kept(Some(mark), boot, Some(mark.time)))
    }

    /// The machine is started again.
    fn reboot(&self) {
        self.ticks.store(MINUTE, Ordering::SeqCst);
    }
}

/// What is kept of a clock in the machine's first start.
fn mark(clock: &SystemClock) -> Mark {
    let standing = clock.standing();
    Mark { boot: "b1".into(), offset: standing.offset, time: standing.now, distrusted: None }
}

fn since(clock: &SystemClock, before: Timestamp) -> i64 {
    nanos(clock.now()) - nanos(before)
}

#[test]
fn a_clock_set_back_an_hour_makes_no_lease_longer() {
    machine!(machine);
    let clock = machine.clock(&Kept::default());
    let issued = clock.now();
    machine.pass(MINUTE);
    machine.step(-HOUR);
    machine.pass(MINUTE);
    assert_eq!(since(&clock, issued), 2 * MINUTE);
    assert_eq!(clock.standing().ahead, HOUR);
    // Neither across a restart, with the machine or without.
    machine.pass(MINUTE);
    let again = machine.restarted(&mark(&clock), "b1");
    assert_eq!(since(&again, issued), 3 * MINUTE);
    let mark = mark(&again);
    machine.reboot();
    let rebooted = machine.restarted(&mark, "b2");
    assert_eq!(since(&rebooted, issued), 3 * MINUTE);
}

#[test]
fn a_clock_set_forward_a_day_ends_no_lease_early_unless_it_stays_so() {
    machine!(machine);
    let clock = machine.clock(&Kept::default());
    let issued = clock.now();
    machine.step(DAY);
    machine.live(&clock, HOUR - MINUTE);
    assert_eq!(since(&clock, issued), HOUR - MINUTE);
    // It was a mistake.
    machine.step(-DAY);
    machine.live(&clock, 2 * HOUR);
    assert_eq!(since(&clock, issued), 3 * HOUR - MINUTE);
    // It was none: what has been so for an hour is the time.
    machine.step(DAY);
    machine.live(&clock, HOUR + MINUTE);
    assert_eq!(since(&clock, issued), 4 * HOUR + DAY);
    assert_eq!(clock.standing().ahead, 0);
}

#[test]
fn of_a_clock_that_jumps_about_only_what_lasts_is_taken() {
    machine!(machine);
    let clock = machine.clock(&Kept::default());
    let issued = clock.now();
    machine.step(DAY);
    machine.live(&clock, 30 * MINUTE);
    machine.step(HOUR - DAY);
    machine.live(&clock, 31 * MINUTE);
    assert_eq!(since(&clock, issued), 61 * MINUTE + HOUR);
}

#[test]
fn small_corrections_are_followed_at_once_and_no_more_of_them_than_are_tolerated() {
    machine!(machine);
    let clock = machine.clock(&Kept::default());
    let issued = clock.now();
    for _ in 0..10 {
        machine.step(10 * SECOND);
        machine.pass(SECOND);
        clock.now();
    }
    assert_eq!(since(&clock, issued), 10 * SECOND + 30 * SECOND);
}

#[test]
fn a_step_while_the_broker_is_dead_is_no_time_that_went_by() {
    machine!(machine);
    let clock = machine.clock(&Kept::default());
    let issued = clock.now();
    for step in [DAY, -HOUR - DAY] {
        let (before, mark) = (since(&clock, issued), mark(&clock));
        machine.step(step);
        machine.pass(MINUTE);
        let again = machine.restarted(&mark, "b1");
        assert_eq!(since(&again, issued), before + MINUTE, "a step of {step}");
        machine.step(-step);
    }
}

#[test]
fn the_time_that_a_machine_sleeps_counts() {
    machine!(machine);
    let clock = machine.clock(&Kept::default());
    let issued = clock.now();
    // Suspended: both go on without anybody looking.
    machine.pass(8 * HOUR);
    assert_eq!(since(&clock, issued), 8 * HOUR);
}

#[test]
fn after_a_restart_of_the_machine_the_time_of_day_is_taken_when_it_is_later() {
    machine!(machine);
    let clock = machine.clock(&Kept::default());
    let issued = clock.now();
    let mark = mark(&clock);
    machine.pass(2 * HOUR);
    machine.reboot();
    let rebooted = machine.restarted(&mark, "b2");
    assert_eq!(since(&rebooted, issued), 2 * HOUR);
}

#[test]
fn what_is_dated_by_others_is_judged_by_the_later_of_both() {
    machine!(machine);
    let clock = Arc::new(machine.clock(&Kept::default()));
    let latest = LatestClock(clock.clone());
    machine.step(DAY);
    assert_eq!(nanos(latest.now()) - nanos(clock.now()), DAY);
    machine.step(-2 * DAY);
    assert_eq!(latest.now(), clock.now());
}

#[test]
fn it_starts_where_the_records_ended() {
    let last = Timestamp::from_second(7_000_000_000).unwrap();
    let clock = SystemClock::starting_at(Some(last));
    assert!(clock.now() >= last);
    assert!(clock.standing().ahead > 1_000_000 * SECOND);
    let clock = SystemClock::starting_at(Some(Timestamp::UNIX_EPOCH));
    assert!(clock.now() > Timestamp::from_second(1_700_000_000).unwrap());
    assert!(clock.now() < last);
}

#[test]
fn a_thread_that_is_stopped_while_it_looks_does_not_set_the_clock_forward() {
    let stopped = || {
        let wall = wall();
        std::thread::park_timeout(Duration::from_millis(40));
        wall
    };
    let sources = Sources { wall: stopped, ticks };
    let clock = SystemClock::going_on(sources, Rules::default(), &Kept::default());
    for _ in 0..3 {
        clock.now();
    }
    let ahead = ticks() + clock.offset.load(Ordering::Acquire) - wall();
    assert!(ahead < 20 * SECOND / 1_000, "{ahead} ns ahead of the machine's clock");
}

#[tokio::test(start_paused = true)]
async fn nobody_sleeps_longer_than_five_seconds() {
    let clock = SystemClock::starting_at(None);
    let before = tokio::time::Instant::now();
    clock.sleep_until(Timestamp::MAX).await;
    assert_eq!(before.elapsed().as_secs(), 5);
}

proptest! {
    #[test]
    fn time_never_goes_back_is_never_slow_and_is_early_by_no_more_than_is_tolerated(
        steps in proptest::collection::vec((0_i64..60, -100_000_i64..100_000), 1..50),
    ) {
        let sources = Sources { wall: || NOON, ticks: || 0 };
        let clock = SystemClock::going_on(sources, Rules::default(), &Kept::default());
        let (mut ticks, mut last) = (0, NOON);
        for (pause, skew) in steps {
            ticks += pause * SECOND;
            let wall = NOON + ticks + skew * SECOND;
            let now = ticks + clock.follow(ticks, wall - ticks);
            prop_assert!(now - last >= pause * SECOND, "slow or back");
            prop_assert!(now <= NOON + ticks + 30 * SECOND, "early");
            last = now;
        }
    }
}
