//! Times and durations, as `google.protobuf` writes them.

use std::time::Duration;

use leasehold_core::Timestamp;

/// The time on the wire.
pub(crate) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let (mut seconds, mut nanos) = (time.as_second(), time.subsec_nanosecond());
    // Before 1970 jiff counts both parts backwards; protobuf wants the fraction to count forwards.
    if nanos < 0 {
        seconds = seconds.saturating_sub(1);
        nanos = nanos.saturating_add(1_000_000_000);
    }
    prost_types::Timestamp { seconds, nanos }
}

/// The time that was sent, if it is one.
pub(crate) fn parse_timestamp(time: prost_types::Timestamp) -> Option<Timestamp> {
    let in_range = (0..1_000_000_000).contains(&time.nanos);
    in_range.then(|| Timestamp::new(time.seconds, time.nanos).ok()).flatten()
}

/// The duration on the wire.
pub(crate) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_survive_the_wire(seconds in -60_000_000_000_i64..60_000_000_000, nanos in 0_i32..1_000_000_000) {
            let time = Timestamp::new(seconds, nanos).unwrap();
            let sent = timestamp(time);
            prop_assert_eq!((sent.seconds, sent.nanos), (seconds, nanos));
            prop_assert_eq!(parse_timestamp(sent), Some(time));
        }

        #[test]
        fn no_sent_time_panics(seconds: i64, nanos: i32) {
            let parsed = parse_timestamp(prost_types::Timestamp { seconds, nanos });
            prop_assert!(parsed.is_none() || (0..1_000_000_000).contains(&nanos));
        }
    }
}
