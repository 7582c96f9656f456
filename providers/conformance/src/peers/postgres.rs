//! A real PostgreSQL with passwords, on loopback, in a folder of its own.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, config::SslMode, error::SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Peer, PeerError, bao::unguessable, find, folders, port::on_a_free_port, process::Ending};
use crate::authority::Authority;

/// A `postgres`.
pub struct Postgres {
    peer: Peer,
    port: u16,
    password: String,
    home: TempDir,
    settings: Vec<String>,
}

/// Somebody who is signed in, until it is dropped.
pub struct Session(Client);

/// Somebody who is not root, as whom PostgreSQL agrees to run.
#[derive(Clone, Copy)]
struct Nobody {
    uid: u32,
    gid: u32,
}

const PROGRAM: &str = "postgres";

impl Postgres {
    /// What it is, as reports name it.
    pub const VERSION: &str = "PostgreSQL";

    /// The user that may do everything.
    pub const SUPERUSER: &str = "postgres";

    /// Makes a new cluster and starts it. It forgets what a power cut interrupts, and is the faster for it.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub async fn start() -> Result<Self, PeerError> {
        Self::start_with("fsync=off").await
    }

    /// As [`Postgres::start`], one that makes every commit durable, as those do that it is compared with.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub async fn start_durable() -> Result<Self, PeerError> {
        Self::start_with("fsync=on").await
    }

    /// As [`Postgres::start`], with settings of the test's own, such as `log_statement=all`.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub async fn start_set(settings: &[&str]) -> Result<Self, PeerError> {
        let mut all = vec!["fsync=off"];
        all.extend(settings);
        Self::start_in(tempfile::tempdir().map_err(not_started)?, &all).await
    }

    /// As [`Postgres::start`], one that also speaks TLS, with a certificate of this authority for loopback. It listens on
    /// 127.0.0.2 too, which is not in the certificate.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub async fn start_tls(authority: &Authority) -> Result<Self, PeerError> {
        Self::start_tls_with("fsync=off", authority).await
    }

    /// As [`Postgres::start_tls`], one that makes every commit durable.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub async fn start_durable_tls(authority: &Authority) -> Result<Self, PeerError> {
        Self::start_tls_with("fsync=on", authority).await
    }

    async fn start_tls_with(durability: &str, authority: &Authority) -> Result<Self, PeerError> {
        let home = tempfile::tempdir().map_err(not_started)?;
        let identity = authority.server(&[]).map_err(not_started)?;
        let mut settings = vec!["ssl=on".to_owned(), "listen_addresses=127.0.0.1,127.0.0.2".to_owned()];
        for (name, setting, pem) in [
            ("server.pem", "ssl_cert_file", &identity.certificate),
            ("server.key", "ssl_key_file", &identity.key),
        ] {
            let path = home.path().join(name);
            fs::write(&path, pem).map_err(not_started)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(not_started)?;
            settings.push(format!("{setting}={}", path.display()));
        }
        let settings: Vec<_> = std::iter::once(durability).chain(settings.iter().map(|one| &**one)).collect();
        Self::start_in(home, &settings).await
    }

    async fn start_with(durability: &str) -> Result<Self, PeerError> {
        Self::start_in(tempfile::tempdir().map_err(not_started)?, &[durability]).await
    }

    async fn start_in(home: TempDir, settings: &[&str]) -> Result<Self, PeerError> {
        let programs = programs()?;
        let nobody = somebody()?;
        let password = unguessable();
        let data = home.path().join("data");
        let secret = home.path().join("password");
        fs::write(&secret, &password).map_err(not_started)?;
        if let Some(nobody) = nobody {
            let inside = fs::read_dir(home.path()).map_err(not_started)?;
            let inside = inside.filter_map(|entry| Some(entry.ok()?.path()));
            for path in inside.chain([home.path().to_owned()]) {
                chown(path, Some(nobody.uid), Some(nobody.gid)).map_err(not_started)?;
            }
        }
        let mut command = command(&programs.join("initdb"), nobody, home.path())?;
        command.args(["--username", Self::SUPERUSER, "--auth", "scram-sha-256", "--no-sync"]);
        command.args(["--encoding", "UTF8", "--locale", "C", "--no-instructions", "--pgdata"]).arg(&data);
        command.arg("--pwfile").arg(&secret);
        // It ends by itself; that it has begun to say so is not enough.
        let output = tokio::process::Command::from(command).output().await.map_err(not_started)?;
        if !output.status.success() {
            return Err(not_started(String::from_utf8_lossy(&output.stderr)));
        }
        let settings: Vec<_> = settings.iter().map(|&one| one.to_owned()).collect();
        let (peer, port) = on_a_free_port(PROGRAM, async |port| {
            Ok((launch(&programs, nobody, home.path(), port, &settings).await?, port))
        })
        .await?;
        Ok(Self { peer, port, password, home, settings })
    }

    /// The same server, stopped at once and started again where it was.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restarted(self) -> Result<Self, PeerError> {
        let Self { peer, port, password, home, settings } = self;
        drop(peer);
        let peer = launch(&programs()?, somebody()?, home.path(), port, &settings).await?;
        Ok(Self { peer, port, password, home, settings })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Everything that it has logged: among it who connected.
    pub fn log(&self) -> String {
        self.peer.output()
    }

    /// Where OpenBao's database engine finds it: it fills in the user's name and password itself.
    pub fn connection_url(&self) -> String {
        format!("postgresql://{{{{username}}}}:{{{{password}}}}@{}/postgres?sslmode=disable", self.address())
    }

    /// Runs statements as the superuser; the rows that they return, each with its columns as text.
    ///
    /// # Errors
    /// With the server's message.
    pub async fn run(&self, statements: &str) -> Result<Vec<Vec<String>>, String> {
        self.run_in("postgres", statements).await
    }

    /// As [`Postgres::run`], in another database.
    ///
    /// # Errors
    /// With the server's message.
    pub async fn run_in(&self, database: &str, statements: &str) -> Result<Vec<Vec<String>>, String> {
        self.open(Self::SUPERUSER, &self.password, database).await?.run(statements).await
    }

    /// Signs somebody in.
    ///
    /// # Errors
    /// With the server's message.
    pub async fn open(&self, user: &str, password: &str, database: &str) -> Result<Session, String> {
        self.client(user, password, database).await.map(Session).map_err(|error| told(&error))
    }

    /// Signs somebody in over TLS, to a server that this authority has signed.
    ///
    /// # Errors
    /// With the server's message.
    pub async fn open_tls(
        &self,
        user: &str,
        password: &str,
        database: &str,
        authority: &Authority,
    ) -> Result<Session, String> {
        let tls = authority.trusting(None).map_err(|error| error.to_string())?;
        let mut config = self.config(user, password, database);
        config.ssl_mode(SslMode::Require);
        let connecting = config.connect(MakeRustlsConnect::new((*tls).clone()));
        let (client, connection) = connecting.await.map_err(|error| told(&error))?;
        tokio::spawn(connection);
        Ok(Session(client))
    }

    /// Whether this user gets in with this password.
    ///
    /// # Errors
    /// When the server says neither yes nor no.
    pub async fn lets_in(&self, user: &str, password: &str) -> Result<bool, String> {
        match self.client(user, password, "postgres").await {
            Ok(client) => client.simple_query("select 1").await.map(|_| true).map_err(|error| told(&error)),
            Err(error) => match error.code() {
                Some(code)
                    if *code == SqlState::INVALID_PASSWORD
                        || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION =>
                {
                    Ok(false)
                }
                _ => Err(told(&error)),
            },
        }
    }

    async fn client(
        &self,
        user: &str,
        password: &str,
        database: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config(user, password, database).connect(NoTls).await?;
        // It ends when its client is dropped.
        tokio::spawn(connection);
        Ok(client)
    }

    fn config(&self, user: &str, password: &str, database: &str) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user(user).password(password).dbname(database);
        config.connect_timeout(Duration::from_secs(30));
        config
    }
}

