//! What is told, of snapshots made up.

use std::time::Duration;

use leasehold_core::Timestamp;

use super::*;
use crate::{
    endpoint::testing::{Frozen, loan, snapshot},
    publish::Standing as Publishing,
    snapshot::{Standing, Trouble},
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn sources(snapshot: Snapshot, publishing: Option<Publishing>) -> Sources {
    let clock = Arc::new(Frozen(at(100)));
    let publishing = publishing.map(|publishing| watch::channel(publishing).1);
    let acting = watch::channel(act::Standing::default()).1;
    let reloading = watch::channel(reload::Standing::default()).1;
    Sources { snapshots: watch::channel(Arc::new(snapshot)).1, publishing, acting, reloading, clock }
}

fn published() -> Option<Publishing> {
    Some(Publishing { generation: Some(1), trouble: None })
}

fn ask(sources: &Sources, path: &str) -> u16 {
    let request = Request::builder().uri(path).body(()).unwrap();
    sources.answer(&Peer::Process { user: 0 }, &request).status().as_u16()
}

#[test]
fn it_is_ready_when_everything_is_held_and_in_its_place() {
    let sources = sources(snapshot(&[("db", loan(200))]), published());
    assert_eq!(
        (ask(&sources, "/readyz"), ask(&sources, "/livez"), ask(&sources, "/status")),
        (200, 200, 200)
    );
    let report = sources.report();
    assert!(report.ready && !report.degraded);
    assert_eq!(report.to_string(), "ready: 1 of 1 secrets fresh");
    assert_eq!(ask(&sources, "/healthz"), 404);
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.contains("\"standing\":\"fresh\"") && !json.contains("canary"), "{json}");
}

#[test]
fn a_broker_that_is_away_makes_nothing_unready_before_the_leases_end() {
    let mut failing = loan(200);
    failing.standing = Standing::Failing;
    let mut away = snapshot(&[("db", failing)]);
    let trouble = Trouble { message: "no answer".into(), since: at(90) };
    away.troubles.insert("db".parse().unwrap(), trouble);
    let sources = sources(away, published());
    let report = sources.report();
    assert!(report.ready && report.degraded);
    assert_eq!(report.to_string(), "ready, degraded: 0 of 1 secrets fresh, 1 failing");
    assert_eq!(report.secrets[0].trouble.as_deref(), Some("no answer"));
}

#[test]
fn it_is_not_ready_without_a_lease_or_a_file() {
    let full = || Some(Publishing { generation: Some(1), trouble: Some("no space left".into()) });
    let mut missing = snapshot(&[]);
    missing.wanted = ["db".parse().unwrap()].into();
    for (snapshot, publishing, line) in [
        // Its time has come, and nobody has said so yet.
        (snapshot(&[("db", loan(100))]), published(), "not ready: 0 of 1 secrets fresh, 1 expired"),
        (missing, published(), "not ready: 0 of 1 secrets fresh, 1 missing"),
        (snapshot(&[("db", loan(200))]), Some(Publishing::default()), "not ready: 1 of 1 secrets fresh"),
        (snapshot(&[("db", loan(200))]), full(), "not ready: 1 of 1 secrets fresh; files: no space left"),
    ] {
        let sources = sources(snapshot, publishing);
        assert_eq!(ask(&sources, "/readyz"), 503, "{line}");
        assert_eq!((ask(&sources, "/livez"), ask(&sources, "/status")), (200, 200), "{line}");
        assert_eq!(sources.report().to_string(), line);
    }
}

#[test]
fn a_configuration_that_could_not_be_taken_is_told_and_what_is_in_force_is_ready() {
    let trouble = "s.toml:1:1: `addresses` is missing in [broker]";
    let reloading = reload::Standing { edition: 3, trouble: Some(trouble.into()) };
    let sources = Sources {
        reloading: watch::channel(reloading).1,
        ..sources(snapshot(&[("db", loan(200))]), published())
    };
    let report = sources.report();
    assert!(report.ready && report.degraded && report.configuration == 3, "{report:?}");
    assert_eq!(
        report.to_string(),
        format!("ready, degraded: 1 of 1 secrets fresh; the configuration is as it was: {trouble}")
    );
}

#[tokio::test]
async fn it_answers_on_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("health.sock");
    let socket = config::socket::Socket { path: path.clone(), group: None, mode: 0o600 };
    let sources = sources(snapshot(&[("db", loan(200))]), None);
    let served = tokio::spawn(serve(Some(Health { socket }), sources));
    let asked = tokio::task::spawn_blocking(move || {
        (0..500).find_map(|_| match check::ask(&path, STATUS) {
            Ok(body) => Some(body),
            Err(_) => {
                std::thread::yield_now();
                None
            }
        })
    });
    let body = tokio::time::timeout(Duration::from_secs(10), asked).await.unwrap().unwrap().unwrap();
    assert!(serde_json::from_slice::<Report>(&body).unwrap().ready);
    served.abort();
}
