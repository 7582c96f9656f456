//! A place where a broker runs: authority, identities, configuration, policies, key and state in one private folder.

use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use tempfile::TempDir;

use crate::{
    authority::{Authority, Identity, Leaf},
    binaries,
};

/// The trust domain of all tests.
pub const TRUST_DOMAIN: &str = "example.org";
/// A production workload that may lease what is under `prod/payments`.
pub const WORKLOAD: &str = "spiffe://example.org/prod/payments/api";
/// A production workload that may lease nothing.
pub const STRANGER: &str = "spiffe://example.org/prod/orders/api";
/// An operator who may do whatever operators can.
pub const OPERATOR: &str = "spiffe://example.org/operator/admin";
/// The broker.
pub const BROKER: &str = "spiffe://example.org/leasehold/broker";
/// The secret that tests lease.
pub const SECRET: &str = "prod/payments/db";

/// What a site's configuration says beyond its paths.
#[derive(Clone, Debug)]
pub struct Plan {
    /// TOML inside `[listen]`, such as `min_tls = "1.2"`.
    pub listen: String,
    /// TOML for `[limits]`; what it does not say of how often may be asked is said generously.
    pub limits: String,
    /// TOML inside `[ledger]`.
    pub ledger: String,
    /// Whole TOML elements: providers, secrets, mounts.
    pub more: String,
    /// So many policies that match nobody, beside those that do.
    pub idle_policies: usize,
}

/// The folder and what is in it.
pub struct Site {
    /// Everything lies here; it goes when the site is dropped.
    pub dir: TempDir,
    /// Who signs clients and the broker.
    pub authority: Authority,
    /// Where the broker listens.
    pub address: SocketAddr,
    plan: Plan,
}

const POLICIES: &str = r#"
@id("test.lease")
permit (principal == Workload::"spiffe://example.org/prod/payments/api",
        action in [Action::"IssueLease", Action::"RenewLease"], resource in SecretPath::"prod/payments");
@id("test.operate")
permit (principal is Operator, action in [Action::"ReadStatus", Action::"ReadAudit", Action::"ReadLease",
        Action::"RevokeLease", Action::"DescribeSecret", Action::"WriteSecret", Action::"ForgetLease",
        Action::"SweepOrphans", Action::"ReleaseHold"], resource);
"#;

/// Limits that no test and no figure comes near which is not about them: in most, one principal does the work of many.
const GENEROUS: [&str; 6] = [
    "requests_per_principal = 1000000",
    "request_burst = 1000000",
    "operator_requests_per_principal = 1000000",
    "operator_request_burst = 1000000",
    "leases_per_principal = 100000000",
    "leases_per_secret = 100000000",
];

impl Default for Plan {
    fn default() -> Self {
        Self {
            listen: String::new(),
            limits: String::new(),
            ledger: String::new(),
            more: format!(
                "[[secret]]\npath = \"{SECRET}\"\nprovider = \"local\"\nref = \"payments-db\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n"
            ),
            idle_policies: 0,
        }
    }
}