impl Session {
    /// Runs statements; the rows that they return, each with its columns as text.
    ///
    /// # Errors
    /// With the server's message.
    pub async fn run(&self, statements: &str) -> Result<Vec<Vec<String>>, String> {
        let messages = self.0.simple_query(statements).await.map_err(|error| told(&error))?;
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect())
            }
            _ => None,
        };
        Ok(messages.iter().filter_map(row).collect())
    }
}

/// Starts a server on what `initdb` has made.
async fn launch(
    programs: &Path,
    nobody: Option<Nobody>,
    home: &Path,
    port: u16,
    settings: &[String],
) -> Result<Peer, PeerError> {
    let mut command = command(&programs.join(PROGRAM), nobody, home)?;
    command.arg("-D").arg(home.join("data")).args(["-p", &port.to_string()]);
    let ours = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        "log_connections=on",
    ];
    for setting in ours.into_iter().chain(settings.iter().map(|one| &**one)) {
        command.args(["-c", setting]);
    }
    let ready = "database system is ready to accept connections";
    Peer::start_ending(PROGRAM, command, ready, Ending::Quit).await
}

/// Where its programs are: on the `PATH`, in Debian's place (the newest), or where the project's own script puts them.
fn programs() -> Result<PathBuf, PeerError> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut installed: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_str()?.parse::<u32>().ok()?, path.join("bin")))
        })
        .collect();
    installed.sort();
    let fetched = folders().into_iter().filter_map(|bin| Some(bin.parent()?.join("postgres/bin")));
    env::split_paths(&path)
        .chain(installed.into_iter().rev().map(|(_, bin)| bin))
        .chain(fetched)
        .find(|bin| bin.join(PROGRAM).is_file() && bin.join("initdb").is_file())
        .ok_or(PeerError::NotInstalled(PROGRAM))
}

