//! The parts, put together.

use std::ffi::OsString;

use crate::config::Config;

/// Runs until it is told to end, or until the program ends. The exit code.
pub(crate) async fn run(config: Config, program: Vec<OsString>) -> u8 {
    let _ = (config, program);
    0
}
