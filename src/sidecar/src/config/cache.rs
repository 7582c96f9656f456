//! `[cache]`: what is kept, sealed, on disk, so that a restart without the broker has something to go on with.

use std::path::PathBuf;

use leasehold_config::Section;

use super::{Broker, Credentials};

/// Where values are kept, and under which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Whether anything is kept. Without, what was kept is removed.
    pub enabled: bool,
    /// The sealed file.
    pub file: PathBuf,
    /// What its key follows from.
    pub key: KeySource,
}

/// What the cache's key follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The bytes of this file, such as a systemd credential.
    File(PathBuf),
    /// The private key of the sidecar's identity, in this file: another key is another cache.
    Identity(PathBuf),
}

pub(super) fn read(section: Section<'_>, broker: Option<&Broker>) -> Option<Cache> {
    let enabled = section.or("enabled", true);
    let file = section.required_path("file");
    let given = section.path("key");
    let key = match (given, broker.map(|broker| &broker.credentials)) {
        (Some(file), _) => Some(KeySource::File(file)),
        (None, Some(Credentials::Files(files))) => Some(KeySource::Identity(files.key.clone())),
        (None, Some(Credentials::Workload { .. })) if !section.has("key") => {
            let message =
                "`key` is missing in [cache]: the key of a SPIFFE identity lives shorter than the cache";
            let help = "name a file of its own, such as `credential:sidecar-cache` with systemd's \
                        `LoadCredentialEncrypted=`";
            section.fault(section.place(), message, help);
            None
        }
        (None, _) => None,
    };
    section.finish();
    Some(Cache { enabled, file: file?, key: key? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    const SECRET: &str = "[[secret]]\nname = 'db'\npath = 'prod/db'\n[cache]\n";

    #[test]
    fn its_key_is_the_identitys_unless_said() {
        let cache = |toml: &str| config(&format!("{SECRET}{toml}")).unwrap().cache.unwrap();
        let identity = cache("file = '/var/x'\n");
        assert!(identity.enabled);
        assert_eq!(identity.key, KeySource::Identity("/run/identity/tls.key".into()));
        let own = cache("file = '/var/x'\nkey = 'k'\nenabled = false\n");
        assert_eq!((own.enabled, own.key), (false, KeySource::File("/etc/leasehold/k".into())));
        assert!(
            config(&format!("{SECRET}key = 'k'\n")).unwrap_err().to_string().contains("`file` is missing")
        );
    }
}
