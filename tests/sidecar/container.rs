//! The first process of a container: nobody else answers signals there, or buries the dead.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Child, Command},
};

use leasehold_tests::{
    daemon::{self, Daemon},
    rotations::ask,
    wait::until,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::kit::{Sidecar, check, folder, path, program, site};

/// The program as process 1 of a namespace of its own, with a /proc that shows it; `None` where nobody gets one.
pub(crate) fn as_init(program: &Command) -> Option<Command> {
    let unshare = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]);
        unshare
    };
    let possible = unshare().arg("true").output().is_ok_and(|output| output.status.success());
    let mut inside = unshare();
    inside.arg(program.get_program()).args(program.get_args());
    possible.then_some(inside)
}

/// The children of a process, as this machine numbers them.
pub(crate) fn children(of: u32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    list.split_ascii_whitespace().map(|number| number.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_process_one_it_buries_what_is_left_to_it_and_ends_when_it_is_told() {
    let site = site(&["db"], "10m");
    let broker = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", "canary").await;
    // Whoever is in a session of its own is not ended with the command.
    let said = site.path("said");
    let body = format!(
        "cd {}\n/usr/bin/setsid /bin/sh -c ': > away; /bin/sleep 0.3; read _ _ _ parent _ < /proc/self/stat; \
         echo $parent >> said' &\nuntil [ -e away ]; do /bin/sleep 0.01; done",
        site.path("").display()
    );
    let program = program(&site, "leave", &body);
    let config = format!(
        "[[secret]]\nname = \"db\"\npath = \"prod/payments/db\"\n\n[files]\ndir = \"files\"\nremove_on_exit = true\n\n\
         [[file]]\nname = \"db\"\nsecret = \"db\"\n\n[[on_change]]\ncommand = \"{}\"\ndebounce = \"0s\"\n",
        program.display()
    );
    Sidecar::configure(&site, &config);
    let command = Sidecar::command(&site, "run");
    let Some(inside) = as_init(&command) else {
        eprintln!("this system gives nobody a process namespace: there is no container");
        return;
    };
    let mut sidecar = Sidecar::spawn(&site, inside);
    until("the file is there", async || site.path("files/db").exists()).await;
    let init = children(sidecar.id())[0];
    let init_id = u32::try_from(init).unwrap();
    ask(&daemon::operator(&site).await.operator(), &path("db")).await;
    let spoken = || fs::read_to_string(&said).is_ok_and(|text| text.ends_with('\n'));
    until("an orphan has spoken", async || spoken()).await;
    assert_eq!(fs::read_to_string(&said).unwrap(), "1\n", "process 1 is its parent");
    until("it is buried", async || children(init_id).is_empty()).await;
    assert!(sidecar.log().contains("\"pid\":1,"), "{}", sidecar.log());

    kill_process(Pid::from_raw(init).unwrap(), Signal::TERM).unwrap();
    assert_eq!(sidecar.ended().await.code(), Some(0), "{}", sidecar.log());
    assert!(!site.path("files/db").exists(), "it ended in order");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_volume_of_a_pod_it_publishes_where_everybody_can_write_when_that_is_said() {
    let site = site(&["db"], "10m");
    let broker = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", "canary").await;
    // As the kubelet makes an emptyDir.
    let volume = folder(&site, "volume");
    fs::set_permissions(&volume, PermissionsExt::from_mode(0o777)).unwrap();
    let config = "[[secret]]\nname = \"db\"\npath = \"prod/payments/db\"\n\n[health]\nsocket = \"volume/secrets/health.sock\"\n\n\
                  [[file]]\nname = \"db\"\nsecret = \"db\"\n\n[files]\ndir = \"volume/secrets\"\n";
    let mut refused = Sidecar::start(&site, config);
    assert_eq!(refused.ended().await.code(), Some(3), "{}", refused.log());
    assert!(refused.log().contains("`shared_volume = true` where only those"), "{}", refused.log());
    let mut sidecar = Sidecar::start(&site, &format!("{config}shared_volume = true\n"));
    until("it is ready", async || check(&site).0 == 0).await;
    assert_eq!(fs::read_to_string(volume.join("secrets/db")).unwrap(), "canary");
    assert!(sidecar.stop().await.success());
    broker.stop().await;
}

/// A child that is killed when this is dropped.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
