//! `[[secret]]` and `[[mount]]`: what can be leased.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use leasehold_core::{
    SecretPath,
    catalog::{Catalog, CatalogFault, Entry, Freshness, Source},
    path::PathPrefix,
    provider::ProviderName,
    ttl::TtlLimits,
};

use super::{
    element::Element,
    fault::{Place, Sink},
    limits::MOST_LEASES,
    provider::{Provider, Unreadable},
    rotation::{self, Rotated},
    section::{Found, Section, proposal},
};

/// What the files say so far, with where they say it.
#[derive(Default)]
pub(super) struct Entries {
    secrets: BTreeMap<SecretPath, Item>,
    mounts: BTreeMap<PathPrefix, Item>,
    incomplete: bool,
}

struct Item {
    entry: Entry,
    rotated: Option<Rotated>,
    place: Place,
    provider: Place,
}

const DEFAULT_TTL: Duration = Duration::from_secs(15 * 60);
const DEFAULT_MAX_TTL: Duration = Duration::from_secs(24 * 3600);
const DAY: Duration = Duration::from_secs(86_400);

impl Entries {
    /// Adds a file's secrets and mounts.
    pub(super) fn read(&mut self, root: &Section<'_>) {
        for section in root.sections("secret") {
            let path = section.required_at("path");
            let item = read_entry(section, &path, &mut self.incomplete);
            if let (Some(path), Some((item, section))) = (path, item) {
                add(&mut self.secrets, path, item, "secret", &section);
            }
        }
        for section in root.sections("mount") {
            let prefix = section.required_at("prefix");
            let item = read_entry(section, &prefix, &mut self.incomplete);
            if let (Some(prefix), Some((item, section))) = (prefix, item) {
                add(&mut self.mounts, prefix, item, "mount", &section);
            }
        }
    }

    /// The catalog; `providers` is absent when the main file could not be read, and nothing is said of them then.
    pub(super) fn into_catalog(
        self,
        providers: Option<&[Provider]>,
        unreadable: &Unreadable,
        sink: &Sink,
    ) -> Option<Catalog> {
        if let Some(providers) = providers {
            let known: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
            for item in self.secrets.values().chain(self.mounts.values()) {
                let name = item.entry.provider.as_str();
                if unreadable.has_provider(&item.entry.provider) {
                    continue;
                }
                let Some(provider) = providers.iter().find(|provider| provider.name.as_str() == name) else {
                    let help = match known.is_empty() {
                        true => "no `[[provider]]` is configured".to_owned(),
                        false => proposal(name, &known),
                    };
                    sink.put(item.provider.clone(), format!("there is no provider `{name}`"), help);
                    continue;
                };
                if let Source::Static { reference } = &item.entry.source
                    && let Err(why) = provider.kind.check_reference(reference)
                {
                    let help = format!("write `ref` as the back end behind `{name}` names its secrets");
                    sink.put(item.place.clone(), why.to_string(), help);
                }
                if let Some(rotated) = &item.rotated {
                    rotation::check(rotated, provider, providers, unreadable, sink);
                }
                if let Source::Dynamic { role } = &item.entry.source
                    && !role.contains("{rest}")
                    && !unreadable.has_role(&item.entry.provider, role)
                    && !provider.kind.roles().contains(&&**role)
                {
                    let help = proposal_of_role(role, &provider.kind.roles());
                    sink.put(item.place.clone(), format!("the provider `{name}` has no role `{role}`"), help);
                }
            }
        }
        let secrets = self.secrets.iter().map(|(path, item)| (path.clone(), item.entry.clone()));
        let mounts = self.mounts.iter().map(|(prefix, item)| (prefix.clone(), item.entry.clone()));
        match Catalog::new(secrets, mounts) {
            Ok(catalog) => (!self.incomplete).then_some(catalog),
            Err(faults) => {
                for fault in faults {
                    if let Some(place) = self.place_of(&fault) {
                        sink.put(place, fault.to_string(), "");
                    }
                }
                None
            }
        }
    }

    fn place_of(&self, fault: &CatalogFault) -> Option<Place> {
        let item = match fault {
            CatalogFault::DuplicateSecret(path) | CatalogFault::RestWithoutMount(path) => {
                self.secrets.get(path)
            }
            CatalogFault::DuplicateMount(prefix) | CatalogFault::MountWithoutRest(prefix) => {
                self.mounts.get(prefix)
            }
        };
        item.map(|item| item.place.clone())
    }
}

