//! The `@max_ttl("15m")` annotation: the longest lease that a permit grants.

use std::time::Duration;

/// Reads a duration such as `90s`, `15m`, `1h30m` or `7d`: whole numbers with units, the largest first, at least one second.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let mut characters = tail.chars();
        let unit = match characters.next()? {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        // `30m1h` and `1h1h` are slips, not durations.
        if unit >= last_unit {
            return None;
        }
        last_unit = unit;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = characters.as_str();
    }
    (total > 0).then(|| Duration::from_secs(total))
}

/// The limit of several permits that all apply: each of them alone would allow its own, so the longest counts, and one
/// without a limit sets none.
pub(crate) fn longest(limits: impl IntoIterator<Item = Option<Duration>>) -> Option<Duration> {
    limits
        .into_iter()
        .try_fold(Duration::ZERO, |longest, limit| Some(longest.max(limit?)))
        .filter(|d| !d.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_or_refused() {
        let seconds = |text| parse(text).map(|d| d.as_secs());
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("15m"), Some(900));
        assert_eq!(seconds("1h30m"), Some(5_400));
        assert_eq!(seconds("7d"), Some(604_800));
        for bad in [
            "",
            "15",
            "m",
            "0s",
            "-1s",
            "1.5h",
            "15 m",
            "30m1h",
            "1h1h",
            "15M",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_longest_limit_counts_and_no_limit_is_longer_than_any() {
        let (minute, hour) = (Some(Duration::from_secs(60)), Some(Duration::from_secs(3_600)));
        assert_eq!(longest([minute, hour]), hour);
        assert_eq!(longest([minute, None, hour]), None);
        assert_eq!(longest([]), None);
    }
}
