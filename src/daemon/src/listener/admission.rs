//! Who may open one more connection: a pure decision over counts.

use thiserror::Error;

/// The counts that it is decided on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Open connections of everybody.
    pub(crate) total: usize,
    /// Open connections of the principal who asks.
    pub(crate) own: usize,
    /// Principals with connections, the one who asks included.
    pub(crate) principals: usize,
}

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Of everybody together.
    pub(crate) total: usize,
    /// Of one principal.
    pub(crate) per_principal: usize,
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// There is room.
    Admit,
    /// There is none, and someone with more than a fair share has to give up a connection for it.
    Displace,
    /// No.
    Refuse(Refused),
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refused {
    #[error("the principal has as many connections as one may have")]
    OwnLimit,
    #[error("connections are scarce and the principal has its fair share of them")]
    OverShare,
    #[error("all connections are in use")]
    Full,
    #[error("the listener is stopping")]
    Stopping,
}

/// Above seven eighths of the total, connections are scarce: a principal gets more only up to its fair share. When
/// none is left, a principal below its share still gets one, at the cost of the one with the most.
pub(crate) fn decide(counts: Counts, bounds: Bounds) -> Admission {
    if counts.own >= bounds.per_principal {
        return Admission::Refuse(Refused::OwnLimit);
    }
    let scarce_from = bounds.total.saturating_sub(bounds.total / 8);
    if counts.total < scarce_from {
        return Admission::Admit;
    }
    let share = bounds.total.checked_div(counts.principals).unwrap_or(bounds.total).max(1);
    match (counts.own < share, counts.total < bounds.total) {
        (true, true) => Admission::Admit,
        (true, false) => Admission::Displace,
        (false, true) => Admission::Refuse(Refused::OverShare),
        (false, false) => Admission::Refuse(Refused::Full),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { total: 16, per_principal: 12 };

    fn with(total: usize, own: usize, principals: usize) -> Admission {
        decide(Counts { total, own, principals }, BOUNDS)
    }

    #[test]
    fn plenty_is_shared_by_who_comes() {
        assert_eq!(with(13, 11, 2), Admission::Admit);
        assert_eq!(with(12, 12, 1), Admission::Refuse(Refused::OwnLimit));
    }

    #[test]
    fn scarcity_is_shared_fairly() {
        assert_eq!(with(14, 8, 2), Admission::Refuse(Refused::OverShare));
        assert_eq!(with(14, 7, 2), Admission::Admit);
        assert_eq!(with(16, 8, 2), Admission::Refuse(Refused::Full));
        assert_eq!(with(16, 0, 3), Admission::Displace);
        // More principals than connections: everybody's share is one.
        assert_eq!(with(16, 0, 40), Admission::Displace);
    }

    #[test]
    fn one_principal_alone_may_have_it_all() {
        let bounds = Bounds { total: 16, per_principal: 16 };
        assert_eq!(decide(Counts { total: 15, own: 15, principals: 1 }, bounds), Admission::Admit);
        assert_eq!(
            decide(Counts { total: 16, own: 16, principals: 1 }, bounds),
            Admission::Refuse(Refused::OwnLimit)
        );
    }

    proptest! {
        /// Whoever comes in whatever order: the total holds, and no two principals who keep asking differ by more
        /// than a connection once it is full.
        #[test]
        fn the_total_holds_and_the_shares_even_out(
            order in proptest::collection::vec(0_usize..4, 200..400), total in 4_usize..40,
        ) {
            let mut held = [0_usize; 4];
            for who in order.into_iter().chain((0..100).map(|turn| turn % 4)) {
                let counts = Counts {
                    total: held.iter().sum(),
                    own: held[who],
                    principals: held.iter().enumerate().filter(|(at, n)| **n > 0 || *at == who).count(),
                };
                match decide(counts, Bounds { total, per_principal: total }) {
                    Admission::Admit => held[who] = held[who].saturating_add(1),
                    Admission::Displace => {
                        let most = held.iter().copied().max().unwrap();
                        prop_assert!(most > held[who]);
                        let victim = held.iter().position(|n| *n == most).unwrap();
                        held[victim] = held[victim].saturating_sub(1);
                        held[who] = held[who].saturating_add(1);
                    }
                    Admission::Refuse(_) => {}
                }
                prop_assert!(held.iter().sum::<usize>() <= total);
            }
            prop_assert!(held.iter().all(|n| *n >= total / 4), "{held:?} of {total}");
        }
    }
}
