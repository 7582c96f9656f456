//! Figures for Prometheus: shown where that is configured, and nowhere else.

use std::net::{SocketAddr, TcpListener};

use leasehold_provider_conformance::{
    http::Call,
    scripted::{Reply, ScriptedServer},
};
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
    wait::until,
};
use tokio::net::TcpStream;

use crate::kit::{aws, issue, lease, leaseholdd};

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn shown_at(address: SocketAddr) -> String {
    format!("[metrics]\naddress = \"{address}\"\n\n")
}

async fn scrape(address: SocketAddr) -> String {
    let answer = Call::new("GET", format!("http://{address}/metrics")).send().await.unwrap();
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body).unwrap()
}

fn has(text: &str, line: &str) -> bool {
    text.lines().any(|shown| shown == line)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_is_seen_to_open() {
    let upstream = ScriptedServer::start(|_, _| Reply::Cut).await.unwrap();
    let address = free();
    let more = shown_at(address) + &aws(&upstream.url());
    let site = Site::new(Plan { more, ..Plan::default() });
    site.write("aws.key", "not-a-real-secret-key\n");
    let daemon = Daemon::start(&site).await;
    let before = scrape(address).await;
    assert!(has(&before, "leasehold_provider_circuit_state{provider=\"aws\"} 0"), "{before}");
    assert!(has(&before, "leasehold_provider_circuit_opened_total{provider=\"aws\"} 0"), "{before}");

    let client = daemon::workload(&site).await;
    // Each try in vain lengthens the rest, so that it is seen in the end, however slow the machine.
    until("the circuit is shown as open", async || {
        client.issue_lease(issue(SECRET)).await.expect_err("nothing answers");
        has(&scrape(address).await, "leasehold_provider_circuit_state{provider=\"aws\"} 2")
    })
    .await;
    let after = scrape(address).await;
    let failures = after
        .lines()
        .find_map(|line| line.strip_prefix("leasehold_provider_failures_total{provider=\"aws\"} "));
    assert!(failures.unwrap().parse::<u64>().unwrap() >= 5, "{after}");
    assert!(!has(&after, "leasehold_provider_circuit_opened_total{provider=\"aws\"} 0"), "{after}");
    // The broker as a whole is well.
    assert!(has(&after, "leasehold_serving 1"), "{after}");
    assert!(has(&after, "leasehold_ledger_health{state=\"ok\"} 1"), "{after}");
    for private in [SECRET, "spiffe://", "127.0.0.1", &site.dir.path().display().to_string()] {
        assert!(!after.contains(private), "{private} is shown:\n{after}");
    }
    assert!(daemon.stop().await.success());
}

#[tokio::test]
async fn leases_and_commits_are_counted_and_nothing_can_be_changed() {
    let address = free();
    let plan = Plan::default();
    let site = Site::new(Plan { more: shown_at(address) + &plan.more, ..plan });
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let _held = lease(&daemon::workload(&site).await).await;
    until("the lease is counted", async || has(&scrape(address).await, "leasehold_leases{state=\"live\"} 1"))
        .await;
    let text = scrape(address).await;
    assert!(has(&text, "leasehold_leases{state=\"quarantined\"} 0"), "{text}");
    assert!(!has(&text, "leasehold_ledger_commits_total 0"), "{text}");
    assert!(text.contains("# HELP leasehold_provider_circuit_state "), "{text}");
    for (method, path, status) in [("POST", "/metrics", 405), ("GET", "/", 404), ("HEAD", "/metrics", 200)] {
        let answer = Call::new(method, format!("http://{address}{path}")).send().await.unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
    }
    assert!(daemon.stop().await.success());
}

#[tokio::test]
async fn a_port_that_is_taken_keeps_the_broker_from_starting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let plan = Plan::default();
    let site = Site::new(Plan { more: shown_at(address) + &plan.more, ..plan });
    let ran = leaseholdd(&site, "run");
    assert_ne!(ran.code, 0);
    let told = format!("cannot listen on {address}: another process listens there");
    assert!(ran.err.contains(&told) || ran.out.contains(&told), "{ran:?}");
}

#[tokio::test]
async fn nothing_listens_unless_it_is_configured() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    let pid = daemon.id();
    assert_eq!(listening(pid), [site.address.port()]);
    assert!(!daemon.log().contains("figures for Prometheus"), "{}", daemon.log());
    assert!(TcpStream::connect(site.address).await.is_ok());
}

/// The TCP ports on which a process listens, by `/proc`.
fn listening(pid: u32) -> Vec<u16> {
    let of = |link: &std::path::Path| {
        let target = std::fs::read_link(link).ok()?.display().to_string();
        Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let sockets: Vec<String> = files.filter_map(|file| of(&file.unwrap().path())).collect();
    assert!(!sockets.is_empty(), "the process has sockets");
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6"] {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")) else { continue };
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            // `0A` is LISTEN; the tenth column is the socket's inode.
            let [_, local, _, "0A", _, _, _, _, _, inode, ..] = columns.as_slice() else { continue };
            if sockets.iter().any(|socket| socket == inode) {
                let (_, port) = local.rsplit_once(':').unwrap();
                ports.push(u16::from_str_radix(port, 16).unwrap());
            }
        }
    }
    ports
}
