//! An explanation as it travels with a denial: short, and no word of what did not matter.

use std::{ffi::OsStr, path::Path};

use leasehold_core::{
    explanation::{self, Grounds},
    record::Effect,
};

use crate::explain::{Considered, Explanation, PolicyEffect, Verdict};

/// An answer's trailers have little room: so many policies are named, and so many bytes are said of each.
const POLICIES: usize = 8;
const BYTES: usize = 240;

impl Explanation {
    /// What whoever is denied is told: the policies that forbid it or could not be evaluated, and those that would permit
    /// it but for one thing.
    pub(crate) fn of_denial(&self) -> explanation::Explanation {
        let is = |effect: PolicyEffect| self.applying().any(|policy| policy.effect == effect);
        let grounds = match self.decision.effect {
            Effect::Allow => Grounds::Permitted,
            Effect::Deny if !self.decision.errors.is_empty() => Grounds::NotEvaluated,
            Effect::Deny if is(PolicyEffect::Forbid) => Grounds::Forbidden,
            Effect::Deny => Grounds::NotPermitted,
        };
        let mut told: Vec<(u8, &Considered)> =
            self.policies.iter().filter_map(|policy| Some((weight(policy)?, policy))).collect();
        // Policies have no order; whoever reads few of them wants those first that say most.
        told.sort_by_key(|(weight, _)| *weight);
        let mut policies: Vec<String> =
            told.iter().take(POLICIES).map(|(_, policy)| cut(line(policy))).collect();
        let more = told.len().saturating_sub(policies.len());
        if more > 0 {
            policies.push(format!("and {more} more: `leasehold policy explain` names all of them"));
        }
        explanation::Explanation {
            grounds,
            policies,
            principal: cut(self.principal_in_few_words()),
            policy_set: self.decision.policy_set.clone(),
        }
    }

    /// Without the starts of its own name, which it is `in` too.
    fn principal_in_few_words(&self) -> String {
        let ancestors = self.principal.ancestors.iter().filter(|name| !name.starts_with("SpiffePath::"));
        let ancestors: Vec<_> = ancestors.map(String::as_str).collect();
        match ancestors.as_slice() {
            [] => format!("{}, in no group", self.principal.entity),
            some => format!("{}, in {}", self.principal.entity, some.join(", ")),
        }
    }
}

/// How much a policy has to do with a denial; nothing when it would not have made it another decision by itself.
fn weight(policy: &Considered) -> Option<u8> {
    let one = policy.unmet.len() == 1;
    match (policy.effect, &policy.verdict) {
        (_, Verdict::Failed(_)) => Some(0),
        (PolicyEffect::Forbid, Verdict::Applies) => Some(1),
        (PolicyEffect::Permit, Verdict::Applies) => Some(2),
        (PolicyEffect::Permit, Verdict::ConditionNotMet) => Some(3),
        (PolicyEffect::Permit, Verdict::OtherPrincipal) if one => Some(4),
        (PolicyEffect::Permit, Verdict::OtherResource) if one => Some(5),
        // What it permits is not what was asked for.
        (PolicyEffect::Permit, _) | (PolicyEffect::Forbid, _) => None,
    }
}

fn line(policy: &Considered) -> String {
    let Considered { effect, name, file, line, verdict, unmet, description, .. } = policy;
    // Where the folder lies on the broker's machine is nobody's business.
    let file = Path::new(file).file_name().map_or(file.into(), OsStr::to_string_lossy);
    let mut told = format!("{effect} {name} ({file}:{line}) {verdict}");
    if !unmet.is_empty() {
        told.push_str(&format!(": {}", unmet.join(", ")));
    }
    if let Some(description) = description {
        told.push_str(&format!(" ({description})"));
    }
    told
}

