//! The time of day, for what people see: how long a lease still lives, from when a certificate is valid.

use leasehold_core::Timestamp;

/// Now, by this machine's clock.
#[expect(clippy::disallowed_methods, reason = "the command line's one look at the clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A time of the contract; absent when it is out of range.
pub(crate) fn of_proto(time: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}
