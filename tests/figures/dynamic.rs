//! What the broker adds to a credential that OpenBao makes in a real PostgreSQL.
//!
//! Both are as in production: OpenBao with TLS and its raft storage, PostgreSQL with durable commits. The broker's own
//! two durable commits are compared with theirs.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use leasehold_provider_conformance::{
    authority::Authority,
    peers::{Bao, BaoSetup, Postgres, Storage},
};
use leasehold_tests::{
    daemon::Daemon,
    load::Connection,
    neighbours::lease,
    site::{Plan, Site, WORKLOAD},
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::TlsConnector;

use crate::figure::{Report, Target, median};

const PAIRS: usize = 200;
const SECRET: &str = "prod/payments/db-user";
const PATH: &str = "database/creds/app";
const TTL: Duration = Duration::from_secs(600);
const MAX_TTL: Duration = Duration::from_secs(3600);

pub(crate) async fn overhead(report: &mut Report) {
    let authority = Authority::new("OpenBao").unwrap();
    let setup = BaoSetup { storage: Storage::Raft, ..BaoSetup::new(&authority) };
    let bao = Bao::start_configured(setup).await.unwrap();
    let postgres = Postgres::start_durable().await.unwrap();
    bao.mount_database("database", &postgres).await.unwrap();
    bao.add_database_role("database", "app", TTL, MAX_TTL).await.unwrap();
    let plan = Plan {
        more: format!(
            "[[provider]]\nname = \"vault\"\nkind = \"vault\"\naddress = \"{}\"\nca_file = \"vault-ca.pem\"\nauth = \"token\"\ntoken_file = \"vault-token\"\n\n\
             [[role]]\nname = \"app\"\nprovider = \"vault\"\npath = \"{PATH}\"\n\n\
             [[secret]]\npath = \"{SECRET}\"\nprovider = \"vault\"\nrole = \"app\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n",
            bao.url()
        ),
        ..Plan::default()
    };
    let site = Site::new(plan);
    site.write("vault-token", bao.token());
    site.write("vault-ca.pem", &authority.pem());
    let broker = Daemon::start(&site).await;
    let tls = site.tls(Some(&site.identity(WORKLOAD)));
    let mut through = Connection::open(site.address, tls).await.unwrap();
    let call = lease(SECRET);
    let mut direct = Direct::open(&bao, authority.trusting(None).unwrap()).await;
    for _ in 0..10 {
        through.call(&call).await.unwrap();
        direct.credential().await;
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let begin = Instant::now();
        through.call(&call).await.unwrap();
        ours.push(millis(begin.elapsed()));
        let begin = Instant::now();
        direct.credential().await;
        theirs.push(millis(begin.elapsed()));
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    Report::note(&format!(
        "a database user through the broker: {ours:.2} ms; straight from OpenBao: {theirs:.2} ms (medians of {PAIRS})"
    ));
    report.figure("dynamic_issue_overhead_vault", ours / theirs, "ratio", Target::AtMost(1.3));
    broker.stop().await;
}

/// One connection to OpenBao that is kept, as the broker keeps its own.
struct Direct {
    send: SendRequest<Empty<Bytes>>,
    host: String,
    token: String,
}

impl Direct {
    async fn open(bao: &Bao, tls: Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect(bao.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::from(bao.address().ip());
        let stream = TlsConnector::from(tls).connect(name, stream).await.unwrap();
        let (send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { send, host: bao.address().to_string(), token: bao.token().to_owned() }
    }

    async fn credential(&mut self) {
        let request = Request::get(format!("/v1/{PATH}"))
            .header(HOST, &self.host)
            .header("x-vault-token", &self.token)
            .body(Empty::new())
            .unwrap();
        self.send.ready().await.unwrap();
        let answer = self.send.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap();
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
