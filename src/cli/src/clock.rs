//! The time of day, for what people see: how long a lease still lives, from when a certificate is valid.

use leasehold_core::Timestamp;

use crate::duration;

/// Now, by this machine's clock.
#[expect(clippy::disallowed_methods, reason = "the command line's one look at the clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Reads a time, or how long ago it was.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let ago = || duration::parse(text).ok().and_then(|ago| now().checked_sub(ago).ok());
    let time = text.parse().ok().or_else(ago);
    time.ok_or_else(|| {
        "a time is written `2026-11-22T08:00:00Z`, or `1h30m` when it was as long ago".to_owned()
    })
}

/// A time of the contract; absent when it is out of range.
pub(crate) fn of_proto(time: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_given_as_such_or_by_its_distance() {
        assert_eq!(parse("1970-01-01T00:00:10Z"), Ok(Timestamp::from_second(10).unwrap()));
        let before = now();
        let time = parse("1h30m").unwrap();
        assert!(time < before && time >= before.checked_sub(Duration::from_secs(5_400)).unwrap(), "{time}");
        for bad in ["yesterday", "", "-1h", "2026-11-22"] {
            assert!(parse(bad).unwrap_err().contains("`2026-11-22T08:00:00Z`"), "{bad}");
        }
    }
}
