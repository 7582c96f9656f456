//! Rotation with real targets: databases whose users get new passwords while somebody uses them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod administrator;
mod killed;
mod logins;
