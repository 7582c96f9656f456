//! `[listen]`: where the broker listens, and the certificates on both sides.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use super::{
    element::{Element, Wrong, text},
    fault::Place,
    section::Section,
};

/// Where and with which certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The addresses; this machine only, unless said otherwise.
    pub addresses: Vec<SocketAddr>,
    /// The broker's certificate chain (PEM), leaf first.
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// The authorities whose clients are let in (PEM).
    pub trust_bundle: PathBuf,
    /// What those authorities have revoked (PEM).
    pub crls: Vec<PathBuf>,
    /// Whether every authority must have a list.
    pub require_crl: bool,
    /// Whether a list past its next update is still taken.
    pub accept_stale_crl: bool,
    /// The oldest TLS that is spoken.
    pub min_tls: MinTls,
    /// Where the files are named.
    pub places: FilePlaces,
}

/// Where the files of the section are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlaces {
    /// `certificate`.
    pub certificate: Place,
    /// `key`.
    pub key: Place,
    /// `trust_bundle`.
    pub trust_bundle: Place,
    /// `crl`.
    pub crl: Place,
}

/// The oldest TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinTls {
    /// TLS 1.2 (RFC 5246) and 1.3.
    V12,
    /// TLS 1.3 (RFC 8446) only.
    #[default]
    V13,
}

/// Where the broker listens when nobody says.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

pub(super) fn read(section: Section<'_>) -> Option<Listen> {
    let addresses = section.or("address", vec![DEFAULT_ADDRESS]);
    if addresses.is_empty() {
        section.fault(
            section.place_of("address"),
            "`address` in [listen] is empty",
            "name at least one address",
        );
    }
    let certificate = section.required_path("certificate");
    let key = section.required_path("key");
    let trust_bundle = section.required_path("trust_bundle");
    let crls = section.paths("crl");
    let require_crl = section.or("require_crl", false);
    let accept_stale_crl = section.or("accept_stale_crl", false);
    let min_tls = section.or("min_tls", MinTls::default());
    let places = FilePlaces {
        certificate: section.place_of("certificate"),
        key: section.place_of("key"),
        trust_bundle: section.place_of("trust_bundle"),
        crl: section.place_of("crl"),
    };
    section.finish();
    Some(Listen {
        addresses,
        certificate: certificate?,
        key: key?,
        trust_bundle: trust_bundle?,
        crls,
        require_crl,
        accept_stale_crl,
        min_tls,
        places,
    })
}

impl Element for MinTls {
    const SHAPE: &'static str = "`\"1.3\"` or `\"1.2\"`";

    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Wrong> {
        match text::<Self>(value)? {
            "1.3" => Ok(Self::V13),
            "1.2" => Ok(Self::V12),
            _ => Err(Wrong::shape::<Self>()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::V12 => "1.2".to_owned(),
            Self::V13 => "1.3".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    const LEAST: &str = "certificate = 'c.pem'\nkey = 'k.pem'\ntrust_bundle = '/t/ca.pem'\n";

    #[test]
    fn the_defaults_are_strict() {
        let listen = read_section(LEAST, read).unwrap();
        assert_eq!(listen.addresses, ["127.0.0.1:8443".parse().unwrap()]);
        assert_eq!(listen.min_tls, MinTls::V13);
        assert_eq!(listen.certificate, PathBuf::from("/etc/leasehold/c.pem"));
        assert_eq!(listen.trust_bundle, PathBuf::from("/t/ca.pem"));
        assert!(listen.crls.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", "1:1: `certificate` is missing in [section]"),
            ("min_tls = '1.1'", "`min_tls` in [section] must be `\"1.3\"` or `\"1.2\"`"),
            ("min_tls = 1.3", "and is a float"),
            ("address = 'localhost:1'", "2:11: `address` in [section] is not an IP address with a port"),
            ("address = []", "`address` in [listen] is empty"),
            ("adress = '0.0.0.0:1'", "2:1: unknown key `adress` in [section]\n    did you mean `address`?"),
            ("crl = [1]", "`crl` in [section] must be a path"),
        ];
        for (toml, expected) in cases {
            let text = format!("{toml}\n{}", if toml.is_empty() { "" } else { LEAST });
            let faults = faults_of(&text, read);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
