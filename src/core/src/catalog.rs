//! The catalog: which secrets exist, where they live and within which limits they are lent.
//!
//! What is not in the catalog does not exist.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;

use crate::{
    path::{PathPrefix, SecretPath},
    provider::{Capabilities, Demand, ProviderName},
    rotation::{Generator, Plan, Strategy},
    ttl::TtlLimits,
};

/// Every secret and mount, by path.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    secrets: BTreeMap<SecretPath, Arc<Entry>>,
    mounts: BTreeMap<PathPrefix, Entry>,
}

/// What the configuration says of a secret, or of every secret under a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The back end.
    pub provider: ProviderName,
    /// What the back end knows it as.
    pub source: Source,
    /// How long leases on it live.
    pub limits: TtlLimits,
    /// How many leases on it there may be, when it has a limit of its own; under a mount, on each secret.
    pub max_leases: Option<u64>,
    /// How long a value may be answered from memory.
    pub freshness: Freshness,
    /// A sentence for people.
    pub description: Option<Box<str>>,
    /// How it is rotated, when it is.
    pub rotation: Option<Arc<Plan>>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A secret that exists there under this name. In a mount, `{rest}` stands for what follows the prefix.
    Static {
        /// The back end's own name.
        reference: Box<str>,
    },
    /// A credential made for each lease.
    Dynamic {
        /// The role that says what it is made of.
        role: Box<str>,
    },
}

/// How long a value may be answered from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Without asking the back end.
    pub max_age: Duration,
    /// Beyond that, when the back end does not answer.
    pub max_stale: Duration,
}

/// A secret as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Its entry, with a mount's `{rest}` filled in.
    pub entry: Arc<Entry>,
    /// The mount that it was found under.
    pub mount: Option<PathPrefix>,
}

/// Why a catalog is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CatalogFault {
    /// Two entries for one path.
    #[error("the secret `{0}` is configured twice")]
    DuplicateSecret(SecretPath),
    /// Two mounts for one prefix.
    #[error("the mount `{0}` is configured twice")]
    DuplicateMount(PathPrefix),
    /// A mount whose paths would all be the same secret.
    #[error("the mount `{0}` needs `{{rest}}` exactly once in its `ref`")]
    MountWithoutRest(PathPrefix),
    /// A placeholder where there is nothing to put in.
    #[error("the secret `{0}` has `{{rest}}` in its `ref`, which only a mount can fill")]
    RestWithoutMount(SecretPath),
}

const REST: &str = "{rest}";

impl Default for Freshness {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(60), max_stale: Duration::ZERO }
    }
}

