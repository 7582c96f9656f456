//! A real OpenBao: in development mode, or configured with TLS and started sealed, as people run it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::Arc,
    time::Duration,
};

use rustls::ClientConfig;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::{Peer, PeerError, Postgres, find, port::on_a_free_port};
use crate::{authority::Authority, http::Call};

/// A `bao server`.
pub struct Bao {
    peer: Peer,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    token: String,
    unseal_key: String,
    _home: TempDir,
}

/// How a configured OpenBao is set up.
#[derive(Clone, Copy)]
pub struct BaoSetup<'a> {
    /// Signs the server's certificate. A certificate for the `cert` sign-in may be signed by any: its role says whom it
    /// trusts, and the listener asks for a certificate without judging it.
    pub authority: &'a Authority,
    /// Where it keeps its data.
    pub storage: Storage,
    /// Lines of HCL that are added to its configuration file.
    pub extra: &'a str,
}

/// Where OpenBao keeps its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// In memory.
    #[default]
    Memory,
    /// In files, through a log of its own.
    Raft,
}

const PROGRAM: &str = "bao";

/// A machine that is busy with a build takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

impl<'a> BaoSetup<'a> {
    /// In memory, and nothing added.
    pub fn new(authority: &'a Authority) -> Self {
        Self { authority, storage: Storage::Memory, extra: "" }
    }
}

impl Bao {
    /// What it is, as reports name it.
    pub const VERSION: &str = "OpenBao 2.7.2";

