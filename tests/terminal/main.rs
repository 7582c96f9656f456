//! What people see: the command line in a real terminal (tmux), under a real shell, against the real daemon.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets one of these has failed"
)]

mod screen;
mod screens;
mod top;
