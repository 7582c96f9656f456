//! The quickstart stays up for whoever wants to try more, as its last lines say, and leaves nothing behind.

use std::{net::TcpStream, os::unix::process::ExitStatusExt, process::Stdio};

use leasehold_tests::{
    binaries,
    wait::{PATIENCE, until},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

#[tokio::test]
async fn its_last_lines_lead_on_and_a_closed_terminal_ends_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binaries::leasehold());
    command.args(["quickstart", "--dir"]).arg(folder.path().join("here"));
    let mut quickstart =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut said = BufReader::new(quickstart.stdout.take().unwrap()).lines();
    let mut lines = vec![];
    let ready = async {
        while let Some(line) = said.next_line().await.unwrap() {
            let last = line.contains("beside `admin`");
            lines.push(line);
            if last {
                return;
            }
        }
        panic!("it ended after {lines:#?}");
    };
    timeout(PATIENCE.saturating_mul(2), ready).await.expect("the tour comes to its end");

    let exports: Vec<_> =
        lines.iter().map(|line| line.trim()).filter(|line| line.starts_with("export ")).collect();
    assert_eq!(exports.len(), 2, "the programs' folder, and how to reach the broker: {exports:?}");
    let script = format!("{}\nleasehold secret list", exports.join("\n"));
    let listed = Command::new("sh").args(["-c", &script]).output().await.unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("prod/payments/db"), "{listed}");

    let (_, address) = exports.last().unwrap().split_once("LEASEHOLD_ADDR=").unwrap();
    let address = address.split_once(' ').unwrap().0.to_owned();
    assert!(TcpStream::connect(&address).is_ok(), "the broker is there");
    // What a terminal does to its foreground when it is closed: nobody reads any more, either.
    drop(said);
    let pid = Pid::from_raw(i32::try_from(quickstart.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let ended = timeout(PATIENCE, quickstart.wait()).await.expect("it ends").unwrap();
    assert_eq!((ended.code(), ended.signal()), (Some(0), None), "it ended in order");
    until("nobody listens any more", async || TcpStream::connect(&address).is_err()).await;
}
