//! What the configuration says of identities: who is an operator, who belongs to which environment and group.

use std::collections::BTreeMap;

use leasehold_core::{SpiffeId, principal::TrustDomain};

use crate::fault::Fault;

/// What decides beside the policies themselves.
///
/// Patterns are paths of SPIFFE IDs: `/prod/payments/` (with the slash) means everything below, `/prod/payments/api`
/// means that one identity. They apply to identities of the trust domain only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySettings {
    /// The trust domain whose identities the broker knows.
    pub trust_domain: TrustDomain,
    /// Patterns of the identities that are operators; everybody else is a workload.
    pub operators: Vec<String>,
    /// Patterns of each environment's workloads. When absent, a workload's environment is its path's first segment.
    pub environments: Option<BTreeMap<String, Vec<String>>>,
    /// Patterns of each group's members.
    pub groups: BTreeMap<String, Vec<String>>,
}

/// The settings, ready to be asked.
pub(crate) struct Directory {
    trust_domain: TrustDomain,
    operators: Vec<Pattern>,
    environments: Option<Vec<(Pattern, Box<str>)>>,
    groups: Vec<(Pattern, Box<str>)>,
}

/// What the settings say of one identity.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Profile<'a> {
    pub(crate) operator: bool,
    pub(crate) environment: Option<&'a str>,
    pub(crate) groups: Vec<&'a str>,
}

struct Pattern(Box<str>);

impl PolicySettings {
    /// Settings of a trust domain without operators and groups, where the first segment is the environment.
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self { trust_domain, operators: Vec::new(), environments: None, groups: BTreeMap::new() }
    }

    /// A text that is the same exactly when the settings mean the same.
    pub(crate) fn canonical(&self) -> String {
        let mut operators = self.operators.clone();
        operators.sort();
        operators.dedup();
        let sorted = |map: &BTreeMap<String, Vec<String>>| {
            let mut map = map.clone();
            map.values_mut().for_each(|patterns| {
                patterns.sort();
                patterns.dedup();
            });
            map
        };
        let environments = self.environments.as_ref().map(sorted);
        format!("{:?} {:?} {environments:?} {:?}", self.trust_domain, operators, sorted(&self.groups))
    }
}

impl Directory {
    /// Whether this is the broker itself, as it rotates secrets by schedule.
    pub(crate) fn is_scheduler(&self, id: &SpiffeId) -> bool {
        id.trust_domain() == self.trust_domain.as_str() && id.path() == "/leasehold/scheduler"
    }

