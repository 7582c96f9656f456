//! The circuit breaker of one back end: after failures in a row it is given a rest, then one call tries whether it is
//! back; a back end that says when to come again is taken at its word. Pure: it is told the time and what happened.

use std::time::Duration;

use leasehold_core::{
    Timestamp,
    provider::{ErrorClass, ProviderError},
    ttl::after,
};

use crate::request::CircuitState;

/// Failures in a row, and what follows from them.
#[derive(Debug, Default)]
pub(crate) struct Circuit {
    state: State,
    failures: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Calls go through.
    #[default]
    Closed,
    /// None does before this; then one.
    Open { until: Timestamp },
    /// That one is under way.
    Probing,
    /// The back end wants to be left alone until then.
    Throttled { until: Timestamp },
}

/// A call that may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// As one of many.
    Pass,
    /// As the one that tries whether the back end is back.
    Probe,
}

/// Why a call may not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has failed so often that it is given a rest.
    Resting { until: Timestamp, failures: u32 },
    /// Another call is trying whether it is back.
    Probing { failures: u32 },
    /// It wants to be left alone.
    Throttled { until: Timestamp },
}

/// So many failures in a row open the circuit.
const FAILURES_TO_OPEN: u32 = 5;
/// The first rest; each probe in vain doubles it.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

impl Circuit {
    /// Why no call may be made now, if none may. Changes nothing.
    pub(crate) fn refusal(&self, now: Timestamp) -> Option<Refusal> {
        let failures = self.failures;
        match self.state {
            State::Open { until } if now < until => Some(Refusal::Resting { until, failures }),
            State::Probing => Some(Refusal::Probing { failures }),
            State::Throttled { until } if now < until => Some(Refusal::Throttled { until }),
            State::Closed | State::Open { .. } | State::Throttled { .. } => None,
        }
    }

    /// Lets a call through, or says why not. Whoever is let through says how it went with [`Circuit::learn`], or that it
    /// was given up with [`Circuit::give_up`].
    pub(crate) fn admit(&mut self, now: Timestamp) -> Result<Leave, Refusal> {
        if let Some(refusal) = self.refusal(now) {
            return Err(refusal);
        }
        match self.state {
            State::Open { .. } => {
                self.state = State::Probing;
                Ok(Leave::Probe)
            }
            State::Closed | State::Probing | State::Throttled { .. } => {
                self.state = State::Closed;
                Ok(Leave::Pass)
            }
        }
    }

    /// Takes in how a call went; says whether the circuit has opened, or opened again, by it.
    pub(crate) fn learn(&mut self, leave: Leave, error: Option<&ProviderError>, now: Timestamp) -> bool {
        match error {
            Some(error) if error.class == ErrorClass::Transient && !error.is_behind() => {
                // Calls that set out before it opened say nothing new.
                if leave == Leave::Pass && matches!(self.state, State::Open { .. } | State::Probing) {
                    return false;
                }
                self.failures = self.failures.saturating_add(1);
                let Some(doublings) = self.failures.checked_sub(FAILURES_TO_OPEN) else { return false };
                let rest = FIRST_REST.saturating_mul(1 << doublings.min(5)).min(LONGEST_REST);
                self.state = State::Open { until: after(now, rest) };
                true
            }
            // A hint is an order: nothing is asked before it has passed.
            Some(error) if error.class == ErrorClass::Throttled => {
                self.failures = 0;
                self.state = match error.retry_after {
                    Some(hint) => State::Throttled { until: after(now, hint.min(LONGEST_REST)) },
                    None => State::Closed,
                };
                false
            }
            // Any other answer is an answer.
            _ => {
                *self = Self::default();
                false
            }
        }
    }

    /// A call was let through and its outcome will never be known: the next one may try.
    pub(crate) fn give_up(&mut self, leave: Leave, now: Timestamp) {
        if leave == Leave::Probe && self.state == State::Probing {
            self.state = State::Open { until: now };
        }
    }

    /// As operators see it.
    pub(crate) fn state(&self, now: Timestamp) -> CircuitState {
        match self.state {
            State::Open { until } if now < until => CircuitState::Open,
            State::Open { .. } | State::Probing => CircuitState::HalfOpen,
            State::Closed | State::Throttled { .. } => CircuitState::Closed,
        }
    }

