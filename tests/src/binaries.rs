//! The programs under test, built as a user builds them.
//!
//! `tests/run` builds them once and says where in `LEASEHOLD_BIN_DIR`; a single test run by hand builds them itself, so
//! that it never tests yesterday's program.

use std::{env, path::PathBuf, process::Command, sync::OnceLock};

/// The daemon.
pub fn leaseholdd() -> PathBuf {
    folder().join("leaseholdd")
}

/// The command line.
pub fn leasehold() -> PathBuf {
    folder().join("leasehold")
}

fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(folder) = env::var_os("LEASEHOLD_BIN_DIR") {
            return folder.into();
        }
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--package", "leaseholdd", "--package", "leasehold-cli"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let built = cargo.status().expect("cargo is on the PATH");
        assert!(built.success(), "the programs under test do not build");
        let this = env::current_exe().expect("the running program has a path");
        // A test is in target/<profile>/deps, a program in target/<profile>.
        let folder = this.parent().expect("a program lies in a folder");
        let profile = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
        profile.expect("a target folder has a parent").to_path_buf()
    })
}
