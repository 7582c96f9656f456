//! Rotation with real targets, back ends and daemons: databases whose users get new passwords while somebody uses them, and
//! brokers that die, whose clocks are set and whose surroundings change meanwhile.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod administrator;
mod clocks;
mod killed;
mod kit;
mod logins;
mod surroundings;
mod unstaged;
