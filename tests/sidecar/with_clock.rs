//! The sidecar by a time of day that is so many milliseconds ahead of the machine's as the file named by `LEASEHOLD_CLOCK`
//! says. For the tests only: the real program knows no such file.

use std::{env, ffi::OsString, fs, process::ExitCode, sync::OnceLock, time::Duration};

use leasehold_core::Timestamp;
use leasehold_sidecar::clock::{self, Sources};

fn main() -> ExitCode {
    leasehold_sidecar::program::main(Sources { time_of_day, ..Sources::default() })
}

/// An absent control file changes nothing.
fn time_of_day() -> Timestamp {
    static CONTROL: OnceLock<Option<OsString>> = OnceLock::new();
    let control = CONTROL.get_or_init(|| env::var_os("LEASEHOLD_CLOCK"));
    let text = control.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let ahead: i64 = text.trim().parse().unwrap_or(0);
    let by = Duration::from_millis(ahead.unsigned_abs());
    let now = clock::time_of_day();
    let moved = if ahead < 0 { now.checked_sub(by) } else { now.checked_add(by) };
    moved.unwrap_or(now)
}
