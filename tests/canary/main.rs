//! A canary's flight: a value that occurs nowhere else goes through everything that the broker does with values, and through
//! every failure that a test can reach. Then it is looked for wherever it could have been left behind.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod aws;
mod local;
mod scene;
