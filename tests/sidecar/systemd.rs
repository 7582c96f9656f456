//! Under a systemd that runs: the units that are told of a change, and the sidecar's own unit. In namespaces of their own,
//! where root has them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use leasehold_tests::{
    binaries,
    daemon::{self, Daemon},
    rotations::ask,
    wait::{PATIENCE, until},
};
use rustix::process::getuid;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    container::{Killed, children},
    kit::{Sidecar, check, folder, path, site},
};

/// A manager of the system that knows nothing but some units, in namespaces that end with it.
struct Systemd {
    /// Its process, as this machine numbers it.
    id: u32,
    unshare: Option<Killed>,
    /// The control group that it has for its own.
    group: PathBuf,
    folder: TempDir,
}

const MANAGER: &str = "/lib/systemd/systemd";
/// Runs as the first process.
const INSIDE: &str = "set -e; mount -t tmpfs -o mode=755 tmpfs /run; mount -t cgroup2 none /sys/fs/cgroup; \
                      SYSTEMD_UNIT_PATH=\"$0\" container=test exec /lib/systemd/systemd --system --unit=tests.target \
                      --log-target=console --log-level=notice --show-status=no --crash-reboot=no";

impl Systemd {
    /// With these units beside; `None` where that cannot be had.
    async fn start(units: &[(&str, String)]) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let groups = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ');
            let (_, at, kind) = (fields.next()?, fields.next()?, fields.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(at))
        })?;
        if !getuid().is_root() || !Path::new(MANAGER).exists() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let target = "[Unit]\nDefaultDependencies=no\n".to_owned();
        for (name, text) in units.iter().chain([&("tests.target", target)]) {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let group = groups.join(format!("leasehold-tests-{}-{}", std::process::id(), units.len()));
        fs::create_dir(&group).ok()?;
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let unshare = Command::new("sh")
            .args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec unshare \"$@\""])
            .arg(&group)
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--mount-proc",
                "--cgroup",
                "--uts",
                "--ipc",
                "--kill-child",
            ])
            .args(["sh", "-c", INSIDE])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut systemd = Self { id: 0, unshare: Some(Killed(unshare)), group, folder };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let unshare = systemd.unshare.as_ref()?.0.id();
            systemd.id = children(unshare).first().and_then(|id| u32::try_from(*id).ok()).unwrap_or_default();
            if systemd.id != 0 && systemd.systemctl(&["list-units"]).status.success() {
                return Some(systemd);
            }
            sleep(std::time::Duration::from_millis(50)).await;
        }
        None
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A program beside it.
    fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.id.to_string(), "--mount", "--pid"]).arg(program);
        command
    }

    fn systemctl(&self, words: &[&str]) -> Output {
        self.inside("systemctl").args(words).output().unwrap()
    }

    fn property(&self, unit: &str, name: &str) -> String {
        let output = self.systemctl(&["show", "--value", "--property", name, unit]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A file as it is where the manager is.
    fn root(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.id))
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        drop(self.unshare.take());
        // Empty once the last of its processes is gone.
        for _ in 0..100 {
            if remove(&self.group).is_ok() {
                return;
            }
            let _ = Command::new("sleep").arg("0.05").status();
        }
    }
}

/// Control groups are removed from the leaves.
fn remove(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove(&entry.path())?;
    }
    fs::remove_dir(group)
}

