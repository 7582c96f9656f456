//! What stands of a secret beside its versions' files: which version was promoted, which are disabled or destroyed, and
//! whether the whole is deleted. Most secrets have none of this, and no such file: the highest number is then current.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_core::{SecretBytes, Timestamp};
use serde::{Deserialize, Serialize};

use crate::reference::{Reference, Version};

/// What was done to a secret's versions since they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Standing {
    /// The version that was made current by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) promoted: Option<Promoted>,
    /// Versions that were pending and have been current since.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) released: BTreeSet<Version>,
    /// Versions that are not read until they are enabled.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) disabled: BTreeSet<Version>,
    /// Versions whose files are gone for good, with the times at which they were made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) destroyed: BTreeMap<Version, Option<Timestamp>>,
    /// When the secret was deleted, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted_at: Option<Timestamp>,
}

/// A version that was made current by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promoted {
    pub(crate) version: Version,
    /// The highest number at that time: what is written later is current again by itself.
    pub(crate) over: u64,
}

impl Standing {
    /// The bytes to seal; `None` when they cannot be written.
    pub(crate) fn encode(&self) -> Option<SecretBytes> {
        serde_json::to_vec(self).ok().map(SecretBytes::new)
    }

    /// Reads what was sealed; `None` when it is not what this version of the broker writes.
    pub(crate) fn decode(plain: &SecretBytes) -> Option<Self> {
        serde_json::from_slice(plain.expose()).ok()
    }

    /// Forgets what is said of versions that are gone, but for the `kept` last ones that were destroyed.
    pub(crate) fn tidy(&mut self, present: &[Version], kept: usize) {
        self.released.retain(|version| present.contains(version));
        self.disabled.retain(|version| present.contains(version));
        // One whose file a crash has left must not be read again: it stays until the file is gone.
        let gone: Vec<_> =
            self.destroyed.keys().filter(|version| !present.contains(version)).cloned().collect();
        for version in gone.iter().take(self.destroyed.len().saturating_sub(kept)) {
            self.destroyed.remove(version);
        }
        if self.promoted.as_ref().is_some_and(|promoted| !present.contains(&promoted.version)) {
            self.promoted = None;
        }
    }
}

/// For what it is sealed: put beside another secret it does not open.
pub(crate) fn context(reference: &Reference) -> Vec<u8> {
    format!("leasehold-local-standing/1\0{}", reference.as_str()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64) -> Version {
        Version::new(number, [0; 5])
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut standing = Standing {
            promoted: Some(Promoted { version: version(1), over: 3 }),
            released: [version(1), version(2)].into(),
            disabled: [version(2)].into(),
            destroyed: [(version(3), None), (version(4), None), (version(5), None)].into(),
            deleted_at: None,
        };
        standing.tidy(&[version(2)], 2);
        assert_eq!(standing.promoted, None);
        assert_eq!((&standing.released, &standing.disabled), (&[version(2)].into(), &[version(2)].into()));
        assert_eq!(standing.destroyed.len(), 2);
        assert!(!standing.destroyed.contains_key(&version(3)));
        standing.tidy(&[version(4)], 0);
        assert_eq!(standing.destroyed.into_keys().collect::<Vec<_>>(), [version(4)]);
    }

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is() {
        let standing = Standing {
            deleted_at: Some(Timestamp::UNIX_EPOCH),
            disabled: [version(7)].into(),
            ..Standing::default()
        };
        assert_eq!(Standing::decode(&standing.encode().unwrap()), Some(standing));
        for other in ["", "{}x", r#"{"hidden":true}"#] {
            assert_eq!(Standing::decode(&SecretBytes::from(other.to_owned())), None, "{other}");
        }
        assert_eq!(Standing::decode(&SecretBytes::from("{}".to_owned())), Some(Standing::default()));
    }
}