fn proposal_of_role(role: &str, known: &[&str]) -> String {
    match known.is_empty() {
        true => "write a `[[role]]` with this `name` and `provider`".to_owned(),
        false => proposal(role, known),
    }
}

/// Adds an item, or tells where its name was given before.
fn add<K: Ord + Element>(
    items: &mut BTreeMap<K, Item>,
    name: Found<K>,
    item: Item,
    what: &str,
    section: &Section<'_>,
) {
    if let Some(first) = items.get(&name.value) {
        let message = format!("the {what} `{}` is configured twice", name.value.show());
        section.fault(name.place, message, format!("the other one is at {}", first.place));
    } else {
        items.insert(name.value, item);
    }
}

/// What secrets and mounts have in common. Gives the section back for what is told of it later; says when something of it
/// is missing.
fn read_entry<'t, K>(
    section: Section<'t>,
    name: &Option<Found<K>>,
    incomplete: &mut bool,
) -> Option<(Item, Section<'t>)> {
    let faulty = std::mem::replace(incomplete, true);
    let provider = section.required_at::<ProviderName>("provider");
    let source = read_source(&section);
    let limits = read_limits(&section);
    let max_leases = section.count("max_leases", MOST_LEASES);
    let max_age = section.within("max_age", Freshness::default().max_age, Duration::ZERO..=DAY);
    let max_stale = section.within("max_stale", Freshness::default().max_stale, Duration::ZERO..=DAY);
    let description: Option<String> = section.optional("description");
    let rotated = rotation::read_plan(&section);
    let place = name.as_ref().map_or_else(|| section.place(), |name| name.place.clone());
    section.report_unknown();
    let provider = provider?;
    let entry = Entry {
        provider: provider.value,
        source: source?,
        limits: limits?,
        max_leases,
        freshness: Freshness { max_age, max_stale },
        description: description.map(Into::into),
        rotation: rotated
            .as_ref()
            .ok()
            .and_then(Option::as_ref)
            .map(|rotated| Arc::new(rotated.plan.clone())),
    };
    *incomplete = faulty || rotated.is_err();
    let rotated = rotated.ok().flatten();
    Some((Item { entry, rotated, place, provider: provider.place }, section))
}

fn read_source(section: &Section<'_>) -> Option<Source> {
    let reference = section.take::<String>("ref");
    let role = section.take::<String>("role");
    match (reference, role) {
        (Some(reference), None) => Some(Source::Static { reference: reference.value.into() }),
        (None, Some(role)) => Some(Source::Dynamic { role: role.value.into() }),
        (Some(_), Some(role)) => {
            section.fault(role.place, "`ref` and `role` exclude each other", SOURCE);
            None
        }
        (None, None) => {
            // A value of the wrong type has been told already.
            if !section.has("ref") && !section.has("role") {
                section.fault(section.place(), "`ref` or `role` is missing", SOURCE);
            }
            None
        }
    }
}

const SOURCE: &str =
    "`ref` names a secret that the back end has; `role` has it make a credential for each lease";

/// The TTL limits. A maximum that is given alone below the default TTL is the TTL as well.
fn read_limits(section: &Section<'_>) -> Option<TtlLimits> {
    section.otherwise("ttl", &DEFAULT_TTL);
    section.otherwise("max_ttl", &DEFAULT_MAX_TTL);
    let ttl = section.take::<Duration>("ttl");
    let max_ttl = section.take::<Duration>("max_ttl");
    let place =
        ttl.as_ref().or(max_ttl.as_ref()).map_or_else(|| section.place(), |found| found.place.clone());
    let (default, max) = match (ttl, max_ttl) {
        (None, None) => (DEFAULT_TTL, DEFAULT_MAX_TTL),
        (Some(ttl), None) => (ttl.value, ttl.value.max(DEFAULT_MAX_TTL)),
        (None, Some(max)) => (DEFAULT_TTL.min(max.value), max.value),
        (Some(ttl), Some(max)) => (ttl.value, max.value),
    };
    match TtlLimits::new(default, max) {
        Ok(limits) => Some(limits),
        Err(error) => {
            let help = format!("now ttl is {} and max_ttl is {}", default.show(), max.show());
            section.fault(place, error.to_string(), help);
            None
        }
    }
}

