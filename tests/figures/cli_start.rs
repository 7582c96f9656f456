//! How long the command line takes to begin: `leasehold --version`, and the same for `/bin/true`, which is what a process
//! costs that does nothing. Both are started in turn.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use leasehold_tests::binaries;
use tokio::time::Instant;

use crate::figure::{Report, Target, median};

pub(crate) const NAMES: [&str; 2] = ["cli_start_ms", "cli_start_ratio"];

const ROUNDS: usize = 200;

pub(crate) fn all(report: &mut Report) {
    let program = binaries::leasehold();
    let (mut own, mut nothing) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        own.push(started(&program, &["--version"]));
        nothing.push(started(Path::new("/bin/true"), &[]));
    }
    let (own, nothing) = (median(&mut own), median(&mut nothing));
    Report::note(&format!("leasehold --version {own:.2} ms, /bin/true {nothing:.2} ms, medians of {ROUNDS}"));
    report.figure("cli_start_ms", own, "ms", Target::AtMost(10.0));
    report.figure("cli_start_ratio", own / nothing, "ratio", Target::AtMost(6.0));
}

/// From the start to the end, in milliseconds.
fn started(program: &Path, arguments: &[&str]) -> f64 {
    let begun = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status().unwrap();
    assert!(status.success());
    begun.elapsed().as_secs_f64() * 1000.0
}
