//! `[identity]`: whose identities are taken, and what they stand for in policies.

use std::collections::BTreeMap;

use leasehold_core::principal::TrustDomain;

use super::section::{Found, Section};

/// Whose identities are taken, and what they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The only trust domain whose identities are taken.
    pub trust_domain: TrustDomain,
    /// SPIFFE path prefixes (ending with `/`) or exact paths of people rather than workloads.
    pub operators: Vec<String>,
    /// Environments by name, as prefixes or paths; when absent, a workload's first path segment is its environment.
    pub environments: Option<BTreeMap<String, Vec<String>>>,
    /// Groups by name, as prefixes or paths.
    pub groups: BTreeMap<String, Vec<String>>,
}

pub(super) fn read(section: Section<'_>) -> Option<Identity> {
    let trust_domain = section.required("trust_domain");
    let operators = section.take::<Vec<String>>("operators");
    let operators = operators.map_or_else(Vec::new, |found| checked("operators", found, &section));
    let environments = section.try_section("environments").map(|table| named(&table, &section));
    let groups = section.try_section("groups").map(|table| named(&table, &section)).unwrap_or_default();
    section.finish();
    Some(Identity { trust_domain: trust_domain?, operators, environments, groups })
}

fn named(table: &Section<'_>, section: &Section<'_>) -> BTreeMap<String, Vec<String>> {
    let each = |(name, found): (String, _)| (name.clone(), checked(&name, found, section));
    table.named_texts().into_iter().map(each).collect()
}

/// Prefixes as they are, after telling what none of them can match.
fn checked(name: &str, found: Found<Vec<String>>, section: &Section<'_>) -> Vec<String> {
    for prefix in &found.value {
        if !is_path(prefix) {
            let message = format!("`{prefix}` in `{name}` is not a SPIFFE path or a prefix of one");
            section.fault(
                found.place.clone(),
                message,
                "write `/prod/` for a tree and `/prod/api` for one identity",
            );
        }
    }
    found.value
}

/// `/`, `/a/`, `/a/b`: segments of the SPIFFE specification, with a slash at the end for a tree.
fn is_path(text: &str) -> bool {
    let good = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    let inner = text.strip_prefix('/').map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    text == "/" || inner.is_some_and(|inner| inner.split('/').all(good))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    #[test]
    fn what_is_said_is_kept() {
        let identity = read_section(
            "trust_domain = 'example.org'\noperators = '/operator/'\n[section.environments]\nprod = ['/prod/', '/live/x']\n",
            read,
        )
        .unwrap();
        assert_eq!(identity.operators, ["/operator/"]);
        assert_eq!(identity.environments.unwrap()["prod"], ["/prod/", "/live/x"]);
        assert!(identity.groups.is_empty());
        assert_eq!(read_section("trust_domain = 'example.org'", read).unwrap().environments, None);
    }

    #[test]
    fn what_could_match_nothing_is_refused() {
        for bad in ["prod/", "", "//", "/a//b", "/../", "spiffe://example.org/a", "/a b/"] {
            let faults = faults_of(&format!("trust_domain = 'example.org'\noperators = ['{bad}']"), read);
            assert!(faults.contains("operators"), "{bad:?} gave\n{faults}");
        }
        let faults = faults_of("trust_domain = 'Example.org'\n[section.groups]\npay = 'prod'", read);
        assert!(faults.contains("2:16: `trust_domain` in [section] is not a trust domain"), "{faults}");
        assert!(faults.contains("`prod` in `pay` is not a SPIFFE path"), "{faults}");
    }
}
