//! The course of a program that is stood in for: what happens to it, and what is done then. Pure; the time is told.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::{End, Pace, pace::Restarts};

/// How a program is treated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// What tells it to end.
    pub(crate) stop: Signal,
    /// It, and then its children, have this long to do it.
    pub(crate) grace: Duration,
    pub(crate) pace: Pace,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The program has ended, and left some of its children running or not.
    Ended { end: End, left: bool },
    /// Nobody of its group is left.
    Alone,
    /// A signal came for it.
    Told(Signal),
    /// It is to have something new.
    Restart,
    /// It must not run any longer.
    Stop,
    /// The time has come for which [`Course::deadline`] asked.
    Time,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Send this to the program.
    Send(Signal),
    /// Send this to the program and its children.
    SendAll(Signal),
    /// Start it.
    Start,
    /// All is over.
    Leave(End),
}

/// A program's course from its first start on.
#[derive(Debug)]
pub(crate) struct Course {
    terms: Terms,
    state: State,
    restarts: Restarts,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// A restart that must wait does so while the program runs.
    Running {
        restart_at: Option<Instant>,
    },
    /// It was told to end.
    Stopping {
        then: Then,
        kill_at: Option<Instant>,
    },
    /// It has ended, and what it left running is told to.
    Clearing {
        then: Then,
        end: End,
        killed: bool,
        until: Instant,
    },
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Start,
    Leave,
}

/// What is killed has this long to be gone; what the kernel does not let go by then is left to it.
const DEATH: Duration = Duration::from_secs(2);

impl Course {
    /// Of a program that was just started.
    pub(crate) fn new(terms: Terms) -> Self {
        Self { terms, state: State::Running { restart_at: None }, restarts: Restarts::default() }
    }

    /// When [`Event::Time`] is to be told.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Running { restart_at } => restart_at,
            State::Stopping { kill_at, .. } => kill_at,
            State::Clearing { until, .. } => Some(until),
            State::Over => None,
        }
    }

    /// Whether [`Event::Alone`] is waited for.
    pub(crate) fn clears(&self) -> bool {
        matches!(self.state, State::Clearing { .. })
    }

    /// When a restart that is put off will be.
    pub(crate) fn put_off(&self) -> Option<Instant> {
        match self.state {
            State::Running { restart_at } => restart_at,
            _ => None,
        }
    }

    pub(crate) fn handle(&mut self, event: Event, now: Instant) -> Option<Act> {
        match (self.state, event) {
            (State::Running { .. }, Event::Ended { end, left }) => self.ended(Then::Leave, end, left, now),
            (State::Stopping { then, .. }, Event::Ended { end, left }) => self.ended(then, end, left, now),

            (State::Running { restart_at: None }, Event::Restart) => {
                let at = self.restarts.next(self.terms.pace, now);
                if at <= now {
                    return Some(self.stop(Then::Start, now));
                }
                self.state = State::Running { restart_at: Some(at) };
                None
            }
            (State::Running { restart_at: Some(at) }, Event::Time) if at <= now => {
                Some(self.stop(Then::Start, now))
            }
            (State::Running { .. }, Event::Stop) => Some(self.stop(Then::Leave, now)),
            (State::Running { .. }, Event::Told(Signal::TERM)) => Some(self.stop(Then::Leave, now)),
            (State::Running { .. }, Event::Told(signal)) => Some(Act::Send(signal)),

            (State::Stopping { kill_at, .. }, Event::Stop) => {
                self.state = State::Stopping { then: Then::Leave, kill_at };
                None
            }
            (State::Stopping { then, kill_at }, Event::Told(Signal::TERM)) => {
                self.state = State::Stopping { then: Then::Leave, kill_at };
                // It knows already, unless somebody means to say it twice.
                (then == Then::Leave).then_some(Act::Send(self.terms.stop))
            }
            (State::Stopping { .. }, Event::Told(signal)) => Some(Act::Send(signal)),
            (State::Stopping { then, kill_at: Some(at) }, Event::Time) if at <= now => {
                self.state = State::Stopping { then, kill_at: None };
                Some(Act::SendAll(Signal::KILL))
            }

            (State::Clearing { then, end, .. }, Event::Alone) => Some(self.cleared(then, end, now)),
            (State::Clearing { end, killed, until, .. }, Event::Stop | Event::Told(Signal::TERM)) => {
                self.state = State::Clearing { then: Then::Leave, end, killed, until };
                None
            }
            (State::Clearing { then, end, killed, until }, Event::Time) if until <= now => {
                if killed {
                    return Some(self.cleared(then, end, now));
                }
                self.state = State::Clearing { then, end, killed: true, until: after(now, DEATH) };
                Some(Act::SendAll(Signal::KILL))
            }
            // What comes too early, or too late; a restart that is asked for while one is under way is that one.
            _ => None,
        }
    }

    fn stop(&mut self, then: Then, now: Instant) -> Act {
        self.state = State::Stopping { then, kill_at: Some(after(now, self.terms.grace)) };
        Act::Send(self.terms.stop)
    }

    fn ended(&mut self, then: Then, end: End, left: bool, now: Instant) -> Option<Act> {
        if !left {
            return Some(self.cleared(then, end, now));
        }
        self.state = State::Clearing { then, end, killed: false, until: after(now, self.terms.grace) };
        Some(Act::SendAll(Signal::TERM))
    }

    fn cleared(&mut self, then: Then, end: End, now: Instant) -> Act {
        match then {
            Then::Start => {
                self.restarts.made(now);
                self.state = State::Running { restart_at: None };
                Act::Start
            }
            Then::Leave => {
                self.state = State::Over;
                Act::Leave(end)
            }
        }
    }
}

