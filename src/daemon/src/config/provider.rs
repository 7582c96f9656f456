//! `[[provider]]`: the back ends, and `[[role]]`: what the credentials are made of that they make. Keys that belong to a
//! kind are read by that kind's file.

mod administrator;
#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "gcp")]
mod gcp;
mod limits;
#[cfg(feature = "local")]
mod local;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "vault")]
mod vault;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use leasehold_core::{
    SecretPath,
    provider::{ProviderError, ProviderName},
};
use leasehold_engine::ProviderLimits;

use super::{
    fault::Place,
    limits::Limits,
    section::{Found, Section, proposal},
};

/// One back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// The name by which secrets refer to it.
    pub name: ProviderName,
    /// What it is, with what that kind is told.
    pub kind: Kind,
    /// How much it is asked.
    pub limits: ProviderLimits,
    /// Where it stands.
    pub place: Place,
}

/// The kinds of back ends in this build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sealed files of the broker's own.
    #[cfg(feature = "local")]
    Local(leasehold_provider_local::LocalConfig),
    /// AWS: Secrets Manager, the Parameter Store, and sessions of roles.
    #[cfg(feature = "aws")]
    Aws(leasehold_provider_aws::AwsConfig),
    /// HashiCorp Vault and OpenBao.
    #[cfg(feature = "vault")]
    Vault(Box<leasehold_provider_vault::VaultConfig>),
    /// Google Cloud: Secret Manager, and tokens of service accounts.
    #[cfg(feature = "gcp")]
    Gcp(leasehold_provider_gcp::GcpConfig),
    /// Azure Key Vault, and tokens of Entra ID.
    #[cfg(feature = "azure")]
    Azure(Box<leasehold_provider_azure::AzureConfig>),
    /// PostgreSQL: a user for each lease.
    #[cfg(feature = "postgres")]
    Postgres(Box<leasehold_provider_postgres::PostgresConfig>),
}

impl Kind {
    /// Whether the back end could have a secret by this name; a mount's `{rest}` stands for any.
    ///
    /// # Errors
    /// What its grammar says against it.
    pub(super) fn check_reference(&self, reference: &str) -> Result<(), ProviderError> {
        let name = reference.replace("{rest}", "x");
        match self {
            #[cfg(feature = "local")]
            Self::Local(_) => leasehold_provider_local::check_reference(&name),
            // Where `{rest}` stands matters to these three.
            #[cfg(feature = "aws")]
            Self::Aws(_) => leasehold_provider_aws::check_reference(reference),
            #[cfg(feature = "vault")]
            Self::Vault(_) => leasehold_provider_vault::check_reference(reference),
            #[cfg(feature = "gcp")]
            Self::Gcp(_) => leasehold_provider_gcp::check_reference(reference),
            #[cfg(feature = "azure")]
            Self::Azure(_) => leasehold_provider_azure::check_reference(&name),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => leasehold_provider_postgres::check_reference(reference),
        }
    }
}

impl Kind {
    /// Takes a `[[role]]` in, whose `name` and `provider` have been read.
    fn add_role(&mut self, name: Found<String>, section: Section<'_>) {
        let message = "this kind of provider makes no credentials, so it has no roles";
        match self {
            #[cfg(feature = "local")]
            Self::Local(_) => section.fault(name.place, message, "lend its secrets by `ref`"),
            #[cfg(feature = "aws")]
            Self::Aws(config) => {
                if let Some(role) = aws::read_role(section) {
                    config.roles.insert(name.value, role);
                }
            }
            #[cfg(feature = "vault")]
            Self::Vault(config) => {
                if let Some(role) = vault::read_role(section) {
                    config.roles.insert(name.value, role);
                }
            }
            #[cfg(feature = "gcp")]
            Self::Gcp(config) => {
                if let Some(role) = gcp::read_role(section) {
                    config.roles.insert(name.value, role);
                }
            }
            #[cfg(feature = "azure")]
            Self::Azure(config) => azure::add_role(config, &name.value, section),
            #[cfg(feature = "postgres")]
            Self::Postgres(config) => {
                if let Some(role) = postgres::read_role(section) {
                    config.roles.insert(name.value, role);
                }
            }
        }
    }

