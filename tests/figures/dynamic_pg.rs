//! What the broker adds to a user of PostgreSQL's that it makes itself.
//!
//! PostgreSQL is as in production: TLS, and every commit durable. The same statements, in one text as the broker sends
//! them, are sent by a client that keeps its connection: the two are compared in turn.

use leasehold_provider_conformance::{
    authority::Authority,
    peers::{Postgres, Session},
};
use leasehold_tests::{
    daemon::Daemon,
    load::Connection,
    neighbours::lease,
    site::{Plan, Site, WORKLOAD},
};
use tokio::time::Instant;

use crate::figure::{Report, Target, median};

const PAIRS: usize = 300;
const SECRET: &str = "prod/payments/db-user";
const PASSWORD: &str = "a-password-of-32-characters-long";
const SETUP: &str = "CREATE ROLE leasehold LOGIN CREATEROLE; CREATE ROLE payments_read NOLOGIN; \
    GRANT payments_read TO leasehold WITH ADMIN OPTION";
/// A verifier of nobody's password (the exchange of RFC 7677): computing one is the broker's own work.
const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
    WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

pub(crate) async fn ratio(report: &mut Report) {
    let authority = Authority::new("PostgreSQL").unwrap();
    let postgres = Postgres::start_durable_tls(&authority).await.unwrap();
    postgres.run(SETUP).await.unwrap();
    postgres.run(&format!("ALTER ROLE leasehold PASSWORD '{PASSWORD}'")).await.unwrap();
    let plan = Plan {
        more: format!(
            "[[provider]]\nname = \"pg\"\nkind = \"postgres\"\naddress = \"{}\"\nuser = \"leasehold\"\n\
             password_file = \"pg-password\"\nca_file = \"pg-ca.pem\"\n\n\
             [[role]]\nname = \"app\"\nprovider = \"pg\"\ngrants = [\"payments_read\"]\n\n\
             [[secret]]\npath = \"{SECRET}\"\nprovider = \"pg\"\nrole = \"app\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n",
            postgres.address()
        ),
        ..Plan::default()
    };
    let site = Site::new(plan);
    site.write("pg-password", PASSWORD);
    site.write("pg-ca.pem", &authority.pem());
    let broker = Daemon::start(&site).await;
    let tls = site.tls(Some(&site.identity(WORKLOAD)));
    let mut through = Connection::open(site.address, tls).await.unwrap();
    let call = lease(SECRET);
    let direct = postgres.open_tls("leasehold", PASSWORD, "postgres", &authority).await.unwrap();
    for number in 0..20 {
        through.call(&call).await.unwrap();
        make(&direct, number).await;
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 20..20 + PAIRS {
        let begin = Instant::now();
        through.call(&call).await.unwrap();
        ours.push(millis(begin));
        let begin = Instant::now();
        make(&direct, number).await;
        theirs.push(millis(begin));
    }
    let count = postgres.run("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'lh\\_%'").await.unwrap();
    assert_eq!(count, [[(20 + PAIRS).to_string()]], "every lease has a user");
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    Report::note(&format!(
        "a user of PostgreSQL's through the broker: {ours:.2} ms; the same SQL over a kept connection: {theirs:.2} ms \
         (medians of {PAIRS})"
    ));
    report.figure("dynamic_pg_issue_ratio", ours / theirs, "ratio", Target::AtMost(1.3));
    broker.stop().await;
}

/// What the broker sends for one user, in one text as it does.
async fn make(direct: &Session, number: usize) {
    let user = format!("direct_app_{number:026}");
    let tag = format!(r#"{{"leasehold":"lease_{number:026}","role":"app","holder":"{WORKLOAD}"}}"#);
    let statements = format!(
        "SELECT pg_catalog.pg_advisory_xact_lock({number})\n;\n\
         SELECT extract(epoch FROM t)::pg_catalog.text, 1 / (t <= '2099-01-01T00:00:00Z')::int \
         FROM pg_catalog.clock_timestamp() AS t\n;\n\
         CREATE ROLE \"{user}\" LOGIN PASSWORD '{VERIFIER}' VALID UNTIL '2099-01-01T00:00:00Z'\n;\n\
         GRANT \"payments_read\" TO \"{user}\"\n;\nCOMMENT ON ROLE \"{user}\" IS '{tag}'"
    );
    direct.run(&statements).await.unwrap();
}

fn millis(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1000.0
}
