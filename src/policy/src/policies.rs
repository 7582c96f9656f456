//! A compiled policy set and the decisions that it makes.

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use cedar_policy::{Authorizer, Entities, Policy, PolicyId, PolicySet, Schema};
use leasehold_core::{
    access::AccessRequest,
    explanation,
    record::{Decision, Effect},
};

use crate::{
    context::{self, Reads},
    entities::{Party, Vocabulary},
    explain::Explanation,
    fault::{Fault, PolicyErrors},
    identity::{Directory, PolicySettings},
    limit, load,
    select::{Head, Index, Misfit},
    site::{Selection, Site, Sites},
};

/// The schema that every policy set is validated against, in Cedar's own schema language.
pub const SCHEMA: &str = include_str!("../../../config/schema.cedarschema");

/// So many triples of principal, action and resource are kept prepared; each takes a few kilobytes.
const PLACES: usize = 2048;
/// So many different selections of policies are kept; the sites share them.
const SELECTIONS: usize = 512;

/// Every policy of a folder, validated and compiled. Immutable.
pub struct Policies {
    rules: Vec<Rule>,
    by_name: HashMap<Arc<str>, usize>,
    index: Index,
    vocabulary: Vocabulary,
    directory: Directory,
    digest: Arc<str>,
    warnings: Vec<Fault>,
    authorizer: Authorizer,
    sites: Sites,
    selections: Mutex<HashMap<Vec<usize>, Arc<Selection>>>,
}

/// One policy.
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    pub(crate) policy: Policy,
    pub(crate) head: Head,
    /// What a permit grants at most; absent when it says nothing.
    pub(crate) max_ttl: Option<std::time::Duration>,
    pub(crate) file: Arc<str>,
    /// Where it begins in its file, counted from 1.
    pub(crate) line: usize,
}

/// A request with everything that can be said of it before any policy is asked.
pub(crate) struct Case {
    pub(crate) principal: Party,
    pub(crate) action: Party,
    pub(crate) resource: Party,
}

impl Policies {
    /// Reads, validates and compiles every `*.cedar` file of a folder.
    ///
    /// # Errors
    /// Every fault of every file, and of the settings; nothing is loaded then.
    pub fn load(folder: &Path, settings: PolicySettings) -> Result<Self, PolicyErrors> {
        Self::parse(load::read(folder)?, settings)
    }