/// A service that says in a file what it is told.
fn service(name: &str, said: &Path) -> String {
    let said = said.join(name);
    let said = said.display();
    format!(
        "[Unit]\nDefaultDependencies=no\n[Service]\n\
         ExecStart=/bin/sh -c 'trap \"echo usr1 >> {said}\" USR1; echo start >> {said}; while :; do sleep 0.1; done'\n\
         ExecReload=/bin/sh -c 'echo reload >> {said}'\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn units_of_a_systemd_that_runs_are_told() {
    let site = site(&["db"], "10m");
    let said = folder(&site, "said");
    let units = ["one", "two", "three", "four"].map(|name| (format!("{name}.service"), service(name, &said)));
    let units: Vec<_> = units.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    let Some(systemd) = Systemd::start(&units).await else {
        eprintln!("no systemd can be run here: there are no units to be told");
        return;
    };
    let services = ["one", "two", "three"];
    for name in services {
        assert!(
            systemd.systemctl(&["start", &format!("{name}.service")]).status.success(),
            "{}",
            systemd.log()
        );
    }
    let lines = |name: &str| fs::read_to_string(said.join(name)).unwrap_or_default();
    until("they run", async || services.iter().all(|name| lines(name) == "start\n")).await;

    let broker = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", "canary").await;
    let mut config =
        "[[secret]]\nname = \"db\"\npath = \"prod/payments/db\"\n\n[health]\nsocket = \"run/h.sock\"\n"
            .to_owned();
    for (unit, more) in [
        ("one", "order = \"reload\""),
        ("two", "signal = \"USR1\""),
        ("three", "order = \"restart\""),
        // One that does not run is not started by a restart, and one that is not there cannot be told.
        ("four", "order = \"restart\""),
        ("absent", "order = \"reload\"\nretries = 0"),
    ] {
        config.push_str(&format!(
            "[[on_change]]\nunit = \"{unit}.service\"\n{more}\ndebounce = \"0s\"\nsettle = \"0s\"\n"
        ));
    }
    folder(&site, "run");
    Sidecar::configure(&site, &config);
    let mut command = systemd.inside(binaries::sidecar());
    command.args(["run", "--config"]).arg(site.path("sidecar.toml"));
    let sidecar = Sidecar::spawn(&site, command);
    until("it is ready", async || check(&site).0 == 0).await;
    ask(&daemon::operator(&site).await.operator(), &path("db")).await;
    let told =
        [("one", "start\nreload\n"), ("two", "start\nusr1\n"), ("three", "start\nstart\n"), ("four", "")];
    let what = format!("they are told; the log:\n{}", sidecar.log());
    until(&what, async || told.iter().all(|(name, expected)| lines(name) == *expected)).await;
    sidecar.says("unit `absent.service`: `/usr/bin/systemctl` ended with the exit code").await;
    until("it is counted", async || check(&site).1["actions_done"] == 4).await;
    assert_eq!(lines("four"), "");
    assert!(!sidecar.log().contains("canary"), "{}", sidecar.log());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unit_that_is_shipped_is_ready_with_its_files_reloads_and_stops() {
    let site = site(&["db", "key"], "10m");
    let broker = Daemon::start(&site).await;
    for name in ["db", "key"] {
        daemon::put(&site, &format!("prod/payments/{name}"), &format!("canary-of-{name}")).await;
    }
    let config = |secret: &str| {
        format!(
            "[[secret]]\nname = \"{secret}\"\npath = \"prod/payments/{secret}\"\n\n\
             [endpoint]\nsocket = \"/run/leasehold-sidecar/root/s.sock\"\ngroup = \"root\"\n\n\
             [files]\ndir = \"/run/leasehold-sidecar/root/secrets\"\ngroup = \"root\"\n\n[[file]]\nname = \"{secret}\"\nsecret = \"{secret}\"\n"
        )
    };
    Sidecar::configure(&site, &config("db"));
    // As it is shipped, but for where the program and its configuration are, which are in a /tmp that it is not shown.
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/leasehold-sidecar@.service");
    let program = binaries::sidecar().canonicalize().unwrap();
    let unit = fs::read_to_string(shipped)
        .unwrap()
        .replace("/usr/bin/leasehold-sidecar", &program.display().to_string())
        .replace("/etc/leasehold/sidecar/%i.toml", &site.path("sidecar.toml").display().to_string())
        .replace(
            "[Service]\n",
            &format!("[Service]\nBindReadOnlyPaths={} {}\n", site.path("").display(), program.display()),
        )
        .replace("[Unit]\n", "[Unit]\nDefaultDependencies=no\n");
    const NAME: &str = "leasehold-sidecar@root.service";
    let Some(systemd) = Systemd::start(&[("leasehold-sidecar@.service", unit)]).await else {
        eprintln!("no systemd can be run here: the unit is not tried");
        return;
    };
    let started = systemd.systemctl(&["start", NAME]);
    assert!(started.status.success(), "{started:?}\n{}", systemd.log());
    let secrets = "/run/leasehold-sidecar/root/secrets";
    let read = |name: &str| fs::read_to_string(systemd.root(&format!("{secrets}/..data/{name}"))).ok();
    assert_eq!(read("db").as_deref(), Some("canary-of-db"), "it is started when the files are there");
    assert_eq!(systemd.property(NAME, "StatusText"), "ready: 1 of 1 secrets fresh");

    Sidecar::configure(&site, &config("key"));
    assert!(systemd.systemctl(&["reload", NAME]).status.success());
    until("it goes by the new one", async || {
        read("key").as_deref() == Some("canary-of-key") && read("db").is_none()
    })
    .await;
    site.write("sidecar.toml", "x = 1\n");
    assert!(systemd.systemctl(&["reload", NAME]).status.success());
    let status = || systemd.property(NAME, "StatusText");
    until("it says what is wrong", async || status().contains("the configuration is as it was")).await;
    assert_eq!(read("key").as_deref(), Some("canary-of-key"));

    assert!(systemd.systemctl(&["stop", NAME]).status.success());
    assert_eq!(
        (systemd.property(NAME, "ActiveState"), systemd.property(NAME, "Result")),
        ("inactive".into(), "success".into())
    );
    broker.stop().await;
}
