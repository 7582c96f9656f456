//! The broker over a file layer that fails as the file named by `LEASEHOLD_FAULTS` says (see `leasehold_audit::faults`), or
//! that forgets what is not durable when `LEASEHOLD_FORGETS` is set; and by clocks that are as far ahead of the machine's as
//! the file named by `LEASEHOLD_CLOCK` says: the time of day and the time since the start, in milliseconds. For the crash and chaos tests only: the real
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
use leaseholdd::clock::{self, Sources};

fn main() -> ExitCode {
    let system = Arc::new(SystemFiles);
    let files: Arc<dyn Files> = match env::var_os("LEASEHOLD_FAULTS") {
        Some(path) => Arc::new(FaultyFiles::new(system, Faults::follow_file(path.as_ref()))),
        None if env::var_os("LEASEHOLD_FORGETS").is_some() => Arc::new(forgetful::Forgetful::new(system)),
        None => system,
    };
    let sources = Sources { wall: || clock::wall() + ahead()[0], ticks: || clock::ticks() + ahead()[1] };
    leaseholdd::program::main(files, sources)
}

/// How far both are ahead, in nanoseconds; an absent control file changes nothing.
fn ahead() -> [i64; 2] {
    static CONTROL: OnceLock<Option<OsString>> = OnceLock::new();
    let control = CONTROL.get_or_init(|| env::var_os("LEASEHOLD_CLOCK"));
    let text = control.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let mut millis = text.split(' ').map(|number| number.trim().parse::<i64>().unwrap_or(0));
    [millis.next(), millis.next()].map(|millis| millis.unwrap_or(0) * 1_000_000)
}
