//! The quickstart's folder: identities, configuration, policies, values. Private, marked as ours, made anew each time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use leasehold_client::Address;
use leasehold_core::SpiffeId;
use rcgen::SanType;
use rustix::fs::{FlockOperation, flock};

use super::authority::{Authority, Issued};
use crate::{clock, exit::Failure};

/// The folder and what it was made with.
pub(super) struct Site {
    dir: PathBuf,
    address: Address,
    /// Held as long as the quickstart runs, so that no other one takes the folder away under it.
    _lock: File,
}

/// Who is who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The operator.
    Admin,
    /// The workload that may lease the secret.
    Payments,
    /// The workload that may not.
    Orders,
}

/// The marker and lock. A folder without it is not ours to remove anything from.
const MARKER: &str = ".leasehold-quickstart";
const DOMAIN: &str = "spiffe://quickstart.test";
const GUARDRAIL: &str = include_str!("../../../../config/policies/00-guardrail.cedar");
const SCHEDULER: &str = include_str!("../../../../config/policies/30-scheduler.cedar");
const POLICIES: &str = include_str!("policies.cedar");
const CONFIG: &str = include_str!("leasehold.toml");

/// What the tour writes as a secret. Everybody can read it here: it opens nothing.
pub(super) const USERNAME: &str = "payments_app";
pub(super) const PASSWORD: &str = "correct-horse-battery-staple";

impl Site {
    /// Makes the folder, in place of an earlier one.
    pub(super) fn make(dir: &Path) -> Result<Self, Failure> {
        let lock = claim(dir)?;
        let dir = fs::canonicalize(dir).map_err(|why| Failure::failed(dir.display(), why))?;
        let port = free_port()?;
        let site = Self { address: loopback(port)?, dir, _lock: lock };
        site.identities()?;
        site.write("policies/00-guardrail.cedar", GUARDRAIL.as_bytes())?;
        site.write("policies/10-quickstart.cedar", POLICIES.as_bytes())?;
        site.write("policies/30-scheduler.cedar", SCHEDULER.as_bytes())?;
        site.write("leasehold.toml", CONFIG.replace("{port}", &port.to_string()).as_bytes())?;
        site.write("values/username", USERNAME.as_bytes())?;
        site.write("values/password", PASSWORD.as_bytes())?;
        Ok(site)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the broker listens.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The broker's configuration.
    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("leasehold.toml")
    }

    /// What the broker says.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("broker.log")
    }

    /// The audit journal.
    pub(super) fn journal(&self) -> PathBuf {
        self.dir.join("state/journal")
    }

    /// A file with a value to write.
    pub(super) fn value(&self, field: &str) -> PathBuf {
        self.dir.join("values").join(field)
    }

    /// The folder with somebody's certificate, key and trust bundle.
    pub(super) fn identity(&self, who: Who) -> PathBuf {
        self.dir.join(who.name())
    }

    fn identities(&self) -> Result<(), Failure> {
        let authority = Authority::new(clock::now())?;
        let bundle = authority.certificate();
        for who in [Who::Admin, Who::Payments, Who::Orders] {
            let Issued { certificate, key } = authority.issue(&who.id()?, &[])?;
            self.write(&format!("{}/tls.crt", who.name()), certificate.as_bytes())?;
            self.write(&format!("{}/tls.key", who.name()), key.as_bytes())?;
            self.write(&format!("{}/ca.crt", who.name()), bundle.as_bytes())?;
        }
        let hosts = [SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
        let Issued { certificate, key } = authority.issue(&spiffe("/leasehold/broker")?, &hosts)?;
        self.write("broker/tls.crt", certificate.as_bytes())?;
        self.write("broker/tls.key", key.as_bytes())?;
        self.write("broker/clients.crt", bundle.as_bytes())
    }

    /// Writes a file that only its owner can read, in a folder of which the same holds.
    fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        let path = self.dir.join(name);
        let write = || {
            if let Some(folder) = path.parent() {
                private_dir(folder)?;
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(content)
        };
        write().map_err(|why: io::Error| Failure::failed(path.display(), why))
    }
}

