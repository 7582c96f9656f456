//! What the broker adds to a credential that OpenBao makes in a real PostgreSQL.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use leasehold_provider_conformance::peers::{Bao, Postgres};
use leasehold_tests::{
    daemon::Daemon,
    load::Connection,
    neighbours::lease,
    site::{Plan, Site, WORKLOAD},
};
use serde_json::json;
use tokio::{net::TcpStream, time::Instant};

use crate::figure::{Report, Target, median};

const PAIRS: usize = 200;
const SECRET: &str = "prod/payments/db-user";
const PATH: &str = "database/creds/app";

pub(crate) async fn overhead(report: &mut Report) {
    let (bao, postgres) = (Bao::start().await.unwrap(), Postgres::start().await.unwrap());
    mount(&bao, &postgres).await;
    let plan = Plan {
        more: format!(
            "[[provider]]\nname = \"vault\"\nkind = \"vault\"\naddress = \"{}\"\nauth = \"token\"\ntoken_file = \"vault-token\"\n\n\
             [[role]]\nname = \"app\"\nprovider = \"vault\"\npath = \"{PATH}\"\n\n\
             [[secret]]\npath = \"{SECRET}\"\nprovider = \"vault\"\nrole = \"app\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n",
            bao.url()
        ),
        ..Plan::default()
    };
    let site = Site::new(plan);
    site.write("vault-token", bao.token());
    let broker = Daemon::start(&site).await;
    let tls = site.tls(Some(&site.identity(WORKLOAD)));
    let mut through = Connection::open(site.address, tls).await.unwrap();
    let call = lease(SECRET);
    let mut direct = Direct::open(&bao).await;
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

/// OpenBao's database engine over the PostgreSQL.
async fn mount(bao: &Bao, postgres: &Postgres) {
    let connection = json!({
        "plugin_name": "postgresql-database-plugin",
        "allowed_roles": ["app"],
        "connection_url": postgres.connection_url(),
        "username": Postgres::SUPERUSER,
        "password": postgres.password(),
    });
    let role = json!({
        "db_name": "main",
        "creation_statements":
            ["create role \"{{name}}\" login password '{{password}}' valid until '{{expiration}}'"],
        "default_ttl": "10m",
        "max_ttl": "1h",
    });
    for (path, body) in [
        ("sys/mounts/database", json!({ "type": "database" })),
        ("database/config/main", connection),
        ("database/roles/app", role),
    ] {
        bao.ask("POST", path, Some(&body)).await.unwrap();
    }
}

/// One connection to OpenBao that is kept, as the broker keeps its own.
struct Direct {
    send: SendRequest<Empty<Bytes>>,
    host: String,
    token: String,
}

impl Direct {
    async fn open(bao: &Bao) -> Self {
        let stream = TcpStream::connect(bao.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
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