    /// Reads the settings, and notes every fault.
    pub(crate) fn new(settings: &PolicySettings, faults: &mut Vec<Fault>) -> Self {
        let mut fault = |message: String| faults.push(Fault::of(None, message));
        let mut operators = Vec::new();
        for text in &settings.operators {
            match Pattern::parse(text) {
                Err(why) => fault(format!("identity.operators: `{text}` {why}")),
                Ok(pattern) if &*pattern.0 == "/" => {
                    fault("identity.operators: `/` would make every identity an operator".to_owned());
                }
                Ok(pattern) => operators.push(pattern),
            }
        }
        let environments = settings.environments.as_ref().map(|table| {
            let mut patterns: Vec<(Pattern, Box<str>)> = Vec::new();
            for (name, text) in table.iter().flat_map(|(name, texts)| texts.iter().map(move |text| (name, text))) {
                match Pattern::parse(text) {
                    Err(why) => fault(format!("identity.environments.{name}: `{text}` {why}")),
                    Ok(pattern) => match patterns.iter().find(|(other, _)| other.0 == pattern.0) {
                        Some((_, other)) if **other != **name => fault(format!(
                            "identity.environments: `{text}` is in `{other}` and in `{name}`, and a workload has one environment"
                        )),
                        Some(_) => {}
                        None => patterns.push((pattern, name.as_str().into())),
                    },
                }
            }
            // The longest pattern decides, so that `/prod/` can have an exception below it.
            patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.0.len()));
            patterns
        });
        let mut groups = Vec::new();
        for (name, text) in
            settings.groups.iter().flat_map(|(name, texts)| texts.iter().map(move |text| (name, text)))
        {
            match Pattern::parse(text) {
                Err(why) => fault(format!("identity.groups.{name}: `{text}` {why}")),
                Ok(pattern) => groups.push((pattern, name.as_str().into())),
            }
        }
        Self { trust_domain: settings.trust_domain.clone(), operators, environments, groups }
    }

    /// What the settings say of `id`. An identity of another trust domain is a workload without environment and groups.
    pub(crate) fn profile<'a>(&'a self, id: &'a SpiffeId) -> Profile<'a> {
        let path = id.path();
        if !self.trust_domain.owns(id) {
            return Profile { operator: false, environment: None, groups: Vec::new() };
        }
        let operator = self.operators.iter().any(|pattern| pattern.matches(path));
        let environment = match &self.environments {
            _ if operator => None,
            None => id.segments().next(),
            Some(table) => table.iter().find(|(pattern, _)| pattern.matches(path)).map(|(_, name)| &**name),
        };
        let mut groups: Vec<&str> = self
            .groups
            .iter()
            .filter(|(pattern, _)| pattern.matches(path))
            .map(|(_, name)| &**name)
            .collect();
        groups.dedup();
        Profile { operator, environment, groups }
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("is not a path: it starts with `/`, such as `/prod/payments/`");
        };
        let segments = rest.strip_suffix('/').unwrap_or(rest);
        let good = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if text != "/" && !segments.split('/').all(good) {
            return Err(
                "can match no SPIFFE ID: segments are of A-Z a-z 0-9 . _ - and there are no wildcards (a `/` at the end means everything below)",
            );
        }
        Ok(Self(text.into()))
    }

    fn matches(&self, path: &str) -> bool {
        if self.0.ends_with('/') { path.starts_with(&*self.0) } else { *path == *self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> PolicySettings {
        let own = |texts: &[&str]| texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>();
        PolicySettings {
            trust_domain: "example.org".parse().unwrap(),
            operators: own(&["/operator/"]),
            environments: Some(BTreeMap::from([
                ("prod".to_owned(), own(&["/live/"])),
                ("staging".to_owned(), own(&["/live/canary/", "/stage/"])),
            ])),
            groups: BTreeMap::from([
                ("payments".to_owned(), own(&["/live/payments/", "/stage/payments/"])),
                ("admins".to_owned(), own(&["/operator/alice"])),
            ]),
        }
    }

    fn directory(settings: &PolicySettings) -> Directory {
        let mut faults = Vec::new();
        let directory = Directory::new(settings, &mut faults);
        assert_eq!(faults, []);
        directory
    }

    #[test]
    fn identities_are_classed_by_whole_segments() {
        let directory = directory(&settings());
        let profile = |text: &str| {
            let id: SpiffeId = text.parse().unwrap();
            let profile = directory.profile(&id);
            (profile.operator, profile.environment.map(str::to_owned), profile.groups.join(","))
        };
        let prod = Some("prod".to_owned());
        assert_eq!(profile("spiffe://example.org/live/payments/api"), (false, prod, "payments".to_owned()));
        assert_eq!(
            profile("spiffe://example.org/live/canary/api"),
            (false, Some("staging".to_owned()), String::new()),
            "the longer pattern decides"
        );
        assert_eq!(profile("spiffe://example.org/liveliness/x"), (false, None, String::new()));
        assert_eq!(profile("spiffe://example.org/operator/alice"), (true, None, "admins".to_owned()));
        assert_eq!(profile("spiffe://example.org/operator/alice2"), (true, None, String::new()));
        assert_eq!(profile("spiffe://example.org/operators/bob"), (false, None, String::new()));
        assert_eq!(profile("spiffe://evil.test/operator/alice"), (false, None, String::new()));
        assert_eq!(profile("spiffe://evil.test/live/payments/api"), (false, None, String::new()));
    }

    #[test]
    fn without_a_table_the_first_segment_is_the_environment() {
        let directory = directory(&PolicySettings { environments: None, ..settings() });
        let id = "spiffe://example.org/prod/api".parse().unwrap();
        assert_eq!(directory.profile(&id).environment, Some("prod"));
        let foreign = "spiffe://evil.test/prod/api".parse().unwrap();
        assert_eq!(directory.profile(&foreign).environment, None);
    }

    #[test]
    fn every_bad_pattern_is_told() {
        let own = |text: &str| vec![text.to_owned()];
        let bad = PolicySettings {
            trust_domain: "example.org".parse().unwrap(),
            operators: vec!["/".to_owned(), "operator/".to_owned()],
            environments: Some(BTreeMap::from([
                ("prod".to_owned(), own("/live/")),
                ("staging".to_owned(), own("/live/")),
            ])),
            groups: BTreeMap::from([("all".to_owned(), own("/prod/*"))]),
        };
        let mut faults = Vec::new();
        Directory::new(&bad, &mut faults);
        let said: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 4, "{said:#?}");
        assert!(said[0].contains("every identity an operator"), "{}", said[0]);
        assert!(said[1].contains("`operator/` is not a path"), "{}", said[1]);
        assert!(said[2].contains("in `prod` and in `staging`"), "{}", said[2]);
        assert!(said[3].contains("no wildcards"), "{}", said[3]);
    }

    #[test]
    fn the_canonical_form_forgets_order_and_nothing_else() {
        let mut other = settings();
        other.environments.as_mut().unwrap().get_mut("staging").unwrap().reverse();
        assert_eq!(settings().canonical(), other.canonical());
        other.operators.push("/admin/".to_owned());
        assert_ne!(settings().canonical(), other.canonical());
    }
}
