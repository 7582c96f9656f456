//! A new configuration under a running broker; and that a broken one never replaces what works.

use leasehold_client::Error;
use leasehold_proto::v1::AuditOutcome;
use leasehold_tests::{
    authority::{Authority, Leaf},
    daemon::{self, Daemon},
    raw::Raw,
    site::{BROKER, Plan, SECRET, STRANGER, Site, WORKLOAD},
    wait::until,
};
use rustix::process::Signal;

use crate::kit::{issue, lease, raw, records};

const MORE: &str = "[[secret]]\npath = \"prod/payments/more\"\nprovider = \"local\"\nref = \"more\"\n";

fn permit(id: &str) -> String {
    format!("@id(\"test.{id}\")\npermit (principal == Workload::\"{STRANGER}\", action, resource);")
}

fn append(site: &Site, file: &str, text: &str) -> String {
    let old = std::fs::read_to_string(site.path(file)).unwrap();
    site.write(file, &format!("{old}\n{text}"));
    old
}

async fn stranger_may(site: &Site, secret: &str) -> bool {
    let client = site.client("stranger").connect().await.unwrap();
    match client.issue_lease(issue(secret)).await {
        Ok(_) => true,
        Err(Error::Denied { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn certificates_policies_and_catalog_are_replaced_together() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let before = raw(&site, WORKLOAD).await;
    before.check().await.unwrap();
    assert!(!stranger_may(&site, SECRET).await);

    site.install_server(&site.authority.sign(&Leaf::server(BROKER)));
    site.write("policies/20-more.cedar", &permit("more"));
    append(&site, "leasehold.toml", MORE);
    assert_eq!(daemon.reload(&site).await.rejection, "");

    daemon::put(&site, "prod/payments/more", "two").await;
    assert!(stranger_may(&site, SECRET).await && stranger_may(&site, "prod/payments/more").await);
    let after = raw(&site, WORKLOAD).await;
    assert_ne!(before.server, after.server, "the old certificate is still shown");
    before.check().await.expect("a good connection stays");
    let records = records(&site, "config.reloaded").await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].details["secrets"], "2");
    assert!(daemon.log().contains("reloaded: "), "{}", daemon.log());
    // What is taken away is gone as well.
    std::fs::remove_file(site.path("policies/20-more.cedar")).unwrap();
    assert_eq!(daemon.reload(&site).await.rejection, "");
    assert!(!stranger_may(&site, SECRET).await);
}

#[tokio::test]
async fn what_is_broken_never_replaces_what_works() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let server = raw(&site, WORKLOAD).await.server.clone();
    let expired = site.authority.sign(&Leaf { from: -7200, until: -3600, ..Leaf::server(BROKER) });
    let other = Authority::new("others").sign(&Leaf::server(BROKER));
    let not_an_authority = site.identity(WORKLOAD).certificate;
    let cases = [
        ("policies/20-more.cedar", "permit (principal,".to_owned(), "20-more.cedar:1:"),
        (
            "policies/20-more.cedar",
            "permit (principal, action == Action::\"Lend\", resource);".to_owned(),
            "Lend",
        ),
        ("leasehold.toml", format!("{MORE}max_tll = \"1h\"\n"), "did you mean `max_ttl`?"),
        ("leasehold.toml", MORE.replace("\"local\"", "\"locl\""), "there is no provider `locl`"),
        ("leasehold.toml", "[[[".to_owned(), "leasehold.toml:"),
        ("tls/server.pem", expired.certificate, "expired"),
        ("tls/server.pem", "garbage".to_owned(), "tls/server.pem"),
        ("tls/server.key", other.key, "does not belong to the certificate"),
        ("tls/clients.pem", String::new(), "tls/clients.pem"),
        ("tls/clients.pem", not_an_authority, "is not an authority's"),
    ];
    for (n, (file, broken, told)) in cases.iter().enumerate() {
        // What comes with it would be good by itself, and must not come alone.
        site.write("policies/30-good.cedar", &permit("good"));
        let old = match *file {
            "leasehold.toml" => Some(append(&site, file, broken)),
            _ => {
                let old = std::fs::read_to_string(site.path(file)).ok();
                site.write(file, broken);
                old
            }
        };
        let reload = daemon.reload(&site).await;
        match old {
            Some(old) => site.write(file, &old),
            None => std::fs::remove_file(site.path(file)).unwrap(),
        }
        std::fs::remove_file(site.path("policies/30-good.cedar")).unwrap();

        assert!(reload.rejection.contains(told), "{file}: nothing of {told:?} in {}", reload.rejection);
        let log = daemon.log();
        let said = |line: &str| line.contains("not reloaded, the old configuration stays");
        assert!(log.lines().any(said), "{log}");
        let rejected = records(&site, "config.rejected").await;
        assert_eq!(rejected.len(), n + 1, "{file}");
        assert_eq!(rejected[n].outcome(), AuditOutcome::Failed);
        assert!(rejected[n].details["faults"].contains(told), "{:?}", rejected[n].details);

        lease(&daemon::workload(&site).await).await;
        assert!(!stranger_may(&site, SECRET).await, "{file}: a part of it is in force");
        let now = Raw::open(site.address, site.tls(Some(&site.identity(WORKLOAD)))).await.unwrap();
        assert_eq!(now.server, server, "{file}");
    }
    assert_eq!(daemon.reload(&site).await.rejection, "", "mended, it is taken");
}

#[tokio::test]
async fn a_storm_of_reloads_fails_no_request() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let asking = tokio::spawn(async move {
        let mut leased = 0;
        while !*stopped.borrow() {
            lease(&client).await;
            leased += 1;
        }
        leased
    });
    for round in 0..20 {
        site.install_server(&site.authority.sign(&Leaf::server(BROKER)));
        site.write("policies/20-more.cedar", if round % 2 == 0 { "permit (" } else { "" });
        daemon.signal(Signal::HUP);
        // New connections while it reads.
        raw(&site, WORKLOAD).await.check().await.unwrap();
    }
    std::fs::remove_file(site.path("policies/20-more.cedar")).unwrap();
    // What was asked for meanwhile may still be read; what is there now is taken in the end.
    until("the last one is taken", async || daemon.reload(&site).await.rejection.is_empty()).await;
    stop.send(true).unwrap();
    assert!(asking.await.unwrap() > 20, "it was not asked enough to tell");
    assert!(daemon.stop().await.success());
}

#[tokio::test]
async fn what_needs_a_restart_is_said_and_not_half_done() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    let old = std::fs::read_to_string(site.path("leasehold.toml")).unwrap();
    site.write("leasehold.toml", &old.replace("[limits]\n", "[limits]\nconnections = 7\n"));
    assert_eq!(daemon.reload(&site).await.rejection, "");
    assert!(daemon.log().contains("[limits] changed, which needs a restart"), "{}", daemon.log());
    assert_eq!(records(&site, "config.reloaded").await[0].details["needs_restart"], "[limits]");
}
