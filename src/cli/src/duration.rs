//! Durations as people write and read them.

use std::time::Duration;

use jiff::SignedDuration;
use leasehold_core::Timestamp;

/// Reads `90s`, `15m`, `1h30m`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|parsed| Duration::try_from(parsed).ok());
    match parsed {
        Some(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("a duration is written `90s`, `15m` or `1h30m`".to_owned()),
    }
}

/// Shows the two largest units: `14m 59s`, `2d 3h`.
pub(crate) fn show(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = duration.as_secs();
    let mut shown = Vec::new();
    for (length, unit) in UNITS {
        let count = rest.checked_div(length).unwrap_or_default();
        rest = rest.checked_rem(length).unwrap_or_default();
        if count > 0 {
            shown.push(format!("{count}{unit}"));
        } else if !shown.is_empty() {
            break;
        }
        if shown.len() == 2 {
            break;
        }
    }
    if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }
}

/// Where `time` lies from `now`: `in 14m 59s`, `3m ago`.
pub(crate) fn relative(time: Timestamp, now: Timestamp) -> String {
    let distance = time.duration_since(now);
    let length = show(distance.unsigned_abs());
    if distance.is_negative() { format!("{length} ago") } else { format!("in {length}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        assert_eq!(parse("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5_400)));
        for bad in ["", "15", "0s", "-5m", "soon"] {
            assert!(parse(bad).unwrap_err().contains("`15m`"), "{bad}");
        }
    }

    #[test]
    fn what_people_read() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(relative(at(899), at(0)), "in 14m 59s");
        assert_eq!(relative(at(0), at(3_600)), "1h ago");
        assert_eq!(relative(at(183_600), at(0)), "in 2d 3h");
        assert_eq!(relative(at(0), at(0)), "in 0s");
    }
}