impl Catalog {
    /// A catalog of these entries.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn new(
        secrets: impl IntoIterator<Item = (SecretPath, Entry)>,
        mounts: impl IntoIterator<Item = (PathPrefix, Entry)>,
    ) -> Result<Self, Vec<CatalogFault>> {
        let mut catalog = Self::default();
        let mut faults = Vec::new();
        for (path, entry) in secrets {
            if entry.source.placeholders() != 0 {
                faults.push(CatalogFault::RestWithoutMount(path.clone()));
            }
            match catalog.secrets.entry(path) {
                btree_map::Entry::Vacant(slot) => drop(slot.insert(Arc::new(entry))),
                btree_map::Entry::Occupied(slot) => {
                    faults.push(CatalogFault::DuplicateSecret(slot.key().clone()))
                }
            }
        }
        for (prefix, entry) in mounts {
            if entry.source.placeholders() != 1 {
                faults.push(CatalogFault::MountWithoutRest(prefix.clone()));
            }
            match catalog.mounts.entry(prefix) {
                btree_map::Entry::Vacant(slot) => drop(slot.insert(entry)),
                btree_map::Entry::Occupied(slot) => {
                    faults.push(CatalogFault::DuplicateMount(slot.key().clone()))
                }
            }
        }
        if faults.is_empty() { Ok(catalog) } else { Err(faults) }
    }

    /// The secret at `path`: its own entry, else the longest mount that it lies under.
    pub fn resolve(&self, path: &SecretPath) -> Option<Resolved> {
        if let Some(entry) = self.secrets.get(path) {
            return Some(Resolved { entry: entry.clone(), mount: None });
        }
        let (prefix, rest, entry) = self
            .mounts
            .iter()
            .filter_map(|(prefix, entry)| Some((prefix, prefix.rest_of(path)?, entry)))
            .max_by_key(|(prefix, _, _)| prefix.as_str().len())?;
        let entry = Entry { source: entry.source.with_rest(rest), ..entry.clone() };
        Some(Resolved { entry: Arc::new(entry), mount: Some(prefix.clone()) })
    }

    /// The secrets that have entries of their own, in the order of their paths.
    pub fn secrets(&self) -> impl Iterator<Item = (&SecretPath, &Entry)> {
        self.secrets.iter().map(|(path, entry)| (path, &**entry))
    }

    /// The mounts, in the order of their prefixes.
    pub fn mounts(&self) -> impl Iterator<Item = (&PathPrefix, &Entry)> {
        self.mounts.iter()
    }

    /// What this catalog will ask of a back end that can do so much: each thing once, in order.
    pub fn demands(&self, provider: &ProviderName, capabilities: &Capabilities) -> Vec<Demand> {
        let entries = self.secrets.values().map(|entry| &**entry).chain(self.mounts.values());
        let mut demands = BTreeSet::new();
        for entry in entries.filter(|entry| entry.provider == *provider) {
            match &entry.source {
                Source::Static { reference } => {
                    demands.insert(Demand::Read { reference: reference.clone() });
                    let plan = entry.rotation.as_deref();
                    let native = plan.is_some_and(|plan| plan.strategy == Strategy::Native);
                    if let Some(Generator::BackEnd { policy }) = plan.map(|plan| &plan.generator)
                        && !native
                    {
                        demands.insert(Demand::Generate { policy: policy.clone() });
                    }
                    if native {
                        demands.insert(Demand::Rotate { reference: reference.clone() });
                    }
                    if capabilities.write || (plan.is_some() && !native) {
                        demands.insert(Demand::Write { reference: reference.clone() });
                    }
                }
                Source::Dynamic { role } => drop(demands.insert(Demand::Issue { role: role.clone() })),
            }
        }
        demands.into_iter().collect()
    }
}

impl Source {
    fn placeholders(&self) -> usize {
        match self {
            Self::Static { reference } => reference.matches(REST).count(),
            Self::Dynamic { role } => role.matches(REST).count(),
        }
    }

