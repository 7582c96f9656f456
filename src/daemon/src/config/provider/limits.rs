//! How much one back end is asked: keys that every `[[provider]]` has, whatever its kind.

use std::time::Duration;

use leasehold_engine::ProviderLimits;

use crate::config::{
    limits::{Limits, MOST_LEASES},
    section::Section,
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The provider's own limits; what it does not say is as `[limits]` has it for all.
pub(super) fn read(section: &Section<'_>, all: &Limits) -> ProviderLimits {
    let count = |key, default, most| {
        usize::try_from(section.within::<u32>(key, default, 1..=most)).unwrap_or(usize::MAX)
    };
    ProviderLimits {
        max_calls: count("max_calls", all.provider_calls, 10_000),
        max_queue: count("max_queue", all.provider_queue, 1_000_000),
        call_timeout: section.within("call_timeout", all.provider_timeout, secs(1)..=secs(120)),
        upstream_check: section.within(
            "upstream_check",
            ProviderLimits::default().upstream_check,
            Duration::ZERO..=secs(86_400),
        ),
        orphan_sweep: section.within(
            "orphan_sweep",
            ProviderLimits::default().orphan_sweep,
            Duration::ZERO..=secs(7 * 86_400),
        ),
        orphan_grace: section.within(
            "orphan_grace",
            ProviderLimits::default().orphan_grace,
            Duration::ZERO..=secs(86_400),
        ),
        max_leases: section.count("max_leases", MOST_LEASES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    fn read(section: Section<'_>) -> Option<ProviderLimits> {
        let all = Limits { provider_calls: 5, provider_timeout: secs(3), ..Limits::default() };
        let limits = super::read(&section, &all);
        section.finish();
        Some(limits)
    }

    #[test]
    fn what_is_not_said_is_as_for_all() {
        let d = ProviderLimits::default();
        let limits = read_section("", read).unwrap();
        assert_eq!(limits, ProviderLimits { max_calls: 5, call_timeout: secs(3), ..d });
        let own = "max_calls = 2\nmax_queue = 9\ncall_timeout = '20s'\nupstream_check = '0s'\nmax_leases = 7";
        let limits = read_section(own, read).unwrap();
        let expected = ProviderLimits {
            max_calls: 2,
            max_queue: 9,
            call_timeout: secs(20),
            upstream_check: Duration::ZERO,
            max_leases: Some(7),
            ..d
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn limits_have_bounds() {
        let cases = [
            ("max_calls = 0", "it must be between 1 and 10000"),
            ("call_timeout = '5m'", "it must be between 1s and 2m"),
            ("upstream_check = '2d'", "it must be between 0s and 1d"),
            ("orphan_sweep = '8d'", "it must be between 0s and 7d"),
            ("orphan_grace = '2d'", "it must be between 0s and 1d"),
            ("max_leases = 0", "it must be between 1 and 1000000000"),
            ("max_cals = 1", "did you mean `max_calls`?"),
        ];
        for (toml, expected) in cases {
            let faults = faults_of(toml, read);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
