//! The identity comes from a real SPIRE: the client asks its agent, and takes each new SVID as it comes.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use leasehold_client::{Builder, Client};
use leasehold_provider_conformance::peers::{self, Peer, or_skip};
use leasehold_tests::{
    daemon::Daemon,
    site::{BROKER, Plan, SECRET, Site, TRUST_DOMAIN, WORKLOAD},
    wait::until,
};

/// A server and an agent, in a folder of their own.
struct Spire {
    _server: Peer,
    _agent: Peer,
    folder: tempfile::TempDir,
    program: PathBuf,
}

/// An SVID lives for so long; the agent has the next one at half of it.
const LIFE: u64 = 12;

impl Spire {
    async fn start() -> Result<Self, peers::PeerError> {
        let (program, agent_program) = (peers::find("spire-server")?, peers::find("spire-agent")?);
        // A socket's path is at most 108 bytes.
        let folder = tempfile::Builder::new().prefix("sp").tempdir_in("/tmp").unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let server = format!(
            "server {{\n bind_address = \"127.0.0.1\"\n bind_port = \"{port}\"\n socket_path = \"{}\"\n\
             trust_domain = \"{TRUST_DOMAIN}\"\n data_dir = \"{}\"\n log_level = \"INFO\"\n ca_ttl = \"1h\"\n\
             experimental {{ cache_reload_interval = \"500ms\" }}\n}}\n\
             plugins {{\n DataStore \"sql\" {{ plugin_data {{ database_type = \"sqlite3\" connection_string = \"{}\" }} }}\n\
             KeyManager \"memory\" {{ plugin_data {{}} }}\n NodeAttestor \"join_token\" {{ plugin_data {{}} }}\n}}\n",
            at("server.sock"),
            at("server"),
            at("db.sqlite3"),
        );
        fs::write(folder.path().join("server.conf"), server).unwrap();
        let mut command = Command::new(&program);
        command.args(["run", "-config", &at("server.conf")]);
        let running = Peer::start("spire-server", command, "Starting Server APIs").await?;
        let mut spire = Building { program: program.clone(), socket: at("server.sock") };
        let token = spire.ask(&["token", "generate", "-output", "json"]).await;
        let token: serde_json::Value = serde_json::from_str(&token).unwrap();
        let token = token["value"].as_str().unwrap().to_owned();
        let agent = format!(
            "agent {{\n data_dir = \"{}\"\n log_level = \"INFO\"\n server_address = \"127.0.0.1\"\n server_port = \"{port}\"\n\
             socket_path = \"{}\"\n trust_domain = \"{TRUST_DOMAIN}\"\n insecure_bootstrap = true\n join_token = \"{token}\"\n\
             experimental {{ sync_interval = \"500ms\" }}\n}}\n\
             plugins {{\n KeyManager \"memory\" {{ plugin_data {{}} }}\n NodeAttestor \"join_token\" {{ plugin_data {{}} }}\n\
             WorkloadAttestor \"unix\" {{ plugin_data {{}} }}\n}}\n",
            at("agent"),
            at("agent.sock"),
        );
        fs::write(folder.path().join("agent.conf"), agent).unwrap();
        let parent = format!("spiffe://{TRUST_DOMAIN}/spire/agent/join_token/{token}");
        let (selector, life) = (format!("unix:uid:{}", rustix::process::getuid().as_raw()), LIFE.to_string());
        let entry = ["entry", "create", "-parentID", &parent, "-spiffeID", WORKLOAD, "-selector", &selector];
        spire.ask(&[&entry[..], &["-x509SVIDTTL", &life]].concat()).await;
        let mut command = Command::new(agent_program);
        command.args(["run", "-config", &at("agent.conf")]);
        let agent = Peer::start("spire-agent", command, "Starting Workload and SDS APIs").await?;
        Ok(Self { _server: running, _agent: agent, folder, program })
    }

    fn endpoint(&self) -> String {
        format!("unix://{}", self.folder.path().join("agent.sock").display())
    }

    /// The broker's own certificate of the same authority, its key and the trust bundle, as PEM.
    async fn mint(&self, into: &Path) -> [String; 3] {
        let socket = self.folder.path().join("server.sock").display().to_string();
        let mut asked = Building { program: self.program.clone(), socket };
        let into = into.display().to_string();
        asked.ask(&["x509", "mint", "-spiffeID", BROKER, "-dns", "localhost", "-write", &into]).await;
        ["svid.pem", "key.pem", "bundle.pem"]
            .map(|name| fs::read_to_string(Path::new(&into).join(name)).unwrap())
    }
}

/// The server's own command line.
struct Building {
    program: PathBuf,
    socket: String,
}

impl Building {
    /// What it says, once the server listens.
    async fn ask(&mut self, arguments: &[&str]) -> String {
        let mut said = String::new();
        until(&format!("spire-server does {arguments:?}"), async || {
            let mut command = Command::new(&self.program);
            let done = command.args(arguments).args(["-socketPath", &self.socket]).output().unwrap();
            said = String::from_utf8_lossy(&done.stdout).into_owned();
            done.status.success()
        })
        .await;
        said
    }
}

fn builder(site: &Site, spire: &Spire) -> Builder {
    Client::builder()
        .address(site.address.to_string().parse().unwrap())
        .workload_api(&spire.endpoint())
        .server_id(BROKER.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workload_api_gives_the_identity_and_each_one_after_it() {
    let Some(spire) = or_skip(Spire::start().await).unwrap() else { return };
    let site = Site::new(Plan::default());
    let minted = tempfile::tempdir().unwrap();
    let [certificate, key, bundle] = spire.mint(minted.path()).await;
    // The tests' operator is of another authority than the workloads.
    site.write("tls/clients.pem", &format!("{bundle}{}", site.authority.bundle()));
    let broker = Daemon::start(&site).await;
    let value = leasehold_core::SecretValue::plain("a-value".to_owned());
    let secret = SECRET.parse().unwrap();
    let write = leasehold_client::Write { secret, value, expected: None, request_id: None };
    site.client("operator").connect().await.unwrap().operator().write_secret(write).await.unwrap();
    broker.stop().await;
    // From here on the broker's own certificate is of SPIRE's authority, too.
    site.write("tls/server.pem", &certificate);
    site.write("tls/server.key", &key);
    let broker = Daemon::spawn(&site, Command::new(leasehold_tests::binaries::leaseholdd()));

    let client = builder(&site, &spire).connect_lazily().await.unwrap();
    let held = client.lease(SECRET).await.unwrap();
    assert_eq!(held.current().lease.holder.as_str(), WORKLOAD);
    let first = client.identity().unwrap();
    assert_eq!(first.id.as_ref().map(leasehold_core::SpiffeId::as_str), Some(WORKLOAD));

    // For longer than two SVIDs live, not one call fails, and the identity moves on.
    let (mut seen, mut calls) = (std::collections::BTreeSet::new(), 0_u32);
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < Duration::from_secs(2 * LIFE + 2) {
        client.list_leases(&[], 1, None).await.unwrap();
        seen.extend(client.identity().unwrap().not_after);
        calls += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(seen.len() >= 3 && calls > 100, "{} identities, {calls} calls", seen.len());
    assert!(client.identity_fault().is_none());
    held.close().await.unwrap();
    broker.kill();
}