/// A time so far away that it cannot be told does not come.
fn after(now: Instant, duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
    now.checked_add(duration.min(FAR)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn course() -> (Course, Instant) {
        let pace = Pace { most: 3, within: Duration::from_secs(100) };
        (Course::new(Terms { stop: Signal::QUIT, grace: GRACE, pace }), Instant::now())
    }

    fn ended(code: i32) -> Event {
        Event::Ended { end: End::Code(code), left: false }
    }

    #[test]
    fn what_ends_by_itself_is_over_with_its_code() {
        let (mut course, now) = course();
        assert_eq!(course.handle(ended(7), now), Some(Act::Leave(End::Code(7))));
        assert_eq!(course.handle(Event::Told(Signal::TERM), now), None);
        assert_eq!(course.deadline(), None);
    }

    #[test]
    fn signals_go_through_and_term_is_said_in_the_programs_own_way() {
        let (mut course, now) = course();
        assert_eq!(course.handle(Event::Told(Signal::USR1), now), Some(Act::Send(Signal::USR1)));
        assert_eq!(course.handle(Event::Told(Signal::INT), now), Some(Act::Send(Signal::INT)));
        assert_eq!(course.deadline(), None, "an interrupt may mean anything to it");
        assert_eq!(course.handle(Event::Told(Signal::TERM), now), Some(Act::Send(Signal::QUIT)));
        assert_eq!(course.deadline(), Some(now + GRACE));
        assert_eq!(course.handle(Event::Told(Signal::TERM), now), Some(Act::Send(Signal::QUIT)));
        assert_eq!(course.handle(Event::Time, now), None, "too early");
        assert_eq!(course.handle(Event::Time, now + GRACE), Some(Act::SendAll(Signal::KILL)));
        let killed = End::Signal(9);
        let over = course.handle(Event::Ended { end: killed, left: false }, now + GRACE);
        assert_eq!(over, Some(Act::Leave(killed)));
    }

    #[test]
    fn what_it_leaves_behind_is_told_and_then_killed() {
        let (mut course, now) = course();
        let left = Event::Ended { end: End::Code(0), left: true };
        assert_eq!(course.handle(left, now), Some(Act::SendAll(Signal::TERM)));
        assert!(course.clears());
        assert_eq!(course.handle(Event::Time, now + GRACE), Some(Act::SendAll(Signal::KILL)));
        assert_eq!(course.handle(Event::Alone, now + GRACE), Some(Act::Leave(End::Code(0))));

        let (mut course, now) = self::course();
        course.handle(left, now);
        course.handle(Event::Time, now + GRACE);
        let later = now + GRACE + DEATH;
        assert_eq!(course.handle(Event::Time, later), Some(Act::Leave(End::Code(0))), "nor is it waited for");
    }

    #[test]
    fn a_restart_waits_for_the_old_one_and_a_storm_is_put_off_while_it_runs() {
        let (mut course, now) = course();
        assert_eq!(course.handle(Event::Restart, now), Some(Act::Send(Signal::QUIT)));
        assert_eq!(course.handle(Event::Restart, now), None, "one is under way");
        assert_eq!(course.handle(ended(0), now), Some(Act::Start));
        assert_eq!(course.handle(Event::Restart, now), None);
        assert_eq!(course.put_off(), Some(now + Pace::PAUSE));
        assert_eq!(course.handle(Event::Restart, now), None);
        let then = now + Pace::PAUSE;
        assert_eq!(course.handle(Event::Time, then), Some(Act::Send(Signal::QUIT)));
        assert_eq!(course.handle(ended(0), then), Some(Act::Start));
        assert_eq!(course.handle(Event::Told(Signal::HUP), then), Some(Act::Send(Signal::HUP)));
    }

    #[test]
    fn who_is_told_to_end_while_it_restarts_does_not_start_again() {
        for told in [Event::Stop, Event::Told(Signal::TERM)] {
            let (mut course, now) = course();
            course.handle(Event::Restart, now);
            assert_eq!(course.handle(told, now), None);
            assert_eq!(course.handle(ended(0), now), Some(Act::Leave(End::Code(0))));
        }
    }
}
