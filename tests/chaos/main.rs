//! Nothing orphaned, whatever dies when: the real broker makes users of a real PostgreSQL for a crowd that takes, renews and
//! gives back leases, while the broker is killed and stopped, the database is restarted, what is between them is cut and
//! held up, the disk fills or fails, and the clock is set. What must hold is looked for from outside: in `pg_roles`, by
//! logging in, in what the broker lists and in its journal.
//!
//! `LEASEHOLD_CHAOS_SECONDS` says how long (80 when nothing is said); `LEASEHOLD_CHAOS_SEED` makes the random choices of a run
//! again, beginning with the site that printed it.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    reason = "a test that meets one of these has failed"
)]

mod book;
mod database;
mod oracle;
mod scene;
mod storm;
mod trouble;
mod workload;
