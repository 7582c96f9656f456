//! The chance of these tests: `LEASEHOLD_CRASH_SEED` gives it again.

pub(crate) use leasehold_tests::seed::Seed;

/// The given one or a new one.
pub(crate) fn from_env() -> Seed {
    Seed::from_env("LEASEHOLD_CRASH_SEED")
}
