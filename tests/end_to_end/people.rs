//! The command line as people use it, and what it says when they hold something wrong.

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::Stdio,
};

use leasehold_tests::{
    authority::{Authority, Leaf},
    daemon::{self, Daemon},
    site::{BROKER, Plan, SECRET, Site, WORKLOAD},
};
use serde_json::Value;

use crate::kit::{Ran, leasehold, run};

fn assert_told(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{ran:?}");
    assert_eq!(ran.err.lines().count(), 1, "one line for people: {}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "nothing of {word:?} in {}", ran.err);
    }
}

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.out).unwrap()
}

#[tokio::test]
async fn a_secret_is_put_leased_renewed_and_given_back() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    let mut put = site
        .leasehold("operator")
        .args(["secret", "put", SECRET])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    put.stdin.take().unwrap().write_all(b"hunter2").unwrap();
    let put = put.wait_with_output().unwrap();
    assert!(put.status.success(), "{put:?}");

    let value = leasehold(&site, "workload", &format!("lease get {SECRET} --field value"));
    assert_eq!((value.code, value.out.as_str()), (0, "hunter2"));
    let table = leasehold(&site, "workload", &format!("lease get {SECRET}"));
    assert!(table.code == 0 && !table.out.contains("hunter2"), "{table:?}");
    let got = json(&leasehold(&site, "workload", &format!("lease get {SECRET} -o json")));
    assert_eq!(got["value"]["fields"]["value"], "hunter2");
    let id = got["lease"]["id"].as_str().unwrap();

    let renewed = json(&leasehold(&site, "workload", &format!("lease renew {id} --ttl 30m -o json")));
    assert_eq!(renewed["renewals"], 1);
    let shown = json(&leasehold(&site, "workload", &format!("lease show {id} -o json")));
    assert_eq!(shown["expires_at"], renewed["expires_at"]);
    let listed = leasehold(&site, "workload", "lease list -o jsonl");
    assert_eq!(listed.out.lines().count(), 3, "{listed:?}");
    let revoked = leasehold(&site, "workload", &format!("lease revoke {id} --reason done -o jsonl"));
    assert!(revoked.code == 0 && revoked.out.contains("\"revoked\""), "{revoked:?}");
    assert_told(&leasehold(&site, "workload", &format!("lease renew {id}")), 7, &["[LEASE_REVOKED]"]);

    let status = json(&leasehold(&site, "operator", "status -o json"));
    assert_eq!((&status["live_leases"], &status["ledger"]["health"]), (&2.into(), &"ok".into()));
    let audit = leasehold(&site, "operator", &format!("audit query --lease {id} -o jsonl"));
    let kinds: Vec<Value> =
        audit.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone()).collect();
    assert_eq!(kinds[..2], ["lease.issued", "lease.renewed"], "{audit:?}");
    assert!(kinds.contains(&"lease.revoked".into()), "{audit:?}");
    let verified = leasehold(&site, "operator", &format!("audit verify {}", site.state().display()));
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[tokio::test]
async fn who_has_the_wrong_certificate_is_told_what_is_wrong_with_it() {
    let site = Site::new(Plan { listen: "crl = [\"tls/clients.crl\"]".into(), ..Plan::default() });
    let revoked = site.identity(WORKLOAD);
    site.write("tls/clients.crl", &site.authority.crl(&[revoked.serial]));
    let daemon = Daemon::start(&site).await;
    let good = Leaf::client(WORKLOAD);
    let others = Authority::new("others");
    site.install("revoked", &revoked);
    site.install("foreign", &others.sign(&good));
    site.install("expired", &site.authority.sign(&Leaf { from: -7200, until: -3600, ..good.clone() }));
    site.install("other-domain", &site.authority.sign(&Leaf::client("spiffe://example.com/prod/api")));
    site.install("nameless", &site.authority.sign(&Leaf { uris: vec![], ..good.clone() }));
    let other = site.identity(WORKLOAD);
    site.write("tls/mixed.pem", &other.certificate);
    site.write("tls/mixed.key", &site.identity(WORKLOAD).key);
    let cases: [(&str, &[&str]); 7] = [
        ("foreign", &["tls/foreign.pem", "is not signed by an authority that the broker trusts"]),
        ("expired", &["tls/expired.pem", "has expired", "renew it"]),
        ("revoked", &["tls/revoked.pem", "was revoked"]),
        ("other-domain", &["spiffe://example.com/prod/api", "was not accepted", "the broker's trust domain"]),
        ("nameless", &["tls/nameless.pem", "exactly one SPIFFE ID"]),
        ("mixed", &["tls/mixed.pem", "do not go together"]),
        ("nowhere", &["tls/nowhere", "cannot be read"]),
    ];
    for (name, words) in cases {
        let ran = leasehold(&site, name, &format!("lease get {SECRET}"));
        assert_told(&ran, 6, words);
        assert_eq!(ran.out, "");
    }
    let mut nobody = site.leasehold("workload");
    nobody.env_remove("LEASEHOLD_CERT").env_remove("LEASEHOLD_KEY").args(["lease", "list"]);
    assert_told(&run(&mut nobody), 6, &["a client certificate is required", "--cert"]);

    // And the other way round: a broker that is not to be trusted.
    site.write("tls/others.pem", &others.bundle());
    let mut wary = site.leasehold("workload");
    wary.env("LEASEHOLD_CA", site.path("tls/others.pem")).args(["lease", "list"]);
    assert_told(&run(&mut wary), 6, &["is not to be trusted", "tls/others.pem"]);
    let elsewhere = Leaf { hosts: vec!["broker.example.org".into()], ..Leaf::server(BROKER) };
    site.install_server(&site.authority.sign(&elsewhere));
    daemon.signal(rustix::process::Signal::HUP);
    daemon.says("reloaded: ").await;
    assert_told(&leasehold(&site, "workload", "lease list"), 6, &["not for `127.0.0.1`"]);
    let known = leasehold(&site, "workload", &format!("lease list --server-id {BROKER}"));
    assert_eq!(known.code, 0, "{known:?}");
}

