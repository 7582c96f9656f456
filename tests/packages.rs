//! The Debian package: what is in it, and that it is installed, used and removed. In a root of its own, with the programs
//! under test.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use leasehold_provider_conformance::peers::{self, PeerError};
use leasehold_tests::{
    authority::{Authority, Leaf},
    binaries,
    site::write_private,
};

#[test]
fn the_package_is_installed_used_and_removed() {
    let Some(nfpm) = peers::or_skip(tools()).unwrap() else { return };
    let work = tempfile::tempdir().unwrap();
    let package = built(work.path(), &nfpm);
    has_what_it_should(&package);

    let root = Root::new(work.path().join("root"));
    root.dpkg(&["--install", package.to_str().unwrap()]);
    root.is_ready();
    root.check_config_passes();

    root.dpkg(&["--remove", "leasehold"]);
    assert!(!root.path("usr/bin/leaseholdd").exists());
    assert!(root.path("etc/leasehold/leasehold.toml").exists(), "a removal keeps the configuration");
    root.dpkg(&["--purge", "leasehold"]);
    assert!(!root.path("etc/leasehold/leasehold.toml").exists());
    assert!(root.path("etc/leasehold/credentials/seal.key").exists(), "nothing ever takes the keys");
    assert!(root.path("var/lib/leasehold").exists(), "nor the state");
}

/// nfpm, where a package can be built and installed at all: by root, on a Debian.
fn tools() -> Result<PathBuf, PeerError> {
    for program in ["dpkg", "systemd-sysusers", "systemd-tmpfiles", "strip"] {
        peers::find(program)?;
    }
    if !rustix::process::geteuid().is_root() {
        return Err(PeerError::NotInstalled("root, by whom alone dpkg installs,"));
    }
    peers::find("nfpm")
}

fn built(work: &Path, nfpm: &Path) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = env::join_paths(
        [nfpm.parent().unwrap().to_owned()]
            .into_iter()
            .chain(env::split_paths(&env::var_os("PATH").unwrap())),
    );
    let programs = binaries::leaseholdd();
    let printed = succeeded(
        Command::new(sources.join("packaging/build"))
            .args(["--bin-dir".as_ref(), programs.parent().unwrap()])
            .args(["--out".as_ref(), work])
            .env("PATH", path.unwrap()),
    );
    let names: Vec<&Path> = printed.lines().map(Path::new).collect();
    let [package, tarball] = names[..] else { panic!("a package and a tarball are made, not {printed}") };
    assert!(package.is_file() && tarball.is_file(), "{printed}");
    let listed = succeeded(Command::new("tar").args(["--list", "--gzip", "--file"]).arg(tarball));
    assert!(listed.lines().any(|name| name.ends_with("/usr/bin/leasehold-sidecar")), "{listed}");
    package.to_owned()
}

fn has_what_it_should(package: &Path) {
    let field = |name: &str| succeeded(Command::new("dpkg-deb").arg("--field").arg(package).arg(name));
    assert_eq!(field("Package").trim(), "leasehold");
    assert_eq!(field("Version").trim(), env!("CARGO_PKG_VERSION"));
    assert!(field("Depends").contains("libc6"));

    let contents = succeeded(Command::new("dpkg-deb").arg("--contents").arg(package));
    let modes: BTreeMap<&str, &str> = contents
        .lines()
        .filter_map(|line| Some((line.split_whitespace().nth(5)?, line.split_whitespace().next()?)))
        .collect();
    let (program, file, private) = ("-rwxr-xr-x", "-rw-r--r--", "-rw-r-----");
    for (path, mode) in [
        ("./usr/bin/leaseholdd", program),
        ("./usr/bin/leasehold", program),
        ("./usr/bin/leasehold-sidecar", program),
        ("./usr/lib/systemd/system/leaseholdd.service", file),
        ("./usr/lib/systemd/system/leasehold-sidecar@.service", file),
        ("./usr/lib/sysusers.d/leasehold.conf", file),
        ("./usr/lib/tmpfiles.d/leasehold.conf", file),
        ("./etc/leasehold/leasehold.toml", private),
        ("./etc/leasehold/policies/00-guardrail.cedar", private),
        ("./usr/share/doc/leasehold/copyright", file),
        ("./usr/share/doc/leasehold/docs/running.md", file),
        ("./usr/share/doc/leasehold/examples/vault.toml", file),
        ("./usr/share/man/man1/leasehold.1.gz", file),
        ("./usr/share/man/man1/leasehold-sidecar.1.gz", file),
        ("./usr/share/man/man5/leasehold.toml.5.gz", file),
        ("./usr/share/man/man5/leasehold-sidecar.toml.5.gz", file),
        ("./usr/share/man/man8/leaseholdd.8.gz", file),
        ("./usr/share/bash-completion/completions/leasehold", file),
    ] {
        assert_eq!(modes.get(path), Some(&mode), "{path} in:\n{contents}");
    }
    assert!(contents.lines().all(|line| line.contains(" root/root ")), "everything is root's:\n{contents}");
    let kept = succeeded(Command::new("dpkg-deb").arg("--info").arg(package).arg("conffiles"));
    assert!(
        kept.lines().count() >= 5 && kept.lines().all(|path| path.starts_with("/etc/leasehold/")),
        "{kept}"
    );
}