    /// Validates and compiles policies given as pairs of a file's name and its text.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(
        files: impl IntoIterator<Item = (String, String)>,
        settings: PolicySettings,
    ) -> Result<Self, PolicyErrors> {
        let mut faults = Vec::new();
        let directory = Directory::new(&settings, &mut faults);
        let schema = match Schema::from_cedarschema_str(SCHEMA) {
            Ok((schema, _)) => schema,
            Err(why) => {
                faults.push(Fault::of(None, format!("the built-in schema: {why}")));
                return Err(PolicyErrors::of(faults));
            }
        };
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort();
        let digest = load::digest(&files, &settings);
        let (rules, warnings) = load::rules(&files, &schema, &mut faults);
        let vocabulary =
            Vocabulary::new(&schema).map_err(|why| PolicyErrors::of(vec![Fault::of(None, why)]))?;
        if !faults.is_empty() {
            return Err(PolicyErrors::of(faults));
        }
        Ok(Self::compile(rules, vocabulary, directory, digest, warnings))
    }

    pub(crate) fn compile(
        rules: Vec<Rule>,
        vocabulary: Vocabulary,
        directory: Directory,
        digest: Arc<str>,
        warnings: Vec<Fault>,
    ) -> Self {
        let by_name =
            rules.iter().enumerate().map(|(position, rule)| (Arc::clone(&rule.name), position)).collect();
        let index = Index::new(rules.iter().map(|rule| &rule.head));
        Self {
            rules,
            by_name,
            index,
            vocabulary,
            directory,
            digest,
            warnings,
            authorizer: Authorizer::new(),
            sites: Sites::new(PLACES),
            selections: Mutex::default(),
        }
    }

    /// Names everything that decides: the policies' texts, the settings and the schema. The start of a SHA-256, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none; everything is denied then.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The policies' names in the order of their files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| &*rule.name)
    }

    /// What is allowed but looks like a mistake, such as a policy that can never apply.
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }

    /// The decision on a request. Whatever goes wrong is in its errors, and a denial.
    pub fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        match self.evaluate(request) {
            Ok(decision) => decision,
            Err(why) => self.decision(request, Effect::Deny, Vec::new(), vec![why]),
        }
    }

    /// The decision on a request, and what each policy had to do with it.
    pub fn explain(&self, request: &AccessRequest<'_>) -> Explanation {
        Explanation::new(self, request)
    }

    /// Why a request is denied, in the few words that travel with a denial.
    pub fn explain_denial(&self, request: &AccessRequest<'_>) -> explanation::Explanation {
        Explanation::brief(self, request).of_denial()
    }

    fn evaluate(&self, request: &AccessRequest<'_>) -> Result<Decision, String> {
        context::check(request.action, &request.context)?;
        let site = self.sites.find(request, || self.prepare(request))?;
        if let Some(decision) = site.decided(&request.context) {
            return Ok(decision);
        }
        let asked = site.request(&request.context)?;
        let response = self.authorizer.is_authorized(&asked, &site.selection.policies, &site.entities);
        let effect = match response.decision() {
            cedar_policy::Decision::Allow => Effect::Allow,
            cedar_policy::Decision::Deny => Effect::Deny,
        };
        let mut determining: Vec<&Rule> =
            response.diagnostics().reason().filter_map(|id| self.rule(id)).collect();
        determining.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let errors = response.diagnostics().errors().map(ToString::to_string).collect();
        let decision = self.decision(request, effect, determining, errors);
        site.keep(decision.clone());
        Ok(decision)
    }

    fn decision(
        &self,
        request: &AccessRequest<'_>,
        effect: Effect,
        determining: Vec<&Rule>,
        errors: Vec<String>,
    ) -> Decision {
        let max_ttl = match effect {
            Effect::Allow => limit::longest(determining.iter().map(|rule| rule.max_ttl)),
            Effect::Deny => None,
        };
        Decision {
            action: request.action,
            effect: if errors.is_empty() { effect } else { Effect::Deny },
            policies: determining.into_iter().map(|rule| Arc::clone(&rule.name)).collect(),
            max_ttl,
            policy_set: Arc::clone(&self.digest),
            inputs: request.context.clone(),
            errors,
        }
    }

    fn prepare(&self, request: &AccessRequest<'_>) -> Result<Site, String> {
        let case = self.case(request)?;
        let mut selected = self.index.candidates(&case.principal, &case.resource);
        selected.retain(|position| {
            self.rules.get(*position).is_some_and(|rule| case.misfits(rule).next().is_none())
        });
        let selection = self.selection(selected)?;
        let entities = case.entities()?;
        Ok(Site::new(request, selection, entities, [case.principal.uid, case.action.uid, case.resource.uid]))
    }

    /// The set of these policies; made once for all the sites that have the same.
    fn selection(&self, positions: Vec<usize>) -> Result<Arc<Selection>, String> {
        let mut selections = self.selections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = selections.get(&positions) {
            return Ok(Arc::clone(set));
        }
        let chosen =
            || positions.iter().filter_map(|position| self.rules.get(*position)).map(|rule| &rule.policy);
        let policies = PolicySet::from_policies(chosen().cloned()).map_err(|e| e.to_string())?;
        let reads = chosen().map(Reads::of).fold(Reads::default(), Reads::and);
        let set = Arc::new(Selection { policies, reads });
        if selections.len() >= SELECTIONS {
            selections.clear();
        }
        selections.insert(positions, Arc::clone(&set));
        Ok(set)
    }

    pub(crate) fn case(&self, request: &AccessRequest<'_>) -> Result<Case, String> {
        Ok(Case {
            principal: self.vocabulary.principal(&self.directory, request.principal)?,
            action: self.vocabulary.action(request.action)?,
            resource: self.vocabulary.resource(request.resource)?,
        })
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub(crate) fn authorizer(&self) -> &Authorizer {
        &self.authorizer
    }

    fn rule(&self, id: &PolicyId) -> Option<&Rule> {
        self.by_name.get(AsRef::<str>::as_ref(id)).and_then(|position| self.rules.get(*position))
    }
}

