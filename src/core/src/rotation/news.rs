//! What the holders of a secret are told of its rotation.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Rotation;
use crate::secret::VersionId;

/// One thing that holders are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its number: they follow each other without a gap, from 1 for each secret.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub told: Told,
}

/// What holders are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "kebab-case")]
pub enum Told {
    /// This version is current from now on.
    Rotated {
        /// The version.
        version: VersionId,
    },
    /// This version is retired when nobody holds it any more, and at the deadline whoever holds it.
    Draining {
        /// The version.
        version: VersionId,
        /// The latest end.
        deadline: Timestamp,
    },
    /// This version is of no use any more.
    Retired {
        /// The version.
        version: VersionId,
    },
}

impl Rotation {
    /// So many notices are kept for those who come back.
    pub const NOTICES: usize = 16;

    pub(super) fn tell(&mut self, told: Told, at: Timestamp) {
        self.told = self.told.saturating_add(1);
        if self.notices.len() >= Self::NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(Notice { number: self.told, at, told });
    }

    /// What was told after the notice of this number; `None` when some of it is not kept any more, or that number was
    /// never given.
    pub fn told_after(&self, number: u64) -> Option<impl Iterator<Item = &Notice>> {
        let first = self.notices.front().map_or(self.told.saturating_add(1), |notice| notice.number);
        (number <= self.told && number.saturating_add(1) >= first)
            .then(|| self.notices.iter().filter(move |notice| notice.number > number))
    }
}
