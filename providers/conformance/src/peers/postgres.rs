//! A real PostgreSQL with passwords, on loopback, in a folder of its own.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, error::SqlState};

use super::{Peer, PeerError, bao::unguessable, find, folders, port::on_a_free_port, process::Ending};

/// A `postgres`.
pub struct Postgres {
    peer: Peer,
    port: u16,
    password: String,
    _home: TempDir,
}

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

    async fn start_with(durability: &str) -> Result<Self, PeerError> {
        let programs = programs()?;
        let nobody = if rustix::process::geteuid().is_root() { Some(nobody()?) } else { None };
        let password = unguessable();
        let home = tempfile::tempdir().map_err(not_started)?;
        let data = home.path().join("data");
        let secret = home.path().join("password");
        fs::write(&secret, &password).map_err(not_started)?;
        if let Some(nobody) = nobody {
            for path in [home.path(), &secret] {
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
        let (peer, port) = on_a_free_port(PROGRAM, async |port| {
            let mut command = self::command(&programs.join(PROGRAM), nobody, home.path())?;
            command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
            for setting in [
                "listen_addresses=127.0.0.1",
                "unix_socket_directories=",
                durability,
                "max_connections=200",
                "log_connections=on",
            ] {
                command.args(["-c", setting]);
            }
            let ready = "database system is ready to accept connections";
            Ok((Peer::start_ending(PROGRAM, command, ready, Ending::Quit).await?, port))
        })
        .await?;
        Ok(Self { peer, port, password, _home: home })
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
        let client = self.client(Self::SUPERUSER, &self.password).await.map_err(|error| told(&error))?;
        let messages = client.simple_query(statements).await.map_err(|error| told(&error))?;
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect())
            }
            _ => None,
        };
        Ok(messages.iter().filter_map(row).collect())
    }

    /// Whether this user gets in with this password.
    ///
    /// # Errors
    /// When the server says neither yes nor no.
    pub async fn lets_in(&self, user: &str, password: &str) -> Result<bool, String> {
        match self.client(user, password).await {
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

    async fn client(&self, user: &str, password: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user(user).password(password).dbname("postgres");
        config.connect_timeout(Duration::from_secs(30));
        let (client, connection) = config.connect(NoTls).await?;
        // It ends when its client is dropped.
        tokio::spawn(connection);
        Ok(client)
    }
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
