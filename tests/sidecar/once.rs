//! `run --once`: the files, and an end.

use std::{fs, process::Output};

use leasehold_tests::daemon::{self, Daemon};

use crate::kit::{Sidecar, live, site};

const CONFIG: &str = "[[secret]]\nname = \"db\"\npath = \"prod/payments/db\"\n\n[files]\ndir = \"files\"\nremove_on_exit = true\n\n\
                      [[file]]\nname = \"db\"\nsecret = \"db\"\n\n[endpoint]\nsocket = \"no/such/place\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_files_are_written_once_or_not_at_all_and_the_code_says_which() {
    let site = site(&["db"], "10m");
    let once = |config: &str| {
        Sidecar::configure(&site, config);
        Sidecar::command(&site, "run").args(["--once", "--within", "3s"]).output().unwrap()
    };
    let said = |output: &Output| String::from_utf8(output.stderr.clone()).unwrap();
    // Nobody is there to lease it from.
    let away = once(CONFIG);
    assert_eq!(away.status.code(), Some(1), "{away:?}");
    assert!(said(&away).contains("nothing is written") && said(&away).contains("`db`: "), "{away:?}");
    assert!(!site.path("files/db").exists());

    let broker = Daemon::start(&site).await;
    for value in ["canary-first", "canary-second"] {
        daemon::put(&site, "prod/payments/db", value).await;
        let written = once(CONFIG);
        assert_eq!(written.status.code(), Some(0), "{written:?}");
        assert_eq!(
            fs::read_to_string(site.path("files/db")).unwrap(),
            value,
            "they stay, whoever reads them now"
        );
        assert!(said(&written).contains("nobody renews the leases"), "{written:?}");
        assert!(!said(&written).contains("canary"), "{written:?}");
    }
    assert_eq!(live(&site).await.len(), 2, "each has its lease until that ends");

    // One that is denied is none: what was there before stays, and what could be had is given back.
    let denied = once(&format!("{CONFIG}[[secret]]\nname = \"x\"\npath = \"prod/orders/x\"\n"));
    assert_eq!(denied.status.code(), Some(1), "{denied:?}");
    assert!(said(&denied).contains("`x`: "), "{denied:?}");
    assert_eq!(fs::read_to_string(site.path("files/db")).unwrap(), "canary-second");
    assert_eq!(live(&site).await.len(), 2);
    let fileless = once("[[secret]]\nname = \"db\"\npath = \"prod/payments/db\"\n");
    assert_eq!(fileless.status.code(), Some(2), "{fileless:?}");
    broker.stop().await;
}