#[tokio::test]
async fn who_asks_where_no_broker_is_is_told_so() {
    let site = Site::new(Plan::default());
    let ran = leasehold(&site, "workload", "lease list");
    assert_told(&ran, 4, &["nothing listens at", "is the broker running", "--addr"]);

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let web = std::thread::spawn(move || {
        let (mut tcp, _) = other.accept().unwrap();
        let _ = tcp.read(&mut [0; 1024]);
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").unwrap();
    });
    let ran = leasehold(&site, "workload", &format!("lease list --addr {address}"));
    assert_told(&ran, 4, &["is not a Leasehold broker"]);
    web.join().unwrap();
}

#[tokio::test]
async fn of_several_addresses_the_first_that_answers_is_asked() {
    let site = Site::new(Plan::default());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let several = format!("{nobody}, {}", site.address);
    let ask = |addresses: &str| {
        run(site.leasehold("operator").env("LEASEHOLD_ADDR", addresses).args(["status", "-o", "json"]))
    };
    assert_told(&ask(&several), 4, &["nothing listens at"]);
    let _daemon = Daemon::start(&site).await;
    assert_eq!(json(&ask(&several))["live_leases"], 0);
    assert_told(&ask(&nobody.to_string()), 4, &["nothing listens at"]);
    let wrong = ask(&format!("{},http://x", site.address));
    assert!(wrong.code == 2 && wrong.err.contains("reached by TLS only"), "{wrong:?}");
}

#[tokio::test]
async fn what_is_not_allowed_and_what_is_not_there_look_the_same() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let denied = leasehold(&site, "stranger", &format!("lease get {SECRET}"));
    let unknown = leasehold(&site, "workload", "lease get prod/payments/xx");
    assert_told(&denied, 3, &["not allowed, or no such thing", "leasehold policy explain"]);
    assert_eq!(unknown.code, 3);
    // But for the broker's own name of the call, by which an auditor finds it.
    let unnamed = |ran: &Ran| {
        let (before, rest) = ran.err.split_once(" (request call-").unwrap();
        let (name, after) = rest.split_once(')').unwrap();
        assert_eq!(name.len(), 26, "{ran:?}");
        (format!("{before}{after}"), format!("call-{name}"))
    };
    let ((one, call), (other, _)) = (unnamed(&denied), unnamed(&unknown));
    assert_eq!(one.replace(SECRET, "it"), other.replace("prod/payments/xx", "it"));
    let found = leasehold(&site, "operator", &format!("audit query --request-id {call} -o jsonl"));
    assert!(found.out.lines().count() == 1 && found.out.contains("\"denied\":\"policy\""), "{found:?}");

    assert_eq!(leasehold(&site, "workload", "lease get prod/../db").code, 2);
    assert_told(
        &leasehold(&site, "workload", &format!("lease get {SECRET} --field nope")),
        2,
        &["no field `nope`", "[FIELD_NOT_FOUND]"],
    );
    assert_told(&leasehold(&site, "workload", "status"), 3, &["not allowed"]);
}
