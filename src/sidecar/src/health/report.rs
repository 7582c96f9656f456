//! What is told of the sidecar: names, versions and times. Never a value.

use std::fmt;

use leasehold_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    act,
    endpoint::{is_over, standing},
    name::Name,
    publish, reload,
    snapshot::{Snapshot, Standing},
};

/// How the sidecar is. Its JSON form is stable: members are added, and never taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Every secret is held by a lease that has not ended, and what is to be in files is there.
    pub ready: bool,
    /// Something does not go as it should, ready or not.
    pub degraded: bool,
    /// The snapshot that is in the files; absent before the first, and when there are no files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_generation: Option<u64>,
    /// Why what is held could not be put into the files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_trouble: Option<String>,
    /// How often something was done on a change (`[[on_change]]`, and the program of `exec`).
    #[serde(default)]
    pub actions_done: u64,
    /// How often that failed, each time that it was tried.
    #[serde(default)]
    pub actions_failed: u64,
    /// What was given up until the next change: who was to be told may go on with what is old.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub action_troubles: Vec<String>,
    /// How often the configuration was read again and taken over.
    #[serde(default)]
    pub configuration: u64,
    /// Why the configuration as it is on disk now is not in force, and the one before it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration_trouble: Option<String>,
    /// Every secret of the configuration.
    pub secrets: Vec<SecretReport>,
}

/// How one secret is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretReport {
    /// Its name in the configuration.
    pub name: String,
    /// `fresh`; `failing` (its lease cannot be renewed just now, and lasts); `expired`; `missing`.
    pub standing: String,
    /// The version that is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When its lease ends unless it is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Report {
    pub(super) fn new(
        snapshot: &Snapshot,
        publishing: Option<&publish::Standing>,
        acting: &act::Standing,
        reloading: &reload::Standing,
        now: Timestamp,
    ) -> Self {
        let secret = |name: &Name| {
            let loan = snapshot.secrets.get(name);
            let trouble = snapshot.troubles.get(name);
            SecretReport {
                name: name.to_string(),
                standing: loan.map_or("missing", |loan| standing(loan, now)).to_owned(),
                version: loan.and_then(|loan| loan.version.as_ref()).map(ToString::to_string),
                expires_at: loan.map(|loan| loan.expires_at),
                trouble: trouble.map(|trouble| trouble.message.to_string()),
                since: trouble.map(|trouble| trouble.since),
            }
        };
        let held = snapshot.is_complete() && snapshot.wanted().all(|(_, loan)| !is_over(loan, now));
        let published =
            publishing.is_none_or(|standing| standing.generation.is_some() && standing.trouble.is_none());
        let ready = held && published;
        let failing = snapshot.wanted().any(|(_, loan)| loan.standing != Standing::Fresh);
        Self {
            ready,
            degraded: !ready
                || failing
                || !snapshot.troubles.is_empty()
                || !acting.given_up.is_empty()
                || reloading.trouble.is_some(),
            published_generation: publishing.and_then(|standing| standing.generation),
            publish_trouble: publishing
                .and_then(|standing| standing.trouble.as_deref())
                .map(ToOwned::to_owned),
            actions_done: acting.done,
            actions_failed: acting.failed,
            action_troubles: acting.given_up.values().map(ToString::to_string).collect(),
            configuration: reloading.edition,
            configuration_trouble: reloading.trouble.as_deref().map(ToOwned::to_owned),
            secrets: snapshot.wanted.iter().map(secret).collect(),
        }
    }
}

/// One line: what the service manager shows, and the first that `check` says.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_word = |word: &str| self.secrets.iter().filter(|secret| secret.standing == word).count();
        let state = match (self.ready, self.degraded) {
            (true, false) => "ready",
            (true, true) => "ready, degraded",
            (false, _) => "not ready",
        };
        write!(f, "{state}: {} of {} secrets fresh", in_word("fresh"), self.secrets.len())?;
        for word in ["failing", "expired", "missing"] {
            match in_word(word) {
                0 => {}
                count => write!(f, ", {count} {word}")?,
            }
        }
        if let Some(trouble) = &self.publish_trouble {
            write!(f, "; files: {trouble}")?;
        }
        for trouble in &self.action_troubles {
            write!(f, "; {trouble}")?;
        }
        if let Some(trouble) = &self.configuration_trouble {
            write!(f, "; the configuration is as it was: {trouble}")?;
        }
        Ok(())
    }
}
