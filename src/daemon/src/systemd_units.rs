//! What ships in `systemd/`, held to what systemd itself says of it.

use std::{path::PathBuf, process::Command};

/// The most that `systemd-analyze security` may say, in tenths.
const THRESHOLD: &str = "20";

fn unit() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../systemd/leaseholdd.service")
}

/// Runs `systemd-analyze`; `None`, loudly, where there is none. On CI there must be one.
fn analyze(args: &[&str]) -> Option<(bool, String)> {
    match Command::new("systemd-analyze").args(args).output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "systemd-analyze is needed on CI: {error}");
            println!("skipped: systemd-analyze not available");
            None
        }
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    // `verify` wants the program to exist, which it does only where the broker is installed.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("leaseholdd.service");
    let text = std::fs::read_to_string(unit()).unwrap();
    assert!(text.contains("ExecStart=/usr/bin/leaseholdd "));
    std::fs::write(&copy, text.replace("/usr/bin/leaseholdd", "/bin/true")).unwrap();
    if let Some((good, said)) = analyze(&["verify", copy.to_str().unwrap()]) {
        assert!(good && said.is_empty(), "{said}");
    }
}

#[test]
fn the_sandbox_is_tight() {
    let threshold = format!("--threshold={THRESHOLD}");
    let unit = unit();
    let args = ["security", "--offline=true", "--no-pager", &threshold, unit.to_str().unwrap()];
    if let Some((good, said)) = analyze(&args) {
        assert!(good && said.contains("Overall exposure level"), "{said}");
    }
}
