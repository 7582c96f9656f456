//! `[broker]`: where the broker is, and who the sidecar is to it.

use std::{path::PathBuf, time::Duration};

use leasehold_client::{Address, Builder};
use leasehold_config::{Found, Section};
use leasehold_core::SpiffeId;

/// Where the broker is, and who the sidecar is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Where it listens; tried in this order. INVARIANT: not empty.
    pub addresses: Vec<Address>,
    /// Its SPIFFE ID, when it is not known by its host name.
    pub server_id: Option<SpiffeId>,
    /// Who the sidecar is.
    pub credentials: Credentials,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// Where the sidecar's identity comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// PEM files, read again when they change.
    Files(IdentityFiles),
    /// The SPIFFE Workload API.
    Workload {
        /// Its endpoint, such as `unix:///run/spire/agent.sock`.
        endpoint: String,
    },
}

/// The files of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The authorities that the broker's certificate must come from.
    pub trust_bundle: PathBuf,
}

impl Broker {
    /// How a client of it is made. Files are read when it connects, and again when they change.
    pub fn builder(&self) -> Builder {
        let builder =
            Builder::default().addresses(self.addresses.iter().cloned()).request_timeout(self.timeout);
        let builder = match &self.credentials {
            Credentials::Files(IdentityFiles { certificate, key, trust_bundle }) => {
                builder.identity_files(certificate, key).trust_file(trust_bundle)
            }
            Credentials::Workload { endpoint } => builder.workload_api(endpoint),
        };
        match &self.server_id {
            Some(id) => builder.server_id(id.clone()),
            None => builder,
        }
    }
}

pub(super) fn read(section: Section<'_>) -> Option<Broker> {
    let addresses = section.required_at::<Vec<String>>("addresses").and_then(|found| parsed(found, &section));
    let (server_id, id_is_good) = match section.take::<String>("server_id") {
        None => (None, true),
        Some(found) => match found.value.parse::<SpiffeId>() {
            Ok(id) => (Some(id), true),
            Err(error) => {
                let message = format!("`server_id` in [broker] is not a SPIFFE ID: {error}");
                section.fault(found.place, message, "such as `spiffe://example.org/leasehold/broker`");
                (None, false)
            }
        },
    };
    let credentials = credentials(&section);
    let bounds = Duration::from_secs(1)..=Duration::from_secs(600);
    let timeout = section.within("timeout", Duration::from_secs(30), bounds);
    section.finish();
    let broker = Broker { addresses: addresses?, server_id, credentials: credentials?, timeout };
    id_is_good.then_some(broker)
}

fn parsed(found: Found<Vec<String>>, section: &Section<'_>) -> Option<Vec<Address>> {
    if found.value.is_empty() {
        let help = "name at least one, such as `broker.example.org:8443`";
        section.fault(found.place, "`addresses` in [broker] is empty", help);
        return None;
    }
    let each = |text: &String| {
        let fault = |error| {
            section.fault(
                found.place.clone(),
                format!("`addresses` in [broker]: {error}"),
                "write `host:port`",
            );
        };
        text.parse().map_err(fault).ok()
    };
    found.value.iter().map(each).collect()
}

/// Exactly one of: a folder, three files, the Workload API.
fn credentials(section: &Section<'_>) -> Option<Credentials> {
    let folder = section.path("identity");
    let files = ["certificate", "key", "trust_bundle"];
    let [certificate, key, trust_bundle] = files.map(|file| section.path(file));
    let endpoint = section.optional::<String>("spiffe_endpoint_socket");
    let has_files = files.iter().any(|file| section.has(file));
    let ways = [section.has("identity"), has_files, section.has("spiffe_endpoint_socket")];
    let help = "write `identity` (a folder with tls.crt, tls.key and ca.crt), or `certificate`, `key` and \
                `trust_bundle`, or `spiffe_endpoint_socket`";
    match ways {
        [false, false, false] => {
            section.fault(section.place(), "[broker] does not say who the sidecar is", help);
            None
        }
        [true, false, false] => {
            let folder = folder?;
            Some(Credentials::Files(IdentityFiles {
                certificate: folder.join("tls.crt"),
                key: folder.join("tls.key"),
                trust_bundle: folder.join("ca.crt"),
            }))
        }
        [false, true, false] => {
            for file in files.iter().filter(|file| !section.has(file)) {
                section.fault(section.place(), format!("`{file}` is missing in [broker]"), help);
            }
            Some(Credentials::Files(IdentityFiles {
                certificate: certificate?,
                key: key?,
                trust_bundle: trust_bundle?,
            }))
        }
        [false, false, true] => Some(Credentials::Workload { endpoint: endpoint? }),
        _ => {
            section.fault(section.place(), "[broker] says in more than one way who the sidecar is", help);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    #[test]
    fn an_identity_is_given_in_one_way() {
        let folder = read_section("addresses = ['a:1', 'b']\nidentity = 'id'", read).unwrap();
        assert_eq!(folder.addresses.len(), 2);
        let Credentials::Files(files) = folder.credentials else { panic!("files") };
        assert_eq!(files.key, PathBuf::from("/etc/leasehold/id/tls.key"));
        let cases = [
            ("addresses = 'a'", "does not say who the sidecar is"),
            ("addresses = 'a'\nkey = 'k'", "`certificate` is missing in [broker]"),
            ("addresses = 'a'\nkey = 'k'\nidentity = 'i'", "more than one way"),
            ("addresses = 'a:0'\nidentity = 'i'", "`0` is not a port"),
            ("addresses = []\nidentity = 'i'", "`addresses` in [broker] is empty"),
            (
                "addresses = 'a'\nidentity = 'i'\nserver_id = 'x'",
                "`server_id` in [broker] is not a SPIFFE ID",
            ),
        ];
        for (toml, expected) in cases {
            let faults = faults_of(toml, read);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