/// A machine that has nothing but dpkg's own books.
struct Root(PathBuf);

impl Root {
    fn new(root: PathBuf) -> Self {
        for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
        Self(root)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Without what the package depends on, and with its scripts run out here.
    fn dpkg(&self, args: &[&str]) {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg("--root").arg(&self.0).args([
            "--force-depends",
            "--force-script-chrootless",
            "--log=/dev/null",
        ]);
        succeeded(dpkg.args(args));
    }

    /// The user is there, and the folders are his or root's alone.
    fn is_ready(&self) {
        let users = fs::read_to_string(self.path("etc/passwd")).unwrap();
        let user = users.lines().find(|line| line.starts_with("leasehold:")).expect("there is a user");
        let (uid, gid) = (user.split(':').nth(2).unwrap(), user.split(':').nth(3).unwrap());
        let [uid, gid]: [u32; 2] = [uid, gid].map(|id| id.parse().unwrap());
        for (name, mode, owner, group) in [
            ("etc/leasehold", 0o750, 0, gid),
            ("etc/leasehold/leasehold.toml", 0o640, 0, gid),
            ("etc/leasehold/policies/20-operators.cedar", 0o640, 0, gid),
            ("etc/leasehold/credentials", 0o700, 0, 0),
            ("var/lib/leasehold", 0o700, uid, gid),
        ] {
            let found = fs::metadata(self.path(name)).unwrap();
            let found = (found.permissions().mode() & 0o7777, found.uid(), found.gid());
            assert_eq!(found, (mode, owner, group), "{name}");
        }
    }

    /// What docs/running.md says to add makes the installed configuration good.
    fn check_config_passes(&self) {
        let credentials = self.path("etc/leasehold/credentials");
        let leaseholdd = self.path("usr/bin/leaseholdd");
        succeeded(Command::new(&leaseholdd).args(["init", "--key-file"]).arg(credentials.join("seal.key")));
        let config = self.path("etc/leasehold/leasehold.toml");
        let check = || {
            let mut check = Command::new(&leaseholdd);
            check.arg("check-config").arg("--config").arg(&config).env("CREDENTIALS_DIRECTORY", &credentials);
            check.output().unwrap()
        };
        let early = check();
        assert!(!early.status.success() && said(&early).contains("tls.key"), "{}", said(&early));

        let authority = Authority::new("packages");
        let broker = authority.sign(&Leaf::server("spiffe://example.org/leasehold/broker"));
        write_private(&credentials.join("tls.key"), &broker.key);
        fs::create_dir(self.path("etc/leasehold/tls")).unwrap();
        fs::write(self.path("etc/leasehold/tls/server.pem"), &broker.certificate).unwrap();
        fs::write(self.path("etc/leasehold/tls/clients.pem"), authority.bundle()).unwrap();
        let checked = check();
        assert!(checked.status.success(), "{}", said(&checked));
    }
}

fn succeeded(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said)).concat()
}
