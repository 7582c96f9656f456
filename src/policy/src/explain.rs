//! Why a request is decided as it is: what each policy had to do with it. For people; slow.

use std::fmt;

use cedar_policy::{Policy, PolicySet, Request};
use leasehold_core::{
    access::AccessRequest,
    record::{Decision, Effect},
};
use serde::Serialize;

use crate::{
    clause, context,
    entities::Party,
    policies::{Case, Policies, Rule},
    select::Misfit,
};

/// A decision with its whole story.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The decision, as it would be recorded.
    pub decision: Decision,
    /// Who asks, as policies see it.
    pub principal: EntityView,
    /// For what, as policies see it.
    pub resource: EntityView,
    /// Every policy, those that apply first.
    pub policies: Vec<Considered>,
}

/// An entity as policies see it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EntityView {
    /// Its own name, such as `Secret::"prod/payments/db"`.
    pub entity: String,
    /// What it is `in`, sorted.
    pub ancestors: Vec<String>,
}

/// One policy and what it had to do with the request.
#[derive(Clone, Debug, Serialize)]
pub struct Considered {
    /// Its name.
    pub name: String,
    /// What it does when it applies.
    pub effect: PolicyEffect,
    /// Where it stands.
    pub file: String,
    /// The line where it begins.
    pub line: usize,
    /// What it is for, in its author's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it applies.
    pub verdict: Verdict,
    /// What of it the request does not meet, as it is written in the policy: parts of its head, else conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<String>,
    /// Its text.
    pub text: String,
}

/// What a policy does when it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyEffect {
    /// It permits, unless another forbids.
    Permit,
    /// It forbids, whatever others permit.
    Forbid,
}

/// Whether a policy applies to a request, and if not, why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It applies.
    Applies,
    /// Its conditions do not hold.
    ConditionNotMet,
    /// Its conditions could not be evaluated, which denies the request.
    Failed(String),
    /// It is for other resources.
    OtherResource,
    /// It is for other actions.
    OtherAction,
    /// It is for other principals.
    OtherPrincipal,
}

impl Explanation {
    pub(crate) fn new(policies: &Policies, request: &AccessRequest<'_>) -> Self {
        Self::of(policies, request, |_| true)
    }

    /// Without the policies whose heads lack more than the principal or the resource: they are most of a large folder, and
    /// nobody who is denied is told of them.
    pub(crate) fn brief(policies: &Policies, request: &AccessRequest<'_>) -> Self {
        Self::of(policies, request, |misfits| matches!(misfits, [] | [Misfit::Principal | Misfit::Resource]))
    }

    fn of(policies: &Policies, request: &AccessRequest<'_>, matters: impl Fn(&[Misfit]) -> bool) -> Self {
        let decision = policies.decide(request);
        // What cannot even be asked is said by the decision's errors.
        let Ok(case) = policies.case(request) else {
            return Self {
                decision,
                principal: EntityView::default(),
                resource: EntityView::default(),
                policies: Vec::new(),
            };
        };
        let mut considered: Vec<Considered> = policies
            .rules()
            .iter()
            .filter_map(|rule| {
                let misfits: Vec<Misfit> = case.misfits(rule).collect();
                matters(&misfits).then(|| consider(policies, request, &case, rule, &misfits))
            })
            .collect();
        considered.sort_by_key(|policy| policy.verdict.rank());
        Self {
            decision,
            principal: EntityView::of(&case.principal),
            resource: EntityView::of(&case.resource),
            policies: considered,
        }
    }

    /// The policies that apply.
    pub fn applying(&self) -> impl Iterator<Item = &Considered> {
        self.policies.iter().filter(|policy| policy.verdict == Verdict::Applies)
    }
}

fn consider(
    policies: &Policies,
    request: &AccessRequest<'_>,
    case: &Case,
    rule: &Rule,
    misfits: &[Misfit],
) -> Considered {
    let verdict = match misfits.first() {
        Some(Misfit::Principal) => Verdict::OtherPrincipal,
        Some(Misfit::Action) => Verdict::OtherAction,
        Some(Misfit::Resource) => Verdict::OtherResource,
        None => evaluate(policies, request, case, &rule.policy).unwrap_or_else(Verdict::Failed),
    };
    let unmet = match verdict {
        Verdict::ConditionNotMet => clause::of(&rule.policy)
            .into_iter()
            .filter(|clause| evaluate(policies, request, case, &clause.alone) != Ok(Verdict::Applies))
            .map(|clause| clause.text)
            .collect(),
        _ => misfits.iter().map(|part| rule.head.part(*part)).collect(),
    };
    Considered {
        name: rule.name.as_ref().to_owned(),
        effect: match rule.policy.effect() {
            cedar_policy::Effect::Permit => PolicyEffect::Permit,
            cedar_policy::Effect::Forbid => PolicyEffect::Forbid,
        },
        file: rule.file.as_ref().to_owned(),
        line: rule.line,
        description: rule.policy.annotation("description").map(str::to_owned),
        verdict,
        unmet,
        text: rule.policy.to_string(),
    }
}

