//! What policies are decided with: the folder and the `[identity]` section of the broker's configuration.
//!
//! Only these two sections are read here, and without judging the rest: `leaseholdd check-config` does that.

use std::{collections::BTreeMap, fs, path::PathBuf};

use clap::Args;
use leasehold_core::principal::TrustDomain;
use leasehold_policy::PolicySettings;
use serde::Deserialize;

use crate::exit::Failure;

/// Where the policies are, and what they are decided with.
#[derive(Clone, Debug, Args)]
pub(crate) struct Source {
    /// The folder of policies; the one that the configuration names when not given
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The broker's configuration, for its `[identity]` and `[policy]` sections
    #[arg(long, env = "LEASEHOLD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Without a configuration: the trust domain, with `/operator/` for operators and the first segment of a path for
    /// the environment
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    trust_domain: Option<TrustDomain>,
}

/// The sections of the configuration that count here.
#[derive(Deserialize)]
struct Document {
    identity: Identity,
    #[serde(default)]
    policy: Policy,
}

#[derive(Deserialize)]
struct Identity {
    trust_domain: TrustDomain,
    #[serde(default)]
    operators: OneOrMany,
    environments: Option<BTreeMap<String, OneOrMany>>,
    #[serde(default)]
    groups: BTreeMap<String, OneOrMany>,
}

#[derive(Default, Deserialize)]
struct Policy {
    dir: Option<PathBuf>,
}

/// A text or a list of them, as the broker takes both.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

const DEFAULT: &str = "/etc/leasehold/leasehold.toml";

impl Source {
    /// The folder and the settings.
    ///
    /// # Errors
    /// When the configuration cannot be read, or there is nothing to go by.
    pub(crate) fn read(&self) -> Result<(PathBuf, PolicySettings), Failure> {
        if let Some(domain) = &self.trust_domain {
            let dir = self.dir.clone().ok_or_else(|| {
                Failure::usage("without a configuration, the folder of the policies is needed: give DIR")
            })?;
            let settings = PolicySettings {
                operators: vec!["/operator/".to_owned()],
                ..PolicySettings::new(domain.clone())
            };
            return Ok((dir, settings));
        }
        let file = self.config.clone().unwrap_or_else(|| DEFAULT.into());
        let text = fs::read_to_string(&file).map_err(|why| {
            Failure::failed(
                file.display(),
                format!("{why}; --config names another file, --trust-domain needs none"),
            )
        })?;
        let document: Document = toml::from_str(&text)
            .map_err(|why| Failure::failed(file.display(), why.to_string().trim_end()))?;
        let dir = self.dir.clone().unwrap_or_else(|| {
            let beside = file.parent().map(PathBuf::from).unwrap_or_default();
            beside.join(document.policy.dir.unwrap_or_else(|| "policies".into()))
        });
        let lists = |map: BTreeMap<String, OneOrMany>| {
            map.into_iter().map(|(name, list)| (name, list.into())).collect()
        };
        let settings = PolicySettings {
            trust_domain: document.identity.trust_domain,
            operators: document.identity.operators.into(),
            environments: document.identity.environments.map(lists),
            groups: lists(document.identity.groups),
        };
        Ok((dir, settings))
    }
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl From<OneOrMany> for Vec<String> {
    fn from(texts: OneOrMany) -> Self {
        match texts {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn source(config: &Path) -> Source {
        Source { dir: None, config: Some(config.to_owned()), trust_domain: None }
    }

    #[test]
    fn the_shipped_configuration_says_enough() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/leasehold.toml");
        let (dir, settings) = source(&file).read().unwrap();
        assert!(dir.ends_with("config/policies"), "{}", dir.display());
        assert_eq!(settings.trust_domain.as_str(), "example.org");
        assert_eq!(settings.operators, ["/operator/"]);
    }

    #[test]
    fn environments_groups_and_another_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("l.toml");
        let text = "[identity]\ntrust_domain = 'a.test'\noperators = '/op/'\n[identity.environments]\nprod = ['/p/']\n\
                    [identity.groups]\npay = '/p/pay/'\n[policy]\ndir = 'rules'\n[listen]\nanything = 1\n";
        fs::write(&file, text).unwrap();
        let (dir, settings) = source(&file).read().unwrap();
        assert_eq!(dir, folder.path().join("rules"));
        assert_eq!(settings.environments.unwrap()["prod"], ["/p/"]);
        assert_eq!(settings.groups["pay"], ["/p/pay/"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = source(Path::new("/no/such.toml")).read().unwrap_err().message;
        assert!(missing.starts_with("/no/such.toml: ") && missing.contains("--trust-domain"), "{missing}");
        let bare = Source { dir: None, config: None, trust_domain: Some("a.test".parse().unwrap()) }
            .read()
            .unwrap_err();
        assert!(bare.message.contains("give DIR"), "{}", bare.message);
    }
}