    /// Whether it has users whose passwords can be set.
    pub(super) const fn is_target(&self) -> bool {
        #[cfg(feature = "postgres")]
        if let Self::Postgres(_) = self {
            return true;
        }
        false
    }

    /// Whether it can rotate secrets by itself.
    pub(super) const fn rotates_by_itself(&self) -> bool {
        #[cfg(feature = "aws")]
        if let Self::Aws(_) = self {
            return true;
        }
        #[cfg(feature = "vault")]
        if let Self::Vault(_) = self {
            return true;
        }
        false
    }

    /// Whether it makes values by rules of its own: the same that can rotate.
    pub(super) const fn makes_values(&self) -> bool {
        self.rotates_by_itself()
    }

    /// The secret of the broker by which it is signed in at, if that is how.
    fn administrator(&self) -> Option<&SecretPath> {
        #[cfg(feature = "postgres")]
        if let Self::Postgres(config) = self {
            return config.administrator.secret();
        }
        None
    }

    /// The names of the roles that it has.
    pub(super) fn roles(&self) -> Vec<&str> {
        match self {
            #[cfg(feature = "local")]
            Self::Local(_) => Vec::new(),
            #[cfg(feature = "aws")]
            Self::Aws(config) => config.roles.keys().map(String::as_str).collect(),
            #[cfg(feature = "vault")]
            Self::Vault(config) => config.roles.keys().map(String::as_str).collect(),
            #[cfg(feature = "gcp")]
            Self::Gcp(config) => config.roles.keys().map(String::as_str).collect(),
            #[cfg(feature = "azure")]
            Self::Azure(config) => config.roles.keys().map(String::as_str).collect(),
            #[cfg(feature = "postgres")]
            Self::Postgres(config) => config.roles.keys().map(String::as_str).collect(),
        }
    }
}

pub(super) use administrator::check as check_administrators;

/// Every kind that a build can have, whether this one has it or not.
const KINDS: [&str; 6] = ["local", "vault", "aws", "gcp", "azure", "postgres"];

/// What was named and could not be read: that has been told, and what refers to it is not at fault.
#[derive(Default)]
pub(super) struct Unreadable {
    providers: BTreeSet<ProviderName>,
    roles: BTreeSet<(ProviderName, String)>,
}

impl Unreadable {
    /// Whether this provider is one of them.
    pub(super) fn has_provider(&self, name: &ProviderName) -> bool {
        self.providers.contains(name)
    }

    /// Whether this role of a provider is one of them.
    pub(super) fn has_role(&self, provider: &ProviderName, role: &str) -> bool {
        self.roles.iter().any(|(of, name)| of == provider && name == role)
    }
}

/// Gives each `[[role]]` to the provider that makes its credentials.
pub(super) fn read_roles(
    sections: Vec<Section<'_>>,
    providers: &mut [Provider],
    unreadable: &mut Unreadable,
) {
    let mut seen = BTreeMap::new();
    for section in sections {
        let name = section.required_at::<String>("name");
        let provider = section.required_at::<ProviderName>("provider");
        let (Some(name), Some(provider)) = (name, provider) else { continue };
        let key = (provider.value.clone(), name.value.clone());
        if let Some(first) = seen.get(&key) {
            let message = format!("the role `{}` is configured twice", name.value);
            section.fault(name.place, message, format!("the other one is at {first}"));
            continue;
        }
        seen.insert(key.clone(), name.place.clone());
        match providers.iter_mut().find(|known| known.name == provider.value) {
            Some(known) => {
                known.kind.add_role(name, section);
                if !known.kind.roles().contains(&key.1.as_str()) {
                    unreadable.roles.insert(key);
                }
            }
            None if unreadable.has_provider(&provider.value) => {}
            None => {
                let known: Vec<_> = providers.iter().map(|provider| provider.name.as_str()).collect();
                let message = format!("there is no provider `{}`", provider.value);
                section.fault(provider.place, message, proposal(provider.value.as_str(), &known));
            }
        }
    }
}