    /// Starts one in development mode: plain HTTP, in memory, unsealed, KV version 2 at `secret/`.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub async fn start() -> Result<Self, PeerError> {
        let program = find(PROGRAM)?;
        let token = unguessable();
        on_a_free_port(PROGRAM, async |port| {
            let home = home()?;
            let mut command = Command::new(&program);
            command
                .args(["server", "-dev", "-dev-no-store-token"])
                .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
                // Not among the arguments, which anybody on the machine can read.
                .env("BAO_DEV_ROOT_TOKEN_ID", &token)
                .env("HOME", home.path());
            let peer = Peer::start(PROGRAM, command, "server started!").await?;
            let token = token.clone();
            let bao = Self { peer, port, tls: None, token, unseal_key: String::new(), _home: home };
            bao.comes_to(200).await?;
            Ok(bao)
        })
        .await
    }

    /// Starts one with TLS, initialises it with one unseal key and unseals it. Nothing is mounted.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub async fn start_configured(setup: BaoSetup<'_>) -> Result<Self, PeerError> {
        let program = find(PROGRAM)?;
        let tls = setup.authority.trusting(None).map_err(not_started)?;
        let mut bao = on_a_free_port(PROGRAM, async |port| {
            let home = home()?;
            let file = write_configuration(&home, port, setup).map_err(not_started)?;
            let mut command = Command::new(&program);
            command.arg("server").arg("-config").arg(file).env("HOME", home.path());
            let peer = Peer::start(PROGRAM, command, "server started!").await?;
            let (token, unseal_key) = (String::new(), String::new());
            Ok(Self { peer, port, tls: Some(Arc::clone(&tls)), token, unseal_key, _home: home })
        })
        .await?;
        // 501: neither initialised nor unsealed.
        bao.comes_to(501).await?;
        let shares = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let keys = bao.ask("PUT", "sys/init", Some(&shares)).await.map_err(not_started)?;
        let text =
            |pointer: &str| keys.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        bao.token = text("/root_token");
        bao.unseal_key = text("/keys_base64/0");
        bao.unseal().await.map_err(not_started)?;
        Ok(bao)
    }

    /// Where it is, such as `http://127.0.0.1:4567`.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls.is_some() { "https" } else { "http" }, self.port)
    }

    /// Where it is, for a proxy in front of it.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The token that may do everything.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        self.peer.output()
    }

    /// A call without a token, such as `call("GET", "sys/health")`.
    pub fn call(&self, method: &str, path: &str) -> Call {
        Call::new(method, format!("{}/v1/{path}", self.url())).over(self.tls.clone())
    }

    /// Makes a call with the token that may do everything; the answer's JSON, null when it is empty.
    ///
    /// # Errors
    /// With the answer, when it is not a success.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        self.ask_as(&self.token, method, path, body).await
    }

    /// Makes a call with a certain token.
    ///
    /// # Errors
    /// With the answer, when it is not a success.
    pub async fn ask_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, String> {
        let mut call = self.call(method, path);
        if !token.is_empty() {
            call = call.header("x-vault-token", token);
        }
        if let Some(body) = body {
            call = call.json(body);
        }
        let answer = call.send().await.map_err(|error| format!("{method} {path}: {error}"))?;
        match answer.status {
            200..300 => Ok(answer.json()),
            status => Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer.body))),
        }
    }

    /// Makes a token with these policies, for this long.
    ///
    /// # Errors
    /// When there is none.
    pub async fn make_token(&self, policies: &[&str], ttl: Duration) -> Result<String, String> {
        let request =
            json!({ "policies": policies, "ttl": format!("{}s", ttl.as_secs()), "no_parent": true });
        let made = self.ask("POST", "auth/token/create", Some(&request)).await?;
        let token = made.pointer("/auth/client_token").and_then(Value::as_str);
        token.map(str::to_owned).ok_or_else(|| "there is no token in the answer".to_owned())
    }

    /// Mounts the KV engine, version 1 or 2, and waits until it has made itself ready.
    ///
    /// # Errors
    /// When it is not mounted.
    pub async fn mount_kv(&self, path: &str, version: u8) -> Result<(), String> {
        let mount = json!({ "type": "kv", "options": { "version": version.to_string() } });
        self.ask("POST", &format!("sys/mounts/{path}"), Some(&mount)).await?;
        if version == 1 {
            return Ok(());
        }
        // Version 2 upgrades itself after it was mounted, and refuses everything until it has.
        let started = Instant::now();
        while let Err(why) = self.ask("GET", &format!("{path}/config"), None).await {
            if started.elapsed() > PATIENCE {
                return Err(why);
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Mounts the database engine, connected to a PostgreSQL; roles are added with [`Bao::add_database_role`].
    ///
    /// # Errors
    /// When it is not mounted, or not connected.
    pub async fn mount_database(&self, path: &str, postgres: &Postgres) -> Result<(), String> {
        self.ask("POST", &format!("sys/mounts/{path}"), Some(&json!({ "type": "database" }))).await?;
        let connection = json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": postgres.connection_url(),
            "username": Postgres::SUPERUSER,
            "password": postgres.password(),
        });
        self.ask("POST", &format!("{path}/config/main"), Some(&connection)).await.map(drop)
    }

    /// Adds a role whose credentials are users of the PostgreSQL: they can log in, and live so long and at most so long.
    ///
    /// # Errors
    /// When it is not added.
    pub async fn add_database_role(
        &self,
        path: &str,
        role: &str,
        ttl: Duration,
        max_ttl: Duration,
    ) -> Result<(), String> {
        let request = json!({
            "db_name": "main",
            "default_ttl": ttl.as_secs(),
            "max_ttl": max_ttl.as_secs(),
            "creation_statements":
                ["create role \"{{name}}\" with login password '{{password}}' valid until '{{expiration}}'"],
            "renew_statements": ["alter role \"{{name}}\" valid until '{{expiration}}'"],
            "revocation_statements": ["drop role if exists \"{{name}}\""],
        });
        self.ask("POST", &format!("{path}/roles/{role}"), Some(&request)).await.map(drop)
    }

    /// Adds a static role: a user that is in the PostgreSQL, and whose password is changed now and once a day.
    ///
    /// # Errors
    /// When it is not added.
    pub async fn add_static_role(&self, path: &str, role: &str, user: &str) -> Result<(), String> {
        let request = json!({ "db_name": "main", "username": user, "rotation_period": "24h" });
        self.ask("POST", &format!("{path}/static-roles/{role}"), Some(&request)).await.map(drop)
    }

    /// Seals it: from now on it answers with 503.
    ///
    /// # Errors
    /// When it does not.
    pub async fn seal(&self) -> Result<(), String> {
        self.ask("PUT", "sys/seal", None).await.map(drop)
    }

    /// Unseals it and waits until it is ready. Only a configured one can be unsealed.
    ///
    /// # Errors
    /// When it stays sealed.
    pub async fn unseal(&self) -> Result<(), String> {
        self.ask("PUT", "sys/unseal", Some(&json!({ "key": self.unseal_key }))).await?;
        self.comes_to(200).await.map_err(|error| error.to_string())
    }

    /// Waits until its health is answered with this status.
    async fn comes_to(&self, status: u16) -> Result<(), PeerError> {
        let started = Instant::now();
        loop {
            let answer = timeout(PATIENCE, self.call("GET", "sys/health").send()).await;
            let seen = match answer {
                Ok(Ok(answer)) if answer.status == status => return Ok(()),
                Ok(Ok(answer)) => answer.status.to_string(),
                Ok(Err(error)) => error.to_string(),
                Err(slow) => slow.to_string(),
            };
            if started.elapsed() > PATIENCE {
                return Err(not_started(format!("its health is {seen}; it said {}", self.log())));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn not_started(why: impl ToString) -> PeerError {
    PeerError::NotStarted(PROGRAM, why.to_string())
}

fn home() -> Result<TempDir, PeerError> {
    tempfile::tempdir().map_err(not_started)
}

/// Writes what the server reads, and gives the configuration's path.
fn write_configuration(home: &TempDir, port: u16, setup: BaoSetup<'_>) -> io::Result<std::path::PathBuf> {
    let identity = setup.authority.server(&[])?;
    let at = |name: &str| home.path().join(name);
    std::fs::write(at("server.pem"), identity.certificate)?;
    std::fs::write(at("server.key"), identity.key)?;
    std::fs::create_dir(at("data"))?;
    let data = at("data").display().to_string();
    let storage = match setup.storage {
        Storage::Memory => "storage \"inmem\" {}".to_owned(),
        // The shortest times of an election, which a lone server wins anyhow.
        Storage::Raft => format!(
            "storage \"raft\" {{\n  path = \"{data}\"\n  node_id = \"one\"\n  performance_multiplier = \"1\"\n}}"
        ),
    };
    let file = at("bao.hcl");
    let text = format!(
        "{storage}\n\
         listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  cluster_address = \"127.0.0.1:0\"\n  \
         tls_cert_file = \"{}\"\n  tls_key_file = \"{}\"\n}}\n\
         api_addr = \"https://127.0.0.1:{port}\"\n\
         cluster_addr = \"https://127.0.0.1:1\"\n\
         {}\n",
        at("server.pem").display(),
        at("server.key").display(),
        setup.extra,
    );
    std::fs::write(&file, text)?;
    Ok(file)
}

/// A word that nobody guesses, and that a search through logs finds nowhere else.
pub(super) fn unguessable() -> String {
    use std::hash::{BuildHasher, RandomState};
    let part = || RandomState::new().hash_one(std::process::id());
    format!("canary-{:016x}{:016x}", part(), part())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        peers::or_skip,
        proxy::{Fault, FaultProxy, Injection},
    };

    /// Writes a value into a KV engine of version 2 and reads it.
    async fn keeps_a_value(bao: &Bao, token: &str) {
        let value = json!({ "data": { "value": "hunter2" } });
        bao.ask_as(token, "POST", "secret/data/a/b", Some(&value)).await.unwrap();
        let read = bao.ask_as(token, "GET", "secret/data/a/b", None).await.unwrap();
        assert_eq!(read.pointer("/data/data/value").unwrap(), "hunter2", "{read}");
        assert_eq!(read.pointer("/data/metadata/version").unwrap(), 1, "{read}");
    }

    #[tokio::test]
    async fn in_development_mode_it_keeps_a_value_and_its_token_is_not_an_argument() {
        let Some(bao) = or_skip(Bao::start().await).unwrap() else { return };
        keeps_a_value(&bao, bao.token()).await;
        assert!(bao.ask_as("nobody", "GET", "secret/data/a/b", None).await.unwrap_err().contains("403"));
        let arguments = std::fs::read(format!("/proc/{}/cmdline", bao.peer.pid())).unwrap();
        assert!(!String::from_utf8_lossy(&arguments).contains(bao.token()));
    }

    #[tokio::test]
    async fn configured_it_has_tls_and_is_sealed_and_unsealed() {
        let authority = Authority::new("test").unwrap();
        for storage in [Storage::Memory, Storage::Raft] {
            let setup = BaoSetup { storage, ..BaoSetup::new(&authority) };
            let Some(bao) = or_skip(Bao::start_configured(setup).await).unwrap() else { return };
            bao.mount_kv("secret", 2).await.unwrap();
            let policy = json!({ "policy": "path \"secret/*\" { capabilities = [\"create\", \"update\", \"read\"] }" });
            bao.ask("PUT", "sys/policies/acl/app", Some(&policy)).await.unwrap();
            let token = bao.make_token(&["app"], Duration::from_secs(600)).await.unwrap();
            keeps_a_value(&bao, &token).await;
            bao.seal().await.unwrap();
            let sealed = bao.ask_as(&token, "GET", "secret/data/a/b", None).await.unwrap_err();
            assert!(sealed.contains("503"), "{storage:?}: {sealed}");
            bao.unseal().await.unwrap();
            let read = bao.ask_as(&token, "GET", "secret/data/a/b", None).await.unwrap();
            assert_eq!(read.pointer("/data/data/value").unwrap(), "hunter2", "{storage:?}");
            assert!(bao.log().contains("core: vault is unsealed"), "{storage:?}");
        }
    }

    #[tokio::test]
    async fn a_client_signs_in_with_its_certificate() {
        let authority = Authority::new("test").unwrap();
        let started = Bao::start_configured(BaoSetup::new(&authority)).await;
        let Some(bao) = or_skip(started).unwrap() else { return };
        bao.ask("POST", "sys/auth/cert", Some(&json!({ "type": "cert" }))).await.unwrap();
        let role = json!({ "certificate": authority.pem(), "allowed_common_names": "broker" });
        bao.ask("POST", "auth/cert/certs/broker", Some(&role)).await.unwrap();
        for (name, status) in [("broker", 200), ("somebody", 400)] {
            let identity = authority.client(name, None).unwrap();
            let call = Call::new("POST", format!("{}/v1/auth/cert/login", bao.url())).json(&json!({}));
            let answer = call.trusting(&authority, Some(&identity)).unwrap().send().await.unwrap();
            assert_eq!(answer.status, status, "{name}: {}", String::from_utf8_lossy(&answer.body));
        }
    }
    #[tokio::test]
    async fn it_makes_users_of_a_database_and_drops_them() {
        let Some(bao) = or_skip(Bao::start().await).unwrap() else { return };
        let Some(postgres) = or_skip(Postgres::start().await).unwrap() else { return };
        bao.mount_database("database", &postgres).await.unwrap();
        let (ttl, max_ttl) = (Duration::from_secs(60), Duration::from_secs(600));
        bao.add_database_role("database", "app", ttl, max_ttl).await.unwrap();
        let made = bao.ask("GET", "database/creds/app", None).await.unwrap();
        let text = |pointer: &str| made.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        let (user, password) = (text("/data/username"), text("/data/password"));
        assert!(postgres.lets_in(&user, &password).await.unwrap());
        let lease = json!({ "lease_id": text("/lease_id"), "sync": true });
        bao.ask("PUT", "sys/leases/revoke", Some(&lease)).await.unwrap();
        assert!(!postgres.lets_in(&user, &password).await.unwrap());
    }

    #[tokio::test]
    async fn behind_a_proxy_it_does_what_it_is_asked_and_nobody_hears_of_it() {
        let Some(bao) = or_skip(Bao::start().await).unwrap() else { return };
        let proxy = FaultProxy::start(bao.address()).await.unwrap();
        proxy.inject(Injection::of(Fault::LoseAnswer).on("POST /v1/secret/data/").times(1));
        let write = async || {
            let call = Call::new("POST", format!("{}/v1/secret/data/a", proxy.url()));
            call.header("x-vault-token", bao.token()).json(&json!({ "data": { "value": "x" } })).send().await
        };
        assert!(write().await.is_err());
        assert_eq!(write().await.unwrap().json().pointer("/data/version").unwrap(), 2);
        assert_eq!((proxy.played(), proxy.requests()), (1, 2));
    }
}