impl Who {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Payments => "payments",
            Self::Orders => "orders",
        }
    }

    /// The SPIFFE ID.
    pub(super) fn id(self) -> Result<SpiffeId, Failure> {
        spiffe(match self {
            Self::Admin => "/operator/admin",
            Self::Payments => "/prod/payments/api",
            Self::Orders => "/prod/orders/api",
        })
    }
}

/// Makes the folder, or empties one that an earlier quickstart made, and locks it.
fn claim(dir: &Path) -> Result<File, Failure> {
    let about = |why: io::Error| Failure::failed(dir.display(), why);
    let marker = dir.join(MARKER);
    let is_new = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            private_dir(dir).map_err(about)?;
            true
        }
        Err(why) => return Err(about(why)),
    };
    if !is_new && !marker.is_file() {
        return Err(Failure::usage(format!(
            "{} is not empty and no earlier quickstart made it: give another folder with --dir",
            dir.display()
        )));
    }
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&marker)
        .map_err(about)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Failure::usage(format!("another quickstart runs in {}: end it, or give --dir", dir.display()))
    })?;
    for entry in fs::read_dir(dir).map_err(about)? {
        let path = entry.map_err(about)?.path();
        if path != marker {
            let removed = if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(|why| Failure::failed(path.display(), why))?;
        }
    }
    Ok(lock)
}

fn private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// A port that nobody has just now. The broker says so if somebody takes it in between.
fn free_port() -> Result<u16, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|why| Failure::failed("no port is to be had on 127.0.0.1", why))
}

fn loopback(port: u16) -> Result<Address, Failure> {
    format!("127.0.0.1:{port}").parse().map_err(|why| Failure::failed("the broker's address", why))
}

fn spiffe(path: &str) -> Result<SpiffeId, Failure> {
    format!("{DOMAIN}{path}").parse().map_err(|why| Failure::failed("a SPIFFE ID", why))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use leasehold_client::Identity;
    use leasehold_core::principal::TrustDomain;
    use leasehold_policy::{Policies, PolicySettings};

    use super::*;

    #[test]
    fn the_folder_is_private_and_complete() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("quickstart");
        let site = Site::make(&dir).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        let payments = site.identity(Who::Payments);
        assert_eq!(mode(&payments.join("tls.key")), 0o600);
        let identity = Identity::from_files(&payments.join("tls.crt"), &payments.join("tls.key")).unwrap();
        assert_eq!(identity.id(), Some(&Who::Payments.id().unwrap()));
        let config = fs::read_to_string(site.config()).unwrap();
        assert!(config.contains(&format!("\"{}\"", site.address())), "{config}");
        toml::from_str::<toml::Table>(&config).unwrap();
    }

    #[test]
    fn the_policies_are_good() {
        let folder = tempfile::tempdir().unwrap();
        let site = Site::make(&folder.path().join("q")).unwrap();
        let domain: TrustDomain = "quickstart.test".parse().unwrap();
        let policies = Policies::load(&site.dir().join("policies"), PolicySettings::new(domain));
        assert!(policies.is_ok(), "{:?}", policies.err());
    }

    #[test]
    fn only_a_folder_of_ours_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("quickstart");
        let first = Site::make(&dir).unwrap();
        let busy = Site::make(&dir).err().unwrap().message;
        assert!(busy.contains("another quickstart runs"), "{busy}");
        let stale = first.dir().join("state");
        private_dir(&stale).unwrap();
        drop(first);
        let _second = Site::make(&dir).unwrap();
        assert!(!stale.exists());
        fs::write(folder.path().join("mine"), "x").unwrap();
        let refused = Site::make(folder.path()).err().unwrap().message;
        assert!(refused.contains("is not empty"), "{refused}");
        assert!(folder.path().join("mine").exists());
    }
}