impl Case {
    /// The parts of the rule's head that do not fit.
    pub(crate) fn misfits(&self, rule: &Rule) -> impl Iterator<Item = Misfit> + use<> {
        rule.head.misfits(&self.principal, &self.action, &self.resource)
    }

    pub(crate) fn entities(&self) -> Result<Entities, String> {
        let all = [&self.principal, &self.action, &self.resource].map(|party| party.entity.clone());
        Entities::from_entities(all, None).map_err(|e| e.to_string())
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies")
            .field("digest", &self.digest)
            .field("policies", &self.rules.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use leasehold_core::{
        SpiffeId,
        access::{Action, Resource},
    };
    use serde_json::{Value, json};

    use super::*;

    const GUARDRAIL: &str = include_str!("../../../config/policies/00-guardrail.cedar");
    const WORKLOADS: &str = include_str!("../../../config/policies/10-workloads.cedar");
    const OPERATORS: &str = include_str!("../../../config/policies/20-operators.cedar");
    const SCHEDULER: &str = include_str!("../../../config/policies/30-scheduler.cedar");

    fn settings() -> PolicySettings {
        let mut settings = PolicySettings::new("example.org".parse().unwrap());
        settings.operators = vec!["/operator/".to_owned()];
        let groups = [
            ("payments", ["/prod/payments/", "/staging/payments/"]),
            ("auditors", ["/operator/audrey", "/operator/alice"]),
        ];
        for (name, patterns) in groups {
            settings.groups.insert(name.to_owned(), patterns.map(str::to_owned).to_vec());
        }
        settings
    }

    fn shipped() -> Policies {
        let files = [
            ("00-guardrail", GUARDRAIL),
            ("10-workloads", WORKLOADS),
            ("20-operators", OPERATORS),
            ("30-scheduler", SCHEDULER),
        ];
        let files = files.map(|(name, text)| (format!("{name}.cedar"), text.to_owned()));
        Policies::parse(files, settings()).unwrap()
    }

    fn ask(policies: &Policies, who: &str, action: Action, what: &str, inputs: Value) -> Decision {
        let principal: SpiffeId = format!("spiffe://{who}").parse().unwrap();
        let resource = match what {
            "" => Resource::Broker,
            path => Resource::Secret(path.parse().unwrap()),
        };
        let context = serde_json::from_value(inputs).unwrap();
        policies.decide(&AccessRequest { principal: &principal, action, resource: &resource, context })
    }

    fn issue(policies: &Policies, who: &str, what: &str) -> Decision {
        ask(policies, who, Action::IssueLease, what, json!({}))
    }

    fn by(decision: &Decision) -> Vec<&str> {
        assert_eq!(decision.errors, [""; 0]);
        decision.policies.iter().map(|name| &**name).collect()
    }

    #[test]
    fn a_team_leases_its_own_secrets_and_nobody_else_does() {
        let policies = shipped();
        let allowed = issue(&policies, "example.org/prod/payments/api", "prod/payments/db");
        assert!(allowed.is_allowed());
        assert_eq!(by(&allowed), ["payments.prod"]);
        assert_eq!(allowed.max_ttl, Some(Duration::from_secs(3_600)));
        assert_eq!(&*allowed.policy_set, policies.digest());

        let other = issue(&policies, "example.org/prod/orders/api", "prod/payments/db");
        assert!(!other.is_allowed());
        assert_eq!(by(&other), [""; 0], "nothing permits it: that is all there is to say");
        assert_eq!(other.max_ttl, None);
        assert!(!issue(&policies, "example.org/prod/payments/api", "prod/orders/db").is_allowed());
    }

    #[test]
    fn the_guardrail_outweighs_every_permit() {
        let policies = shipped();
        let across = issue(&policies, "example.org/staging/payments/api", "prod/payments/db");
        assert!(!across.is_allowed());
        assert_eq!(by(&across), ["guardrail.environment"]);
        assert_eq!(across.max_ttl, None, "a denial grants no time");

        let open = [
            ("a.cedar".to_owned(), "permit (principal, action, resource);".to_owned()),
            ("00-guardrail.cedar".to_owned(), GUARDRAIL.to_owned()),
        ];
        let table = BTreeMap::from([("prod".to_owned(), vec!["/live/".to_owned()])]);
        let policies =
            Policies::parse(open, PolicySettings { environments: Some(table), ..settings() }).unwrap();
        assert!(issue(&policies, "example.org/live/api", "prod/payments/db").is_allowed());
        for stranger in ["example.org/other/api", "example.org/prod/api", "evil.test/live/api"] {
            let denied = issue(&policies, stranger, "prod/payments/db");
            assert_eq!(by(&denied), ["guardrail.environment"], "{stranger}");
        }
        assert!(issue(&policies, "example.org/operator/alice", "prod/payments/db").is_allowed());
    }

    #[test]
    fn operators_look_and_revoke_and_do_not_lease() {
        let policies = shipped();
        let alice = "example.org/operator/alice";
        for action in [Action::ReadLease, Action::RevokeLease, Action::DescribeSecret] {
            assert!(ask(&policies, alice, action, "prod/payments/db", json!({})).is_allowed(), "{action}");
        }
        assert!(ask(&policies, alice, Action::ReadStatus, "", json!({})).is_allowed());
        assert!(ask(&policies, alice, Action::ReadAudit, "", json!({})).is_allowed());
        let bob = "example.org/operator/bob";
        assert!(!ask(&policies, bob, Action::ReadAudit, "", json!({})).is_allowed());
        assert!(!issue(&policies, alice, "prod/payments/db").is_allowed());
        let workload = "example.org/prod/payments/api";
        for action in [Action::ReadLease, Action::WriteSecret] {
            assert!(
                !ask(&policies, workload, action, "prod/payments/db", json!({})).is_allowed(),
                "{action}"
            );
        }
    }

    #[test]
    fn the_scheduler_rotates_and_does_nothing_else() {
        let policies = shipped();
        let scheduler = "example.org/leasehold/scheduler";
        for secret in ["prod/payments/db", "staging/payments/db"] {
            let decision = ask(&policies, scheduler, Action::RotateSecret, secret, json!({}));
            assert!(decision.is_allowed());
            assert_eq!(by(&decision), ["scheduler.rotate"]);
        }
        for action in [Action::IssueLease, Action::ReadLease, Action::WriteSecret, Action::DescribeSecret] {
            assert!(
                !ask(&policies, scheduler, action, "prod/payments/db", json!({})).is_allowed(),
                "{action}"
            );
        }
        for other in
            ["example.org/prod/payments/api", "example.org/operator/alice", "example.org/leasehold/broker"]
        {
            let decision = ask(&policies, other, Action::RotateSecret, "prod/payments/db", json!({}));
            assert!(!decision.is_allowed(), "{other}");
        }
    }

    #[test]
    fn the_scheduler_is_no_operator_and_can_be_forbidden() {
        let mut everybody = settings();
        everybody.operators.push("/leasehold/".to_owned());
        let text = r#"
            permit (principal is Operator, action, resource);
            @id("yes") permit (principal is Scheduler, action == Action::"RotateSecret", resource);
            @id("freeze") forbid (principal is Scheduler, action, resource in SecretPath::"prod");"#;
        let policies = Policies::parse([("a.cedar".to_owned(), text.to_owned())], everybody).unwrap();
        let decide =
            |action, what| ask(&policies, "example.org/leasehold/scheduler", action, what, json!({}));
        assert!(decide(Action::RotateSecret, "dev/db").is_allowed());
        assert_eq!(by(&decide(Action::RotateSecret, "prod/payments/db")), ["freeze"]);
        assert!(!decide(Action::RevokeLease, "dev/db").is_allowed());
    }

    #[test]
    fn policies_see_the_ttl_and_the_fields_of_each_request_anew() {
        let text = r#"
            permit (principal, action == Action::"IssueLease", resource)
            when { context has ttl_seconds && context.ttl_seconds <= 60 }
            unless { context.fields.contains("root") };"#;
        let unguarded = text.replace("context has ttl_seconds && ", "");
        let errors = Policies::parse([("a.cedar".to_owned(), unguarded)], settings()).unwrap_err();
        assert!(errors.to_string().contains("ttl_seconds"), "it may be absent: {errors}");
        let policies = Policies::parse([("a.cedar".to_owned(), text.to_owned())], settings()).unwrap();
        let decide = |inputs: Value| {
            ask(&policies, "example.org/prod/api", Action::IssueLease, "prod/x", inputs).is_allowed()
        };
        for _ in 0..2 {
            assert!(decide(json!({"ttl_seconds": 60})));
            assert!(!decide(json!({"ttl_seconds": 61})));
            assert!(!decide(json!({})));
            assert!(!decide(json!({"ttl_seconds": 60, "fields": ["root"]})));
            assert!(decide(json!({"ttl_seconds": 60, "fields": ["user"]})));
        }
    }

    #[test]
    fn a_field_is_withheld_from_those_who_ask_for_all_of_them_too() {
        let text = r#"
            permit (principal, action == Action::"IssueLease", resource)
            unless { context.fields.isEmpty() || context.fields.contains("root") };"#;
        let policies = Policies::parse([("a.cedar".to_owned(), text.to_owned())], settings()).unwrap();
        let decide = |inputs: Value| {
            ask(&policies, "example.org/prod/api", Action::IssueLease, "prod/x", inputs).is_allowed()
        };
        assert!(decide(json!({"fields": ["user"]})));
        assert!(!decide(json!({"fields": ["user", "root"]})));
        assert!(!decide(json!({})));
    }

    #[test]
    fn whatever_cannot_be_evaluated_is_denied_and_said() {
        let text = r#"
            @id("all") permit (principal, action, resource);
            @id("overflow") forbid (principal, action == Action::"IssueLease", resource)
            when { context has ttl_seconds && context.ttl_seconds * 9223372036854775807 > 1 };"#;
        let policies = Policies::parse([("a.cedar".to_owned(), text.to_owned())], settings()).unwrap();
        let decide =
            |inputs: Value| ask(&policies, "example.org/prod/api", Action::IssueLease, "prod/x", inputs);
        assert!(decide(json!({})).is_allowed());
        let failed = decide(json!({"ttl_seconds": 60}));
        assert_eq!(failed.effect, Effect::Deny);
        assert!(failed.errors[0].contains("overflow"), "{:?}", failed.errors);
        let mistyped = decide(json!({"ttl_seconds": "60"}));
        assert!(!mistyped.is_allowed());
        assert_eq!(mistyped.errors, ["ttl_seconds is not a whole number of seconds"]);
    }

    #[test]
    fn the_longest_limit_of_the_permits_that_apply_is_granted() {
        let text = r#"
            @max_ttl("15m") permit (principal, action, resource in SecretPath::"prod");
            @max_ttl("1h") permit (principal, action, resource in SecretPath::"prod/payments");
            permit (principal, action, resource == Secret::"prod/payments/open");"#;
        let policies = Policies::parse([("dir/a.cedar".to_owned(), text.to_owned())], settings()).unwrap();
        let decide = |what| issue(&policies, "example.org/prod/api", what);
        assert_eq!(decide("prod/other").max_ttl, Some(Duration::from_secs(900)));
        assert_eq!(decide("prod/payments/db").max_ttl, Some(Duration::from_secs(3_600)));
        assert_eq!(decide("prod/payments/open").max_ttl, None);
        assert_eq!(by(&decide("prod/payments/db")), ["a#1", "a#2"]);
    }

    #[test]
    fn without_policies_everything_is_denied() {
        let policies = Policies::parse([], settings()).unwrap();
        assert!(policies.is_empty());
        assert!(!issue(&policies, "example.org/prod/api", "prod/x").is_allowed());
    }

    #[test]
    fn the_digest_names_everything_that_decides() {
        let digest = |name: &str, text: &str, settings: PolicySettings| {
            Policies::parse([(name.to_owned(), text.to_owned())], settings).unwrap().digest().to_owned()
        };
        let one = "permit (principal, action, resource);";
        let first = digest("here/a.cedar", one, settings());
        assert_eq!(first.len(), 32);
        assert_eq!(first, digest("there/a.cedar", one, settings()));
        assert_ne!(first, digest("here/b.cedar", one, settings()));
        assert_ne!(first, digest("here/a.cedar", "permit (principal, action, resource); ", settings()));
        assert_ne!(
            first,
            digest("here/a.cedar", one, PolicySettings { operators: Vec::new(), ..settings() })
        );
    }
}
