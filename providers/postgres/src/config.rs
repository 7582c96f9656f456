//! What the PostgreSQL back end is told. Plain data: whoever reads configuration fills it in.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use leasehold_core::SecretPath;
use thiserror::Error;

use crate::{
    database::UserNames,
    role::{InvalidRole, PostgresRole},
    sql::LONGEST_NAME,
};

/// How a PostgreSQL server is reached, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresConfig {
    /// Where it is: a host, or a host and a port, such as `db.example.com:5432`.
    pub address: String,
    /// Other servers of the same cluster: whichever takes writes is the one that is used.
    pub cluster: Vec<String>,
    /// The database that the broker connects to. Users are of the whole server; what they own may be in any database.
    pub database: String,
    /// As whom.
    pub administrator: Administrator,
    /// How the server's certificate is verified.
    pub tls: Tls,
    /// Whether a connection without TLS may go further than this machine.
    pub allow_plaintext: bool,
    /// The certificates that the server's must be signed by, PEM; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// What the names of our users start with. Two brokers on one server must have two.
    pub user_prefix: String,
    /// The broker's own name, which no other broker has: it is in the tag of each user, so that none takes another's for
    /// orphans. May be empty where there is only one.
    pub broker: String,
    /// How much later than the lease the server itself stops letting a user in.
    pub margin: Duration,
    /// How many connections there are at most; 1 to 64.
    pub connections: u32,
    /// How long one connection attempt may take.
    pub connect_timeout: Duration,
    /// How long one statement may run on the server.
    pub statement_timeout: Duration,
    /// How long one call may take, with its repetitions.
    pub timeout: Duration,
    /// What users are made of, by the roles' names.
    pub roles: BTreeMap<String, PostgresRole>,
    /// Whose sessions end when a rotation retires a password.
    pub terminate_sessions: Terminate,
    /// Whether a rotation may change the password of a superuser that is not the broker's own user.
    pub rotate_superusers: bool,
}

/// Whose sessions end when a rotation retires a password. A password that is refused ends none by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Terminate {
    /// Nobody's.
    Never,
    /// Those of a user that another one replaces.
    #[default]
    RetiredUsers,
    /// Those too that a user has from before its password changed.
    Always,
}

/// As whom the broker signs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Administrator {
    /// A user whose password is in a file.
    File {
        /// Its name.
        user: String,
        /// The file that holds its password and nothing else, read anew for each connection.
        password_file: PathBuf,
    },
    /// Whoever another secret of the broker's says: its fields `username` and `password`. It is read for each connection,
    /// and past every cache when the server refuses what it was.
    Secret {
        /// The secret.
        path: SecretPath,
        /// The user, when the secret has no `username`; its password may be the field `value` then.
        user: Option<String>,
    },
}