    fn with_rest(&self, rest: &str) -> Self {
        match self {
            Self::Static { reference } => Self::Static { reference: reference.replace(REST, rest).into() },
            Self::Dynamic { role } => Self::Dynamic { role: role.replace(REST, rest).into() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(reference: &str) -> Entry {
        Entry {
            provider: "main".parse().unwrap(),
            source: Source::Static { reference: reference.into() },
            limits: TtlLimits::new(Duration::from_secs(60), Duration::from_secs(600)).unwrap(),
            max_leases: None,
            freshness: Freshness::default(),
            description: None,
            rotation: None,
        }
    }

    fn reference(resolved: Option<Resolved>) -> Option<String> {
        match &resolved?.entry.source {
            Source::Static { reference } => Some(reference.to_string()),
            Source::Dynamic { .. } => None,
        }
    }

    #[test]
    fn the_nearest_entry_wins() {
        let catalog = Catalog::new(
            [("prod/shared/special".parse().unwrap(), entry("one"))],
            [
                ("prod/".parse().unwrap(), entry("all/{rest}")),
                ("prod/shared/".parse().unwrap(), entry("kv/{rest}/x")),
            ],
        )
        .unwrap();
        let find = |path: &str| reference(catalog.resolve(&path.parse().unwrap()));
        assert_eq!(find("prod/shared/special").as_deref(), Some("one"));
        assert_eq!(find("prod/shared/a/b").as_deref(), Some("kv/a/b/x"));
        assert_eq!(find("prod/other").as_deref(), Some("all/other"));
        assert_eq!(find("dev/other"), None);
    }

    #[test]
    fn what_is_asked_of_a_back_end_is_said_once_and_of_no_other() {
        let elsewhere = Entry { provider: "other".parse().unwrap(), ..entry("x") };
        let dynamic = Entry { source: Source::Dynamic { role: "readonly".into() }, ..entry("") };
        let catalog = Catalog::new(
            [
                ("prod/a".parse().unwrap(), entry("db")),
                ("prod/b".parse().unwrap(), entry("db")),
                ("prod/c".parse().unwrap(), dynamic),
                ("prod/d".parse().unwrap(), elsewhere),
            ],
            [("prod/shared/".parse().unwrap(), entry("kv/{rest}"))],
        )
        .unwrap();
        let read = |reference: &str| Demand::Read { reference: reference.into() };
        let main = "main".parse().unwrap();
        let issue = Demand::Issue { role: "readonly".into() };
        let asked = catalog.demands(&main, &Capabilities::default());
        assert_eq!(asked, [read("db"), read("kv/{rest}"), issue.clone()]);
        let writable = Capabilities { write: true, ..Capabilities::default() };
        let write = |reference: &str| Demand::Write { reference: reference.into() };
        let asked = catalog.demands(&main, &writable);
        assert_eq!(asked, [read("db"), read("kv/{rest}"), write("db"), write("kv/{rest}"), issue]);
    }

    #[test]
    fn what_rotates_is_asked_for_whatever_may_be_written() {
        let rotated = |reference: &str, strategy| Entry {
            rotation: Some(Arc::new(Plan::new(strategy))),
            ..entry(reference)
        };
        let secrets = [
            ("prod/a".parse().unwrap(), rotated("a", Strategy::Native)),
            ("prod/b".parse().unwrap(), rotated("b", Strategy::Generate)),
        ];
        let catalog = Catalog::new(secrets, []).unwrap();
        let asked = catalog.demands(&"main".parse().unwrap(), &Capabilities::default());
        let read = |reference: &str| Demand::Read { reference: reference.into() };
        let write = Demand::Write { reference: "b".into() };
        let rotate = Demand::Rotate { reference: "a".into() };
        assert_eq!(asked, [read("a"), read("b"), write, rotate]);

        let generator = Generator::BackEnd { policy: "partners".into() };
        let plan = Plan { generator, ..Plan::new(Strategy::Generate) };
        let secret = Entry { rotation: Some(Arc::new(plan)), ..entry("c") };
        let catalog = Catalog::new([("prod/c".parse().unwrap(), secret)], []).unwrap();
        let asked = catalog.demands(&"main".parse().unwrap(), &Capabilities::default());
        let write = Demand::Write { reference: "c".into() };
        assert_eq!(asked, [read("c"), write, Demand::Generate { policy: "partners".into() }]);
    }

    #[test]
    fn every_fault_is_told() {
        let faults = Catalog::new(
            [
                ("prod/a".parse().unwrap(), entry("x")),
                ("prod/a".parse().unwrap(), entry("y")),
                ("prod/b".parse().unwrap(), entry("{rest}")),
            ],
            [("prod/".parse().unwrap(), entry("fixed"))],
        )
        .unwrap_err();
        assert_eq!(
            faults,
            [
                CatalogFault::DuplicateSecret("prod/a".parse().unwrap()),
                CatalogFault::RestWithoutMount("prod/b".parse().unwrap()),
                CatalogFault::MountWithoutRest("prod/".parse().unwrap()),
            ]
        );
    }
}
