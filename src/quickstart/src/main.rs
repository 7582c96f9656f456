//! What `cargo quickstart` runs: builds the command line and the broker in one go, then hands over to
//! `leasehold quickstart`. `cargo run` builds one package only, and the tour needs two programs.
//!
//! The broker is built with the local provider alone, which is the fastest to build. Nothing here is installed.

use std::{
    env,
    io::Write,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

fn main() -> ExitCode {
    let failure = match build() {
        Ok(()) => show_around(),
        Err(why) => why,
    };
    let _ = writeln!(std::io::stderr(), "quickstart: {failure}");
    ExitCode::FAILURE
}

fn build() -> Result<(), String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.args(["build", "--package", "leaseholdd", "--package", "leasehold-cli"]);
    command.args(["--no-default-features", "--features", "leaseholdd/local"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command.status().map_err(|why| format!("{}: {why}", cargo.to_string_lossy()))?;
    if status.success() {
        Ok(())
    } else {
        Err("the programs could not be built; cargo says why above".to_owned())
    }
}

/// Becomes `leasehold quickstart`; returns only when that cannot be started.
fn show_around() -> String {
    let program = match env::current_exe() {
        Ok(own) => own.with_file_name("leasehold"),
        Err(why) => return format!("this program's own path: {why}"),
    };
    let why = Command::new(&program).arg("quickstart").args(env::args_os().skip(1)).exec();
    format!("{}: {why}", program.display())
}
