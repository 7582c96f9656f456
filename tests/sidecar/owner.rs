//! Files of somebody else's: as root of any user's, and otherwise of a group that one is in.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
};

use leasehold_tests::{
    daemon::{self, Daemon},
    rotations::rotate,
    wait::until,
};
use rustix::process::{getgid, getgroups, getuid};

use crate::kit::{Sidecar, path, site};

const NOBODY: u32 = 65_534;
const SOMEBODY_ELSE: u32 = 65_533;

/// What a user reads there.
fn read_as(user: u32, group: u32, file: &Path) -> Option<String> {
    let mut read = Command::new("setpriv");
    read.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
    let output = read.arg("cat").arg(file).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_given_to_whom_they_are_for_and_nobody_else_reads_them() {
    let site = site(&["db"], "10m");
    let broker = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", "canary-of-theirs").await;
    // The site is private; this is on the way of whoever the files are for.
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let dir = place.path().join("files");
    let own = getgid().as_raw();
    let other = getgroups().unwrap().into_iter().map(|group| group.as_raw()).find(|group| *group != own);
    let (whose, owner, group) = match (getuid().is_root(), other) {
        (true, _) => (format!("owner = \"{NOBODY}\"\ngroup = \"{NOBODY}\"\n"), NOBODY, NOBODY),
        (false, Some(group)) => (format!("group = \"{group}\"\n"), getuid().as_raw(), group),
        (false, None) => ("owner = \"root\"\n".to_owned(), 0, 0),
    };
    let config = format!(
        "[[secret]]\nname = \"db\"\npath = \"prod/payments/db\"\n\n[files]\ndir = \"{}\"\n{whose}\n\
         [[file]]\nname = \"db\"\nsecret = \"db\"\nmode = \"0440\"\n",
        dir.display()
    );
    let mut sidecar = Sidecar::start(&site, &config);
    if !getuid().is_root() && other.is_none() {
        // Who may give nothing away says so, and leaves nothing that is his own in the other's place.
        sidecar.says("Operation not permitted").await;
        assert!(!dir.join("db").exists());
        return;
    }
    let file = dir.join("db");
    until("the file is there", async || file.exists()).await;
    let whose = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.uid(), found.gid(), found.mode() & 0o777)
    };
    let operator = daemon::operator(&site).await.operator();
    for round in 0..2 {
        assert_eq!(whose(&file), (owner, group, 0o440), "in round {round}");
        assert_eq!(whose(&dir), (owner, group, 0o750), "in round {round}");
        let value = fs::read_to_string(&file).unwrap();
        if getuid().is_root() {
            assert_eq!(read_as(NOBODY, NOBODY, &file), Some(value), "in round {round}");
            assert_eq!(
                read_as(SOMEBODY_ELSE, NOBODY, &file),
                Some(fs::read_to_string(&file).unwrap()),
                "by group"
            );
            assert_eq!(read_as(SOMEBODY_ELSE, SOMEBODY_ELSE, &file), None, "in round {round}");
        }
        // What comes later is theirs, too, and so is what is read again.
        rotate(&operator, &path("db")).await;
    }
    if getuid().is_root() {
        // Another group: not while it runs, for the directory is theirs, too; from the next start on for all of it.
        let theirs = |group: u32| format!("\ngroup = \"{group}\"\n");
        sidecar.reconfigure(&site, &config.replace(&theirs(NOBODY), &theirs(SOMEBODY_ELSE)));
        sidecar.says("`owner` or `group` of [files] cannot change while the sidecar runs").await;
        assert_eq!((whose(&dir), whose(&file)), ((NOBODY, NOBODY, 0o750), (NOBODY, NOBODY, 0o440)));
        assert!(sidecar.stop().await.success());
        sidecar = Sidecar::spawn(&site, Sidecar::command(&site, "run"));
        let read = || read_as(SOMEBODY_ELSE, SOMEBODY_ELSE, &file);
        until("the others read it", async || read().is_some()).await;
        let expected = ((NOBODY, SOMEBODY_ELSE, 0o750), (NOBODY, SOMEBODY_ELSE, 0o440));
        assert_eq!((whose(&dir), whose(&file)), expected);
    }
    assert!(sidecar.stop().await.success());
    broker.stop().await;
}
