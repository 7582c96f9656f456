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

/// The sidecar.
pub fn sidecar() -> PathBuf {
    folder().join("leasehold-sidecar")
}

/// One of the client's examples.
///
/// # Panics
/// When it does not build.
pub fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let program = folder().join("examples").join(name);
    // They are built with the tests, but not where programs of another build are tested.
    if env::var_os("LEASEHOLD_BIN_DIR").is_none() || !program.is_file() {
        BUILT.get_or_init(|| {
            let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["build", "--quiet", "--package", "leasehold-client", "--examples"]);
            let built = cargo.status().expect("cargo is on the PATH");
            assert!(built.success(), "the examples do not build");
        });
    }
    program
}

fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(folder) = env::var_os("LEASEHOLD_BIN_DIR") {
            return folder.into();
        }
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet"]);
        cargo.args(
            ["leaseholdd", "leasehold-cli", "leasehold-sidecar"].map(|name| format!("--package={name}")),
        );
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