/// One of its programs, as somebody who is not root, in a folder that this somebody can enter.
fn command(program: &Path, nobody: Option<Nobody>, home: &Path) -> Result<Command, PeerError> {
    let mut command = match nobody {
        None => Command::new(program),
        Some(Nobody { uid, gid }) => {
            let mut command = Command::new(find("setpriv")?);
            command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
            // Changing the user forgets the parent's death signal, so it is asked for again.
            command.args(["--pdeathsig", "QUIT", "--"]).arg(program);
            command
        }
    };
    command.current_dir(home).env("HOME", home).env("LC_ALL", "C");
    Ok(command)
}

/// As whom it runs, when not as we do.
fn somebody() -> Result<Option<Nobody>, PeerError> {
    if rustix::process::geteuid().is_root() { nobody().map(Some) } else { Ok(None) }
}

fn nobody() -> Result<Nobody, PeerError> {
    let users = fs::read_to_string("/etc/passwd").map_err(not_started)?;
    let numbers = users.lines().find_map(|line| {
        let mut parts = line.strip_prefix("nobody:")?.split(':').skip(1);
        Some(Nobody { uid: parts.next()?.parse().ok()?, gid: parts.next()?.parse().ok()? })
    });
    numbers.ok_or_else(|| not_started("it does not run as root, and there is no user `nobody`"))
}

fn told(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

fn not_started(why: impl ToString) -> PeerError {
    PeerError::NotStarted(PROGRAM, why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::or_skip;

    #[tokio::test]
    async fn it_lets_in_whom_it_knows_while_it_knows_them() {
        let Some(postgres) = or_skip(Postgres::start().await).unwrap() else { return };
        assert!(postgres.lets_in(Postgres::SUPERUSER, postgres.password()).await.unwrap());
        assert!(!postgres.lets_in(Postgres::SUPERUSER, "wrong").await.unwrap());
        postgres.run("create role app login password 'hunter2'").await.unwrap();
        assert!(postgres.lets_in("app", "hunter2").await.unwrap());
        let rows = postgres.run("select rolname from pg_roles where rolname = 'app'").await.unwrap();
        assert_eq!(rows, [["app"]]);
        postgres.run("drop role app").await.unwrap();
        assert!(!postgres.lets_in("app", "hunter2").await.unwrap());
        let process = PathBuf::from(format!("/proc/{}", postgres.peer.pid()));
        assert!(process.exists());
        drop(postgres);
        assert!(!process.exists());
    }
}
