//! The broker over a file layer that fails as the file named by `LEASEHOLD_FAULTS` says (see `leasehold_audit::faults`), or
//! that forgets what is not durable when `LEASEHOLD_FORGETS` is set. For the crash tests only: the real program has no
//! such layer, and nothing can make it fail like this.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that meets one of these has failed"
)]

mod forgetful;

use std::{env, process::ExitCode, sync::Arc};

use leasehold_audit::{
    Files, SystemFiles,
    faults::{Faults, FaultyFiles},
};

fn main() -> ExitCode {
    let system = Arc::new(SystemFiles);
    let files: Arc<dyn Files> = match env::var_os("LEASEHOLD_FAULTS") {
        Some(path) => Arc::new(FaultyFiles::new(system, Faults::follow_file(path.as_ref()))),
        None if env::var_os("LEASEHOLD_FORGETS").is_some() => Arc::new(forgetful::Forgetful::new(system)),
        None => system,
    };
    leaseholdd::program::main(files)
}