    /// Until when no call goes through because the back end failed.
    pub(crate) fn open_until(&self) -> Option<Timestamp> {
        match self.state {
            State::Open { until } => Some(until),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    fn error(class: ErrorClass) -> ProviderError {
        ProviderError::new(class, "told to fail")
    }

    fn failed(circuit: &mut Circuit, leave: Leave, now: i64) -> bool {
        circuit.learn(leave, Some(&error(ErrorClass::Transient)), at(now))
    }

    fn opened() -> Circuit {
        let mut circuit = Circuit::default();
        for n in 1..=5 {
            assert_eq!(circuit.admit(at(0)), Ok(Leave::Pass));
            assert_eq!(failed(&mut circuit, Leave::Pass, 0), n == 5);
        }
        circuit
    }

    #[test]
    fn after_its_rest_one_call_tries_and_the_others_wait_for_it() {
        let mut circuit = opened();
        assert_eq!(circuit.state(at(999)), CircuitState::Open);
        assert_eq!(circuit.admit(at(999)), Err(Refusal::Resting { until: at(1000), failures: 5 }));
        assert_eq!(circuit.state(at(1000)), CircuitState::HalfOpen);
        assert_eq!(circuit.admit(at(1000)), Ok(Leave::Probe));
        assert_eq!(circuit.admit(at(1000)), Err(Refusal::Probing { failures: 5 }));
        assert!(failed(&mut circuit, Leave::Probe, 1500));
        assert_eq!(circuit.admit(at(3499)), Err(Refusal::Resting { until: at(3500), failures: 6 }));
        assert_eq!(circuit.admit(at(3500)), Ok(Leave::Probe));
        circuit.learn(Leave::Probe, None, at(3600));
        assert_eq!(circuit.state(at(3600)), CircuitState::Closed);
        assert_eq!(circuit.admit(at(3600)), Ok(Leave::Pass));
        assert_eq!(circuit.admit(at(3600)), Ok(Leave::Pass));
    }

    #[test]
    fn calls_that_were_under_way_when_it_opened_do_not_lengthen_the_rest() {
        let mut circuit = opened();
        for _ in 0..60 {
            assert!(!failed(&mut circuit, Leave::Pass, 900));
        }
        assert_eq!(circuit.open_until(), Some(at(1000)));
    }

    #[test]
    fn the_rest_has_a_bound() {
        let mut circuit = opened();
        let mut now = 0;
        for _ in 0..50 {
            now = circuit.open_until().unwrap().as_millisecond();
            assert_eq!(circuit.admit(at(now)), Ok(Leave::Probe));
            failed(&mut circuit, Leave::Probe, now);
        }
        assert_eq!(circuit.open_until(), Some(after(at(now), LONGEST_REST)));
    }

    #[test]
    fn a_probe_that_is_given_up_lets_the_next_one_try() {
        let mut circuit = opened();
        assert_eq!(circuit.admit(at(1000)), Ok(Leave::Probe));
        circuit.give_up(Leave::Probe, at(1001));
        assert_eq!(circuit.admit(at(1001)), Ok(Leave::Probe));
    }

    #[test]
    fn a_hint_is_an_order_and_no_failure() {
        let mut circuit = Circuit::default();
        let throttled = error(ErrorClass::Throttled).retry_after(Some(Duration::from_secs(3)));
        assert!(!circuit.learn(Leave::Pass, Some(&throttled), at(0)));
        assert_eq!(circuit.state(at(1)), CircuitState::Closed);
        assert_eq!(circuit.admit(at(2999)), Err(Refusal::Throttled { until: at(3000) }));
        assert_eq!(circuit.admit(at(3000)), Ok(Leave::Pass));
        assert_eq!(circuit.admit(at(3000)), Ok(Leave::Pass));
        let patient = error(ErrorClass::Throttled).retry_after(Some(Duration::from_secs(9999)));
        circuit.learn(Leave::Pass, Some(&patient), at(0));
        assert_eq!(circuit.admit(at(30_000)), Ok(Leave::Pass));
        circuit.learn(Leave::Pass, Some(&error(ErrorClass::Throttled)), at(30_000));
        assert_eq!(circuit.refusal(at(30_000)), None);
    }

    #[test]
    fn what_fails_behind_a_back_end_that_answers_closes_nothing_else_off() {
        let mut circuit = Circuit::default();
        for _ in 0..20 {
            assert_eq!(circuit.admit(at(0)), Ok(Leave::Pass));
            assert!(!circuit.learn(Leave::Pass, Some(&error(ErrorClass::Transient).behind()), at(0)));
        }
        let mut circuit = opened();
        assert_eq!(circuit.admit(at(1000)), Ok(Leave::Probe));
        circuit.learn(Leave::Probe, Some(&error(ErrorClass::Transient).behind()), at(1001));
        assert_eq!(circuit.state(at(1001)), CircuitState::Closed);
    }

    #[test]
    fn any_answer_begins_the_count_anew() {
        for class in [ErrorClass::Denied, ErrorClass::Absent, ErrorClass::Invalid, ErrorClass::Permanent] {
            let mut circuit = Circuit::default();
            for _ in 0..4 {
                failed(&mut circuit, Leave::Pass, 0);
            }
            circuit.learn(Leave::Pass, Some(&error(class)), at(0));
            assert!(!failed(&mut circuit, Leave::Pass, 0), "{class:?}");
        }
    }
}