/// Reads all of them; `state` is the ledger's directory, where kinds that keep files put them unless told otherwise.
pub(super) fn read_all(
    sections: Vec<Section<'_>>,
    state: Option<&Path>,
    limits: &Limits,
    unreadable: &mut Unreadable,
) -> Vec<Provider> {
    let mut seen = BTreeMap::new();
    let mut providers = Vec::new();
    for section in sections {
        let name = section.required_at::<ProviderName>("name");
        if let Some(name) = &name {
            if let Some(first) = seen.get(&name.value) {
                let message = format!("the provider `{}` is configured twice", name.value);
                section.fault(name.place.clone(), message, format!("the other one is at {first}"));
            } else {
                seen.insert(name.value.clone(), name.place.clone());
            }
        }
        let place = section.place();
        let limits = limits::read(&section, limits);
        let kind = read_kind(section, name.as_ref().map(|name| &name.value), state);
        match (name, kind) {
            (Some(name), Some(kind)) => providers.push(Provider { name: name.value, kind, limits, place }),
            (Some(name), None) => drop(unreadable.providers.insert(name.value)),
            (None, _) => {}
        }
    }
    providers
}

#[cfg_attr(not(feature = "local"), expect(unused_variables, reason = "only a local one keeps files"))]
fn read_kind(section: Section<'_>, name: Option<&ProviderName>, state: Option<&Path>) -> Option<Kind> {
    section.one_of("kind", KINDS);
    let kind = section.required_at::<String>("kind")?;
    match kind.value.as_str() {
        #[cfg(feature = "local")]
        "local" => local::read(section, name, state).map(Kind::Local),
        #[cfg(feature = "aws")]
        "aws" => aws::read(section).map(Kind::Aws),
        #[cfg(feature = "vault")]
        "vault" => vault::read(section).map(Box::new).map(Kind::Vault),
        #[cfg(feature = "gcp")]
        "gcp" => gcp::read(section).map(Kind::Gcp),
        #[cfg(feature = "azure")]
        "azure" => azure::read(section).map(Box::new).map(Kind::Azure),
        #[cfg(feature = "postgres")]
        "postgres" => postgres::read(section).map(Box::new).map(Kind::Postgres),
        known if KINDS.contains(&known) => {
            let message = format!("this build has no `{known}` back end");
            section.fault(kind.place, message, format!("build leaseholdd with `--features {known}`"));
            None
        }
        other => {
            section.fault(
                kind.place,
                format!("there is no kind of provider `{other}`"),
                proposal(other, &KINDS),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::faults_of;
    #[cfg(feature = "local")]
    use crate::config::tests::read_section;

    fn read(section: Section<'_>) -> Option<Vec<Provider>> {
        let mut unreadable = Unreadable::default();
        Some(read_all(vec![section], Some(Path::new("/state")), &Limits::default(), &mut unreadable))
    }

    #[test]
    fn kinds_are_known_or_proposed() {
        let cases = [
            ("kind = 'local'", "`name` is missing"),
            ("name = 'x'", "`kind` is missing"),
            ("name = 'x'\nkind = 'locl'", "there is no kind of provider `locl`\n    did you mean `local`?"),
            ("name = 'X'\nkind = 'local'", "`name` in [section] is not a provider's name"),
        ];
        for (toml, expected) in cases {
            let faults = faults_of(toml, read);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }

    #[cfg(feature = "local")]
    #[test]
    fn a_local_one_lives_in_the_state_directory() {
        let providers = read_section("name = 'main'\nkind = 'local'", read).unwrap();
        let Some(Provider { kind: Kind::Local(local), .. }) = providers.first() else {
            panic!("{providers:?}")
        };
        assert_eq!(local.directory, Path::new("/state/providers/main"));
    }

    #[cfg(not(feature = "aws"))]
    #[test]
    fn a_kind_that_was_left_out_says_how_to_get_it() {
        assert!(
            faults_of("name = 'x'\nkind = 'aws'", read).contains("build leaseholdd with `--features aws`")
        );
    }
}