/// Asks one policy alone.
fn evaluate(
    policies: &Policies,
    request: &AccessRequest<'_>,
    case: &Case,
    policy: &Policy,
) -> Result<Verdict, String> {
    let alone = PolicySet::from_policies([policy.clone()]).map_err(|e| e.to_string())?;
    let context = context::context(request.action, &request.context)?;
    let asked = Request::new(
        case.principal.uid.clone(),
        case.action.uid.clone(),
        case.resource.uid.clone(),
        context,
        None,
    )
    .map_err(|e| e.to_string())?;
    let response = policies.authorizer().is_authorized(&asked, &alone, &case.entities()?);
    if let Some(error) = response.diagnostics().errors().next() {
        return Err(error.to_string());
    }
    let applies = response.diagnostics().reason().next().is_some();
    Ok(if applies { Verdict::Applies } else { Verdict::ConditionNotMet })
}

impl EntityView {
    fn of(party: &Party) -> Self {
        let mut ancestors: Vec<String> = party.ancestors.iter().map(ToString::to_string).collect();
        ancestors.sort();
        Self { entity: party.uid.to_string(), ancestors }
    }
}

impl Verdict {
    fn rank(&self) -> u8 {
        match self {
            Self::Applies => 0,
            Self::Failed(_) => 1,
            Self::ConditionNotMet => 2,
            Self::OtherResource => 3,
            Self::OtherAction => 4,
            Self::OtherPrincipal => 5,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applies => f.write_str("applies"),
            Self::ConditionNotMet => f.write_str("its conditions do not hold"),
            Self::Failed(why) => write!(f, "could not be evaluated: {why}"),
            Self::OtherResource => f.write_str("is for other resources"),
            Self::OtherAction => f.write_str("is for other actions"),
            Self::OtherPrincipal => f.write_str("is for other principals"),
        }
    }
}

impl fmt::Display for PolicyEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permit => "permit",
            Self::Forbid => "forbid",
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.decision.effect {
            Effect::Allow => "ALLOW",
            Effect::Deny => "DENY",
        };
        writeln!(f, "{effect}: {} {} {}", self.principal.entity, self.decision.action, self.resource.entity)?;
        for error in &self.decision.errors {
            writeln!(f, "  error: {error}")?;
        }
        let mut applying = self.applying().peekable();
        if applying.peek().is_none() {
            writeln!(f, "  no policy applies, and what no policy permits is denied")?;
        }
        for policy in applying {
            writeln!(f, "  {} {} ({}:{})", policy.effect, policy.name, policy.file, policy.line)?;
            for line in policy.text.lines() {
                writeln!(f, "    {line}")?;
            }
        }
        if let Some(limit) = self.decision.max_ttl {
            writeln!(f, "  for at most {} seconds", limit.as_secs())?;
        }
        for policy in self.policies.iter().filter(|policy| policy.verdict != Verdict::Applies) {
            write!(f, "  not {} {}: {}", policy.effect, policy.name, policy.verdict)?;
            if !policy.unmet.is_empty() {
                write!(f, ": {}", policy.unmet.join(", "))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "  the principal is in: {}", self.principal.ancestors.join(", "))?;
        write!(f, "  the resource is in: {}", self.resource.ancestors.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use leasehold_core::access::{Action, Resource};

    use super::*;
    use crate::identity::PolicySettings;

    #[test]
    fn each_policy_says_what_it_had_to_do_with_it() {
        let text = r#"
            @id("applies") permit (principal, action, resource in SecretPath::"prod");
            @id("condition") permit (principal, action, resource is Secret) when { resource.path == "x" };
            @id("principal") permit (principal is Operator, action, resource);
            @id("action") permit (principal, action == Action::"ReadLease", resource);
            @id("resource") permit (principal, action, resource in SecretPath::"prod/a");"#;
        let files = [("a.cedar".to_owned(), text.to_owned())];
        let policies = Policies::parse(files, PolicySettings::new("example.org".parse().unwrap())).unwrap();
        let principal = "spiffe://example.org/prod/api".parse().unwrap();
        let resource = Resource::Secret("prod/b".parse().unwrap());
        let explanation = policies.explain(&AccessRequest {
            principal: &principal,
            action: Action::IssueLease,
            resource: &resource,
            context: BTreeMap::new(),
        });
        let told: Vec<_> =
            explanation.policies.iter().map(|policy| (&*policy.name, policy.verdict.clone())).collect();
        assert_eq!(
            told,
            [
                ("applies", Verdict::Applies),
                ("condition", Verdict::ConditionNotMet),
                ("resource", Verdict::OtherResource),
                ("action", Verdict::OtherAction),
                ("principal", Verdict::OtherPrincipal),
            ]
        );
        let unmet: Vec<_> = explanation.policies.iter().map(|policy| policy.unmet.join(", ")).collect();
        assert_eq!(
            unmet,
            [
                "",
                r#"when { resource.path == "x" }"#,
                r#"resource in SecretPath::"prod/a""#,
                r#"action == Action::"ReadLease""#,
                "principal is Operator",
            ]
        );
        let shown = explanation.to_string();
        assert!(
            shown.starts_with("ALLOW: Workload::\"spiffe://example.org/prod/api\" IssueLease"),
            "{shown}"
        );
        assert!(shown.contains("permit applies (a.cedar:2)"), "{shown}");
        assert!(
            shown.contains("not permit principal: is for other principals: principal is Operator"),
            "{shown}"
        );
        assert!(shown.contains(r#"the resource is in: Environment::"prod", SecretPath::"prod""#), "{shown}");
    }
}