/// At most so many bytes, on one line.
fn cut(text: String) -> String {
    let text = text.replace(char::is_control, " ");
    if text.len() <= BYTES {
        return text;
    }
    let end = text.floor_char_boundary(BYTES);
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fmt::Write as _};

    use leasehold_core::access::{AccessRequest, Action, Resource};

    use super::*;
    use crate::{identity::PolicySettings, policies::Policies};

    fn told(text: &str, action: Action, path: &str) -> explanation::Explanation {
        let files = [("/etc/leasehold/policies/a.cedar".to_owned(), text.to_owned())];
        let mut settings = PolicySettings::new("example.org".parse().unwrap());
        settings.operators = vec!["/operator/".to_owned()];
        settings.groups.insert("people".to_owned(), vec!["/operator/".to_owned()]);
        let policies = Policies::parse(files, settings).unwrap();
        let principal = "spiffe://example.org/operator/alice".parse().unwrap();
        let resource = Resource::Secret(path.parse().unwrap());
        let context = BTreeMap::new();
        let request = AccessRequest { principal: &principal, action, resource: &resource, context };
        let told = policies.explain_denial(&request);
        assert_eq!(told, policies.explain(&request).of_denial(), "what is left out makes no difference");
        told
    }

    #[test]
    fn who_is_denied_is_told_what_would_have_permitted_it_but_for_one_thing() {
        let text = r#"
            @id("look") permit (principal is Operator, action == Action::"ReadLease", resource);
            @id("write") @description("Admins write")
            permit (principal in Group::"admins", action == Action::"WriteSecret", resource);
            @id("elsewhere") permit (principal is Operator, action, resource in SecretPath::"dev");
            @id("both") permit (principal in Group::"admins", action, resource in SecretPath::"dev");
            @id("once") permit (principal is Operator, action, resource is Secret) when { resource.path == "x" };"#;
        let told = told(text, Action::WriteSecret, "prod/b");
        assert_eq!(told.grounds, Grounds::NotPermitted);
        assert_eq!(
            told.policies,
            [
                r#"permit once (a.cedar:7) its conditions do not hold: when { resource.path == "x" }"#,
                r#"permit write (a.cedar:3) is for other principals: principal in Group::"admins" (Admins write)"#,
                r#"permit elsewhere (a.cedar:5) is for other resources: resource in SecretPath::"dev""#,
            ]
        );
        assert_eq!(told.principal, r#"Operator::"spiffe://example.org/operator/alice", in Group::"people""#);
        assert!(!told.policy_set.is_empty());
    }

    #[test]
    fn what_forbids_comes_first_and_what_permits_in_vain_after_it() {
        let text = r#"
            @id("all") permit (principal, action, resource);
            @id("never") forbid (principal, action, resource) unless { principal is Workload };"#;
        let denied = told(text, Action::IssueLease, "prod/b");
        assert_eq!(denied.grounds, Grounds::Forbidden);
        assert_eq!(denied.policies, ["forbid never (a.cedar:3) applies", "permit all (a.cedar:2) applies"]);
        let failing = r#"permit (principal, action == Action::"IssueLease", resource)
            when { (if context has ttl_seconds then 1 else 9223372036854775807) + 1 > 0 };"#;
        let failed = told(failing, Action::IssueLease, "prod/b");
        assert_eq!(failed.grounds, Grounds::NotEvaluated);
        assert!(failed.policies[0].contains("could not be evaluated: "), "{failed:?}");
        let permitted = told("permit (principal, action, resource);", Action::IssueLease, "prod/b");
        assert_eq!(permitted.grounds, Grounds::Permitted);
    }

    #[test]
    fn it_fits_into_an_answer_however_many_policies_there_are() {
        let mut text = String::new();
        for n in 0..100 {
            let long = "ü".repeat(200);
            let _ = writeln!(
                text,
                "@id(\"p{n}\") permit (principal in Group::\"{long}\", action == Action::\"WriteSecret\", resource);"
            );
        }
        let told = told(&text, Action::WriteSecret, "prod/b");
        assert_eq!(told.policies.len(), POLICIES + 1);
        assert_eq!(told.policies[POLICIES], "and 92 more: `leasehold policy explain` names all of them");
        assert!(told.policies.iter().map(String::len).sum::<usize>() < 2200, "{told:?}");
    }

    /// Nothing here knows whether there is such a secret; this holds it to telling no more of one than of another.
    #[test]
    fn one_path_is_explained_like_another() {
        let text = r#"@id("w") permit (principal is Workload, action, resource in SecretPath::"prod");"#;
        let (one, other) =
            (told(text, Action::IssueLease, "prod/b"), told(text, Action::IssueLease, "prod/c"));
        assert_eq!(one, other);
        assert_eq!(one.policies.len(), 1);
    }
}
