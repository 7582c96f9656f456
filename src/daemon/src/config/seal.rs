//! `[seal]`: the key under which state and local secrets are kept at rest.

use std::path::PathBuf;

use super::{fault::Place, section::Section};

/// Where the key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The key ring's file, readable by the broker's user only; `credential:NAME` was one that systemd hands over.
    pub key_file: PathBuf,
    /// Where `key_file` stands.
    pub place: Place,
}

pub(super) fn read(section: Section<'_>) -> Option<Seal> {
    let key_file = section.required_path("key_file");
    let place = section.place_of("key_file");
    section.finish();
    Some(Seal { key_file: key_file?, place })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    #[test]
    fn a_file_or_a_credential() {
        let seal = read_section("key_file = 'seal.key'", read).unwrap();
        assert_eq!(seal.key_file, PathBuf::from("/etc/leasehold/seal.key"));
        assert!(faults_of("", read).contains("`key_file` is missing"));
        assert!(faults_of("key_file = 'credential:a/b'", read).contains("`a/b` is not a credential's name"));
    }
}
