//! The broker over a file layer that fails as the file named by `LEASEHOLD_FAULTS` says (see `leasehold_audit::faults`).
//! For the crash tests only: the real program has no such layer, and nothing can make it fail like this.

use std::{env, process::ExitCode, sync::Arc};

use leasehold_audit::{
    SystemFiles,
    faults::{Faults, FaultyFiles},
};

fn main() -> ExitCode {
    let faults = match env::var_os("LEASEHOLD_FAULTS") {
        Some(path) => Faults::follow_file(path.as_ref()),
        None => Faults::none(),
    };
    leaseholdd::program::main(Arc::new(FaultyFiles::new(Arc::new(SystemFiles), faults)))
}
