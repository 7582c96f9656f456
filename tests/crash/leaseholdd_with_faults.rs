//! The broker over a file layer that fails as the file named by `LEASEHOLD_FAULTS` says (see `leasehold_audit::faults`), or
//! that forgets what is not durable when `LEASEHOLD_FORGETS` is set; and by a clock that is so many milliseconds ahead of
//! the machine's, or behind it, as the file named by `LEASEHOLD_CLOCK` says. For the crash and chaos tests only: the real
//! program has neither, and nothing can make it fail like this.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that meets one of these has failed"
)]

mod forgetful;

use std::{env, ffi::OsString, fs, process::ExitCode, sync::Arc, sync::OnceLock};

use leasehold_audit::{
    Files, SystemFiles,
    faults::{Faults, FaultyFiles},
};
use leaseholdd::clock;

fn main() -> ExitCode {
    let system = Arc::new(SystemFiles);
    let files: Arc<dyn Files> = match env::var_os("LEASEHOLD_FAULTS") {
        Some(path) => Arc::new(FaultyFiles::new(system, Faults::follow_file(path.as_ref()))),
        None if env::var_os("LEASEHOLD_FORGETS").is_some() => Arc::new(forgetful::Forgetful::new(system)),
        None => system,
    };
    leaseholdd::program::main(files, wall)
}

/// The time of day as the control file has it; an absent or half written one changes nothing.
fn wall() -> i64 {
    static CONTROL: OnceLock<Option<OsString>> = OnceLock::new();
    let control = CONTROL.get_or_init(|| env::var_os("LEASEHOLD_CLOCK"));
    let text = control.as_ref().and_then(|path| fs::read_to_string(path).ok());
    let millis: i64 = text.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    clock::wall() + millis * 1_000_000
}
