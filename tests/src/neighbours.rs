//! Four back ends behind one broker: three of them through proxies that can stall them, and a neighbour that is asked
//! directly. Each read reaches its back end, since nothing is kept in memory.

use std::net::SocketAddr;

use leasehold_proto::v1::IssueLeaseRequest;
use leasehold_provider_conformance::{
    http,
    peers::{Bao, Drongo, Moto, PeerError},
    proxy::{Fault, FaultProxy, Injection},
};
use serde_json::json;

use crate::{
    daemon::Daemon,
    load::Call,
    site::{Plan, Site},
};

/// The broker with its back ends.
pub struct Neighbours {
    /// The broker.
    pub broker: Daemon,
    /// Its site.
    pub site: Site,
    proxies: Vec<FaultProxy>,
    _bao: Bao,
    _moto: Moto,
    _drongo: Drongo,
}

/// The secrets of the back ends that can be stalled, one of each.
pub const STALLED: [&str; 3] = ["prod/payments/vault", "prod/payments/aws", "prod/payments/gcp"];

/// The secret of the back end that never is.
pub const NEIGHBOUR: &str = "prod/payments/neighbour";

impl Neighbours {
    /// Starts all of them, with the limits that hold when none are configured.
    ///
    /// # Errors
    /// When one of the servers is not installed, or does not start.
    pub async fn start() -> Result<Self, PeerError> {
        Self::start_with("").await
    }

    /// Starts all of them; the broker waits so long for a back end that no test ends before it.
    ///
    /// # Errors
    /// As [`Neighbours::start`].
    pub async fn start_patient() -> Result<Self, PeerError> {
        Self::start_with("call_timeout = \"2m\"\nattempt_timeout = \"2m\"\ntimeout = \"2m\"\n").await
    }

    async fn start_with(limits: &str) -> Result<Self, PeerError> {
        let (bao, moto, drongo) = (Bao::start().await?, Moto::start().await?, Drongo::start().await?);
        put_into(&bao, &moto, &drongo).await;
        let mut proxies = Vec::new();
        for address in [bao.address(), address_in(moto.url()), address_in(drongo.url())] {
            proxies.push(FaultProxy::start(address).await.expect("a port is free"));
        }
        let urls: Vec<_> = proxies.iter().map(FaultProxy::url).collect();
        let site = Site::new(Plan { more: configuration(&bao, &urls, limits), ..Plan::default() });
        site.write("vault-token", bao.token());
        site.write("aws-secret", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        site.write("gcp-token", "ya29.not-a-real-token");
        let broker = Daemon::start(&site).await;
        Ok(Self { broker, site, proxies, _bao: bao, _moto: moto, _drongo: drongo })
    }

    /// From now on three of them take requests and never answer.
    pub fn stall(&self) {
        for proxy in &self.proxies {
            proxy.inject(Injection::of(Fault::Stall));
        }
    }

    /// All of them answer again, also what they were asked before.
    pub fn heal(&self) {
        self.proxies.iter().for_each(FaultProxy::heal);
    }

    /// Of how many requests each stalled one has kept the answer.
    pub fn held(&self) -> Vec<u64> {
        self.proxies.iter().map(FaultProxy::played).collect()
    }
}

/// The call that leases a secret.
pub fn lease(secret: &str) -> Call {
    let request = IssueLeaseRequest { secret: secret.to_owned(), ..IssueLeaseRequest::default() };
    Call::new("leasehold.v1.LeaseService/IssueLease", &request)
}

async fn put_into(bao: &Bao, moto: &Moto, drongo: &Drongo) {
    let value = json!({ "data": { "value": "a-password-of-32-characters-long" } });
    for name in ["a", "b"] {
        bao.ask("POST", &format!("secret/data/{name}"), Some(&value)).await.expect("OpenBao keeps a value");
    }
    let create = http::Call::new("POST", moto.url())
        .header("x-amz-target", "secretsmanager.CreateSecret")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/eu-central-1/secretsmanager/aws4_request, \
             SignedHeaders=host, Signature=00",
        )
        .body("application/x-amz-json-1.1", r#"{"Name":"a","SecretString":"hunter2"}"#);
    assert_eq!(create.send().await.expect("moto answers").status, 200);
    let secrets = format!("{}/v1/projects/payments-prod/secrets", drongo.url());
    let replicated = json!({ "replication": { "automatic": {} } });
    for (url, body) in [
        (format!("{secrets}?secretId=a"), replicated),
        (format!("{secrets}/a:addVersion"), json!({ "payload": { "data": "aHVudGVyMg==" } })),
    ] {
        let answer = http::Call::new("POST", url).json(&body).send().await.expect("drongo answers");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

fn configuration(bao: &Bao, urls: &[String], limits: &str) -> String {
    let [vault, aws, gcp] = urls else { unreachable!("there are three proxies") };
    let secret = |path: &str, provider: &str, reference: &str| {
        format!(
            "[[secret]]\npath = \"{path}\"\nprovider = \"{provider}\"\nref = \"{reference}\"\nmax_age = \"0s\"\n\n"
        )
    };
    let [of_vault, of_aws, of_gcp] = STALLED;
    [
        format!(
            "[[provider]]\nname = \"vault\"\nkind = \"vault\"\naddress = \"{vault}\"\n\
             auth = \"token\"\ntoken_file = \"vault-token\"\n{limits}\n"
        ),
        format!(
            "[[provider]]\nname = \"aws\"\nkind = \"aws\"\nregion = \"eu-central-1\"\nendpoint_url = \"{aws}\"\n\
             access_key_id = \"AKIAIOSFODNN7EXAMPLE\"\nsecret_access_key_file = \"aws-secret\"\n{limits}\n"
        ),
        format!(
            "[[provider]]\nname = \"gcp\"\nkind = \"gcp\"\nproject = \"payments-prod\"\nendpoint_url = \"{gcp}\"\n\
             access_token_file = \"gcp-token\"\nrequire_checksum = false\n{limits}\n"
        ),
        format!(
            "[[provider]]\nname = \"neighbour\"\nkind = \"vault\"\naddress = \"{}\"\n\
             auth = \"token\"\ntoken_file = \"vault-token\"\n{limits}\n",
            bao.url()
        ),
        secret(of_vault, "vault", "secret/data/a"),
        secret(of_aws, "aws", "a"),
        secret(of_gcp, "gcp", "a"),
        secret(NEIGHBOUR, "neighbour", "secret/data/b"),
    ]
    .concat()
}

fn address_in(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().expect("a peer listens on loopback")
}