impl Site {
    /// A site as `plan` says, with its key made and no broker running.
    pub fn new(plan: Plan) -> Self {
        let dir = tempfile::Builder::new().prefix("leasehold-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let site = Self { dir, authority: Authority::new("tests"), address, plan };
        for folder in ["tls", "policies", "state"] {
            fs::DirBuilder::new().mode(0o700).create(site.path(folder)).unwrap();
        }
        site.write("tls/clients.pem", &site.authority.bundle());
        site.install_server(&site.authority.sign(&Leaf::server(BROKER)));
        for (name, id) in [("workload", WORKLOAD), ("stranger", STRANGER), ("operator", OPERATOR)] {
            site.install(name, &site.authority.sign(&Leaf::client(id)));
        }
        let guardrail = include_str!("../../config/policies/00-guardrail.cedar");
        site.write("policies/00-guardrail.cedar", guardrail);
        site.write("policies/10-tests.cedar", &site.policies());
        site.write("leasehold.toml", &site.config());
        let made = Command::new(binaries::leaseholdd())
            .args(["init", "--config"])
            .arg(site.path("leasehold.toml"))
            .output()
            .unwrap();
        assert!(made.status.success(), "init failed: {}", String::from_utf8_lossy(&made.stderr));
        site
    }

    /// A path in the site.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the broker keeps its state.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Writes a private file.
    pub fn write(&self, name: &str, text: &str) {
        write_private(&self.path(name), text);
    }

    /// Puts a client's certificate and key where [`Site::client`] and the command line find them.
    pub fn install(&self, name: &str, identity: &Identity) {
        self.write(&format!("tls/{name}.pem"), &identity.certificate);
        self.write(&format!("tls/{name}.key"), &identity.key);
    }

    /// Puts the broker's certificate and key in place.
    pub fn install_server(&self, identity: &Identity) {
        self.install("server", identity);
    }

    /// Signs a new identity and hands it over in memory.
    pub fn identity(&self, spiffe_id: &str) -> Identity {
        self.authority.sign(&Leaf::client(spiffe_id))
    }

    /// A builder of clients of this broker with the installed identity `name`.
    pub fn client(&self, name: &str) -> leasehold_client::Builder {
        let file = |end: &str| self.path(&format!("tls/{name}.{end}"));
        leasehold_client::Client::builder()
            // What fails is seen at once, and nothing is asked twice.
            .retries(false)
            .address(self.address.to_string().parse().unwrap())
            .identity(leasehold_client::Identity::from_files(&file("pem"), &file("key")).unwrap())
            // Not from the file that the broker reads: a test may break that.
            .trust(leasehold_client::TrustBundle::from_pem(self.authority.bundle().as_bytes()).unwrap())
    }

    /// The command line as the identity `name`.
    pub fn leasehold(&self, name: &str) -> Command {
        let mut command = Command::new(binaries::leasehold());
        command
            .env("LEASEHOLD_ADDR", self.address.to_string())
            .env("LEASEHOLD_CERT", self.path(&format!("tls/{name}.pem")))
            .env("LEASEHOLD_KEY", self.path(&format!("tls/{name}.key")))
            .env("LEASEHOLD_CA", self.path("tls/clients.pem"));
        command
    }

    /// A TLS client configuration with this identity, or with none.
    pub fn tls(&self, identity: Option<&Identity>) -> Arc<rustls::ClientConfig> {
        client_tls(&self.authority, identity, &[&rustls::version::TLS13])
    }

    fn policies(&self) -> String {
        let mut text = POLICIES.to_owned();
        for n in 0..self.plan.idle_policies {
            let _ = write!(
                text,
                "@id(\"idle.{n}\")\npermit (principal == Workload::\"spiffe://example.org/prod/team-{n}/api\", \
                 action in [Action::\"IssueLease\", Action::\"RenewLease\"], resource in SecretPath::\"prod/team-{n}\");\n"
            );
        }
        text
    }

    fn config(&self) -> String {
        let Plan { listen, limits, ledger, more, .. } = &self.plan;
        let key = |line: &str| line.split('=').next().map(|key| key.trim().to_owned());
        let said = |line: &&str| limits.lines().any(|other| key(other) == key(line));
        let generous: Vec<_> = GENEROUS.iter().copied().filter(|line| !said(line)).collect();
        let generous = generous.join("\n");
        let local = if more.contains("\"local\"") {
            "[[provider]]\nname = \"local\"\nkind = \"local\"\n"
        } else {
            ""
        };
        format!(
            "[listen]\naddress = \"{}\"\ncertificate = \"tls/server.pem\"\nkey = \"tls/server.key\"\n\
             trust_bundle = \"tls/clients.pem\"\n{listen}\n\n\
             [identity]\ntrust_domain = \"{TRUST_DOMAIN}\"\noperators = [\"/operator/\"]\n\n\
             [seal]\nkey_file = \"seal.key\"\n\n[ledger]\ndir = \"state\"\nnode = \"test\"\n{ledger}\n\n\
             [policy]\ndir = \"policies\"\n\n[limits]\n{limits}\n{generous}\n\n{local}\n{more}",
            self.address
        )
    }
}

/// A TLS client configuration that trusts `authority`.
pub fn client_tls(
    authority: &Authority,
    identity: Option<&Identity>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => config.with_client_auth_cert(identity.chain(), identity.private_key()).unwrap(),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, text: &str) {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