/// How the server's certificate is verified; the names are libpq's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// It is of a trusted authority, and has the name in `address`.
    #[default]
    VerifyFull,
    /// It is of a trusted authority, whatever its name.
    VerifyCa,
    /// There is none: no TLS.
    Disable,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PostgresConfigFault {
    /// Not a host and a port.
    #[error("`{0}` has what is not a host or a host and a port, such as `db.example.com:5432`")]
    Address(&'static str),
    /// Passwords' verifiers, and the broker's own sign-in, in clear.
    #[error(
        "`{0}` has another machine, and `tls` is disabled: use verify-full, or say `allow_plaintext = true`"
    )]
    Plaintext(&'static str),
    /// Nothing is verified by it.
    #[error("`ca_file` is for TLS, and `tls` is disabled")]
    UnusedAuthority,
    /// Not a name.
    #[error("`{0}` is a name of 1 to 63 bytes")]
    Name(&'static str),
    /// Not a prefix.
    #[error("`user_prefix`: {0}")]
    Prefix(#[from] crate::database::InvalidPrefix),
    /// No time at all.
    #[error("`{0}` must be longer than nothing")]
    ZeroTimeout(&'static str),
    /// More than a day is no margin.
    #[error("`margin` is at most a day")]
    Margin,
    /// Outside 1 to 64.
    #[error("`connections` is 1 to 64")]
    Connections,
    /// A secret that nobody can read.
    #[error("the administrator is in another secret, which cannot be read here")]
    NoSource,
    /// There is nothing to connect with.
    #[error("no connections can be made: {0}")]
    Connecting(String),
    /// A role's own fault.
    #[error("the role `{0}`: {1}")]
    Role(String, InvalidRole),
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl PostgresConfig {
    /// What holds where nothing else is said.
    pub fn new(
        address: impl Into<String>,
        user: impl Into<String>,
        password_file: impl Into<PathBuf>,
    ) -> Self {
        Self {
            address: address.into(),
            cluster: Vec::new(),
            database: "postgres".to_owned(),
            administrator: Administrator::File { user: user.into(), password_file: password_file.into() },
            tls: Tls::VerifyFull,
            allow_plaintext: false,
            ca_file: None,
            user_prefix: "lh".to_owned(),
            broker: String::new(),
            margin: Duration::from_secs(60),
            connections: 8,
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(8),
            roles: BTreeMap::new(),
            terminate_sessions: Terminate::default(),
            rotate_superusers: false,
        }
    }

    /// Everything that is wrong with it, without asking the network.
    pub fn faults(&self) -> Vec<PostgresConfigFault> {
        use PostgresConfigFault as Fault;
        let mut faults = Vec::new();
        for (key, address) in self.servers() {
            match Endpoint::of(address) {
                None => faults.push(Fault::Address(key)),
                Some(endpoint) => {
                    if self.tls == Tls::Disable && !self.allow_plaintext && !endpoint.is_local() {
                        faults.push(Fault::Plaintext(key));
                    }
                }
            }
        }
        if self.tls == Tls::Disable && self.ca_file.is_some() {
            faults.push(Fault::UnusedAuthority);
        }
        for (key, name) in [("database", Some(&*self.database)), ("user", self.administrator.user())] {
            if name.is_some_and(|name| !is_name(name)) {
                faults.push(Fault::Name(key));
            }
        }
        faults.extend(UserNames::new(&self.user_prefix, LONGEST_NAME).err().map(Fault::Prefix));
        for (key, duration) in [
            ("connect_timeout", self.connect_timeout),
            ("statement_timeout", self.statement_timeout),
            ("timeout", self.timeout),
        ] {
            if duration.is_zero() {
                faults.push(Fault::ZeroTimeout(key));
            }
        }
        if self.margin > Duration::from_secs(86_400) {
            faults.push(Fault::Margin);
        }
        if !(1..=64).contains(&self.connections) {
            faults.push(Fault::Connections);
        }
        for (name, role) in &self.roles {
            faults.extend(role.faults().into_iter().map(|fault| Fault::Role(name.clone(), fault)));
        }
        faults
    }

    /// Every server, with the key that names it.
    fn servers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        std::iter::once(("address", &*self.address))
            .chain(self.cluster.iter().map(|address| ("cluster", &**address)))
    }

    /// Every server that is well written.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        self.servers().filter_map(|(_, address)| Endpoint::of(address))
    }
}

impl Administrator {
    /// The secret that it is in, if that is where it is.
    pub fn secret(&self) -> Option<&SecretPath> {
        match self {
            Self::File { .. } => None,
            Self::Secret { path, .. } => Some(path),
        }
    }

    /// Its name, as far as the configuration says it.
    pub(crate) fn user(&self) -> Option<&str> {
        match self {
            Self::File { user, .. } => Some(user),
            Self::Secret { user, .. } => user.as_deref(),
        }
    }
}

impl Terminate {
    /// The names, in order.
    pub const ALL: [(&'static str, Self); 3] =
        [("never", Self::Never), ("retired-users", Self::RetiredUsers), ("always", Self::Always)];
}

impl Tls {
    /// The names, in order.
    pub const ALL: [(&'static str, Self); 3] =
        [("verify-full", Self::VerifyFull), ("verify-ca", Self::VerifyCa), ("disable", Self::Disable)];
}

impl Endpoint {
    fn of(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port)
            }
            None => text.split_at_checked(text.find(':').unwrap_or(text.len()))?,
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0)?,
            None if port.is_empty() => 5432,
            None => return None,
        };
        let named = |host: &str| {
            !host.is_empty()
                && host.len() <= 253
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        };
        (host.contains(':') || named(host)).then(|| Self { host: host.to_owned(), port })
    }

    fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// Whether a role, a database or another thing could have this name.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> PostgresConfig {
        PostgresConfig::new("db.example.com", "leasehold", "password")
    }

    #[test]
    fn addresses_are_hosts_and_ports() {
        for (text, host, port) in [
            ("db.example.com", "db.example.com", 5432),
            ("db:6432", "db", 6432),
            ("10.0.0.1:5433", "10.0.0.1", 5433),
            ("[::1]:5433", "::1", 5433),
            ("[::1]", "::1", 5432),
        ] {
            let found = Endpoint::of(text).unwrap();
            assert_eq!((&*found.host, found.port), (host, port), "{text}");
        }
        for bad in
            ["", ":5432", "db:", "db:0", "db:x", "a b", "postgres://db", "db/x", "[db]:1", "[::1]1", "a@b"]
        {
            assert_eq!(Endpoint::of(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_good_has_no_faults_and_every_fault_is_said_at_once() {
        assert_eq!(good().faults(), []);
        for address in ["localhost:5432", "127.0.0.1", "[::1]"] {
            let config = PostgresConfig { tls: Tls::Disable, address: address.into(), ..good() };
            assert_eq!(config.faults(), [], "{address}");
        }
        let bad = PostgresConfig {
            tls: Tls::Disable,
            ca_file: Some("ca.pem".into()),
            cluster: vec!["postgres://x".into()],
            database: String::new(),
            administrator: Administrator::File { user: "u".repeat(64), password_file: "p".into() },
            user_prefix: "LH".into(),
            timeout: Duration::ZERO,
            margin: Duration::from_secs(100_000),
            connections: 0,
            roles: BTreeMap::from([("r".to_owned(), PostgresRole::default())]),
            ..good()
        };
        let faults: Vec<_> = bad.faults().iter().map(ToString::to_string).collect();
        let expected = [
            "`address` has another machine, and `tls` is disabled",
            "`cluster` has what is not a host",
            "`ca_file` is for TLS",
            "`database` is a name",
            "`user` is a name",
            "`user_prefix`: the prefix",
            "`timeout` must be longer",
            "`margin` is at most",
            "`connections` is 1 to 64",
            "the role `r`: ",
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.starts_with(expected), "{fault}");
        }
    }
}