#[cfg(feature = "local")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Faults, tests::main_with};

    fn load(main: &str, more: &[(&str, &str)]) -> Result<Catalog, Faults> {
        let more: Vec<_> = more
            .iter()
            .map(|(name, text)| crate::config::Source::new(format!("/c/secrets.d/{name}"), *text))
            .collect();
        Config::parse(&main_with(main), &more).map(|config| config.catalog)
    }

    #[test]
    fn secrets_come_from_every_file() {
        let catalog = load(
            "[[secret]]\npath = 'prod/a'\nprovider = 'main'\nref = 'a'\nttl = '5m'\nmax_stale = '1h'\n",
            &[("more.toml", "[[mount]]\nprefix = 'dev/'\nprovider = 'main'\nref = 'x/{rest}'\n")],
        )
        .unwrap();
        let a = catalog.resolve(&"prod/a".parse().unwrap()).unwrap().entry;
        assert_eq!(a.limits, TtlLimits::new(Duration::from_secs(300), DEFAULT_MAX_TTL).unwrap());
        assert_eq!(a.freshness.max_stale, Duration::from_secs(3600));
        let b = catalog.resolve(&"dev/b/c".parse().unwrap()).unwrap().entry;
        assert_eq!(b.source, Source::Static { reference: "x/b/c".into() });
    }

    #[test]
    fn a_name_given_twice_is_told_with_both_places() {
        let one = "[[secret]]\npath = 'prod/a'\nprovider = 'main'\nref = 'a'\n";
        let faults = load("", &[("1.toml", one), ("2.toml", one)]).unwrap_err().to_string();
        assert_eq!(
            faults,
            "/c/secrets.d/2.toml:2:8: the secret `prod/a` is configured twice\n    the other one is at /c/secrets.d/1.toml:2:8"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("[[secret]]\n", "`path` is missing in [[secret]]"),
            ("[[secret]]\npath = 'prod'\nprovider = 'main'\nref = 'a'\n", "an environment and a name"),
            (
                "[[secret]]\npath = 'prod/a'\nprovider = 'mian'\nref = 'a'\n",
                "there is no provider `mian`\n    did you mean `main`?",
            ),
            ("[[secret]]\npath = 'prod/a'\nprovider = 'main'\n", "`ref` or `role` is missing"),
            ("[[secret]]\npath = 'prod/a'\nprovider = 'main'\nref = 'a'\nrole = 'b'\n", "exclude each other"),
            (
                "[[secret]]\npath = 'prod/a'\nprovider = 'main'\nref = '{rest}'\n",
                "which only a mount can fill",
            ),
            ("[[mount]]\nprefix = 'prod/'\nprovider = 'main'\nref = 'a'\n", "needs `{rest}` exactly once"),
            (
                "[[mount]]\nprefix = 'prod'\nprovider = 'main'\nref = '{rest}'\n",
                "a path prefix ends with `/`",
            ),
            (
                "[[secret]]\npath = 'prod/a'\nprovider = 'main'\nref = 'a'\nttl = '2h'\nmax_ttl = '1h'\n",
                "now ttl is 2h and max_ttl is 1h",
            ),
            (
                "[[secret]]\npath = 'prod/a'\nprovider = 'main'\nref = 'a'\nmaxttl = '1h'\n",
                "did you mean `max_ttl`?",
            ),
            ("[secret]\npath = 'prod/a'\n", "`secret` is a list of tables"),
            ("[[secrets]]\n", "unknown key `secrets` in the file\n    did you mean `secret`?"),
        ];
        for (toml, expected) in cases {
            let faults = load(toml, &[]).unwrap_err().to_string();
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
        let faults = load("", &[("a.toml", "[listen]\naddress = 'x'\n")]).unwrap_err().to_string();
        assert!(faults.contains("/c/secrets.d/a.toml:1:2: unknown key `listen` in the file"), "{faults}");
    }

    #[test]
    fn what_refers_to_a_faulty_provider_is_not_at_fault() {
        let toml = "[[provider]]\nname = 'broken'\nkind = 'locl'\n[[role]]\nname = 'r'\nprovider = 'broken'\n\
                    [[secret]]\npath = 'prod/a'\nprovider = 'broken'\nref = 'a'\n\
                    [[secret]]\npath = 'prod/b'\nprovider = 'broken'\nrole = 'r'\n";
        let faults = load(toml, &[]).unwrap_err();
        assert_eq!(faults.iter().count(), 1, "{faults}");
        assert!(faults.to_string().contains("no kind of provider `locl`"), "{faults}");
    }
}
