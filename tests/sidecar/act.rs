//! Who is told of a change, and what happens when somebody is not there.

use std::{
    fs,
    process::{Child, Command},
};

use leasehold_client::proto::RotationState;
use leasehold_tests::{
    daemon::{self, Daemon},
    rotations::{ask, is_idle, rotate, when},
    site::Site,
    wait::until,
};

use crate::kit::{Sidecar, path, program, site};

const FIRST: &str = "canary-of-the-first-91d0";
const CONFIG: &str = r#"
[[secret]]
name = "db"
path = "prod/payments/db"

[files]
dir = "run"

[[file]]
name = "password"
secret = "db"
field = "value"

[[on_change]]
only_for = "password"
pid_file = "server.pid"
debounce = "100ms"
settle = "100ms"
"#;

/// Reads its file when it starts, and again when it is told.
struct Server(Child);

impl Server {
    fn start(site: &Site) -> Self {
        let script = "trap 'cat run/password >> seen; echo >> seen' HUP; echo $$ > server.pid; while :; do sleep 0.05; done";
        let child = Command::new("sh").args(["-c", script]).current_dir(site.path("")).spawn().unwrap();
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn said(site: &Site, file: &str) -> Vec<String> {
    fs::read_to_string(site.path(file)).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_concerned_is_told_and_one_who_is_not_there_keeps_the_old_version_alive() {
    let site = site(&["db"], "10m");
    let broker = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", FIRST).await;
    // It says what it gets, as no program should.
    let told = site.path("told");
    let body = format!("/bin/cat >&2\necho \"$LEASEHOLD_CHANGED\" >> {}", told.display());
    let program = program(&site, "tell", &body);
    let command = format!("{CONFIG}\n[[on_change]]\ncommand = \"{}\"\ninput = \"db\"\n", program.display());
    let server = Server::start(&site);
    until("the server runs", async || site.path("server.pid").exists()).await;
    let mut sidecar = Sidecar::start(&site, &command);
    until("the file is there", async || site.path("run/password").exists()).await;

    let operator = daemon::operator(&site).await.operator();
    rotate(&operator, &path("db")).await;
    let second = fs::read_to_string(site.path("run/password")).unwrap();
    assert_eq!(said(&site, "seen"), [second.as_str()]);
    assert_eq!(said(&site, "told"), ["db password"]);
    sidecar.says("[masked]").await;

    // The next one does not end before the server is back and has been told.
    drop(server);
    ask(&operator, &path("db")).await;
    sidecar.says("which does not run; tried again").await;
    let draining = when(&operator, &path("db"), |rotation| rotation.state() == RotationState::Draining).await;
    assert!(!is_idle(&draining));
    let _server = Server::start(&site);
    when(&operator, &path("db"), is_idle).await;
    let third = fs::read_to_string(site.path("run/password")).unwrap();
    assert_eq!(said(&site, "seen"), [second.as_str(), third.as_str()]);
    for value in [FIRST, &second, &third] {
        assert!(!sidecar.log().contains(value), "a value in the log");
    }
    assert!(sidecar.stop().await.success());
    broker.stop().await;
}
