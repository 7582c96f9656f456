//! `cargo quickstart`: builds the command line and a daemon with the local provider only, then runs `leasehold quickstart`.
//!
//! `cargo run` builds the binaries of one package, and the tour needs those of two: that is all this is for. It has no
//! dependencies, so it is there in a second.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// The daemon is built without the cloud providers: half the build time of the whole.
const BUILD: [&str; 9] = [
    "build",
    "--package",
    "leasehold-cli",
    "--package",
    "leaseholdd",
    "--no-default-features",
    "--features",
    "leaseholdd/local",
    "--bins",
];

fn main() -> ExitCode {
    match run() {
        Ok(never) => match never {},
        Err(why) => {
            let _ = writeln!(io::stderr().lock(), "quickstart: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Does not return when all goes well: the process becomes `leasehold`.
fn run() -> Result<std::convert::Infallible, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let built = Command::new(&cargo)
        .args(BUILD)
        .current_dir(workspace()?)
        .status()
        .map_err(|why| format!("{} does not start: {why}", cargo.display()))?;
    if !built.success() {
        return Err("the build failed: what it says above comes first".to_owned());
    }
    let leasehold = binaries()?.join("leasehold");
    let why = Command::new(&leasehold).arg("quickstart").args(env::args_os().skip(1)).exec();
    Err(format!("{} does not start: {why}", leasehold.display()))
}

fn workspace() -> Result<PathBuf, String> {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").ok_or("run it as `cargo quickstart`")?;
    let above = Path::new(&manifest).ancestors().nth(2);
    above.map(Path::to_owned).ok_or_else(|| "the workspace is not where it was".to_owned())
}

/// The profile's folder: this executable lies there, and so do the two that were built.
fn binaries() -> Result<PathBuf, String> {
    let own = env::current_exe().map_err(|why| format!("cannot tell where it was built: {why}"))?;
    own.parent().map(Path::to_owned).ok_or_else(|| "cannot tell where it was built".to_owned())
}
