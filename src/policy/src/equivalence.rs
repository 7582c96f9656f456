//! Holds the pre-selection to its promise: what it leaves out changes nothing.

use std::sync::Arc;

use cedar_policy::{Authorizer, Entities, Policy, PolicyId, PolicySet, Request, Schema};
use leasehold_core::{
    SpiffeId,
    access::{AccessRequest, Action, Resource},
    record::Effect,
};
use proptest::prelude::*;
use serde_json::json;

use crate::{
    context::{self, Inputs},
    entities::Vocabulary,
    identity::{Directory, PolicySettings},
    policies::{Policies, Rule, SCHEMA},
    select::Head,
};

const WORKLOAD: &str = r#"Workload::"spiffe://example.org/prod/payments/api""#;

fn principal_scope() -> impl Strategy<Value = String> {
    let entity = prop_oneof![
        Just(r#"Group::"payments""#.to_owned()),
        Just(r#"Group::"none""#.to_owned()),
        Just(r#"Environment::"prod""#.to_owned()),
        Just(r#"SpiffePath::"spiffe://example.org/prod""#.to_owned()),
        Just(r#"SpiffePath::"spiffe://example.org/operator/alice""#.to_owned()),
        Just(WORKLOAD.to_owned()),
    ];
    prop_oneof![
        Just("principal".to_owned()),
        Just("principal is Workload".to_owned()),
        Just("principal is Operator".to_owned()),
        Just(format!("principal == {WORKLOAD}")),
        entity.clone().prop_map(|e| format!("principal in {e}")),
        entity.prop_map(|e| format!("principal is Workload in {e}")),
    ]
}

fn action_scope() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(Action::ALL.to_vec());
    prop_oneof![
        Just("action".to_owned()),
        name().prop_map(|a| format!("action == Action::\"{a}\"")),
        (name(), name()).prop_map(|(a, b)| format!("action in [Action::\"{a}\", Action::\"{b}\"]")),
    ]
}

fn resource_scope() -> impl Strategy<Value = String> {
    let tree = prop::sample::select(vec![
        r#"SecretPath::"prod""#,
        r#"SecretPath::"prod/payments""#,
        r#"SecretPath::"prod/payments/db""#,
        r#"SecretPath::"prod/pay""#,
        r#"Environment::"staging""#,
        r#"Secret::"prod/payments/db""#,
    ]);
    prop_oneof![
        Just("resource".to_owned()),
        Just("resource is Secret".to_owned()),
        Just("resource is Broker".to_owned()),
        Just(r#"resource == Secret::"prod/payments/db""#.to_owned()),
        Just(r#"resource == Broker::"broker""#.to_owned()),
        tree.clone().prop_map(|t| format!("resource in {t}")),
        tree.prop_map(|t| format!("resource is Secret in {t}")),
    ]
}

/// Conditions that hold, that do not, that depend on the request, and that fail.
fn condition() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "",
        "when { false }",
        "when { principal has environment && principal.environment == resource.environment }",
        "when { context has ttl_seconds && context.ttl_seconds < 100 }",
        "unless { context.fields.contains(\"root\") }",
        "when { context.ttl_seconds * 9223372036854775807 > 1 }",
        "when { principal in Group::\"payments\" || resource in SecretPath::\"prod\" }",
    ])
}

fn policy() -> impl Strategy<Value = String> {
    (any::<bool>(), principal_scope(), action_scope(), resource_scope(), condition()).prop_map(
        |(permit, principal, action, resource, condition)| {
            let effect = if permit { "permit" } else { "forbid" };
            format!("{effect} ({principal}, {action}, {resource}) {condition};")
        },
    )
}

fn asked() -> impl Strategy<Value = (SpiffeId, Action, Resource, Vec<Inputs>)> {
    let who = prop::sample::select(vec![
        "spiffe://example.org/prod/payments/api",
        "spiffe://example.org/staging/payments/api",
        "spiffe://example.org/operator/alice",
        "spiffe://example.org/leasehold/scheduler",
        "spiffe://evil.test/prod/payments/api",
    ]);
    let what = prop_oneof![
        Just(Resource::Broker),
        prop::sample::select(vec!["prod/payments/db", "prod/payments/x", "prod/pay", "staging/a/b"])
            .prop_map(|path| Resource::Secret(path.parse().unwrap())),
    ];
    // Several in a row at one place, where the last decision is remembered.
    let inputs = prop::sample::select(vec![
        json!({}),
        json!({"ttl_seconds": 60}),
        json!({"ttl_seconds": 61}),
        json!({"fields": ["user"]}),
        json!({"ttl_seconds": 600, "fields": ["root"]}),
    ]);
    let inputs = prop::collection::vec(inputs.prop_map(|one| serde_json::from_value(one).unwrap()), 1..8);
    (who, prop::sample::select(Action::ALL.to_vec()), what, inputs)
        .prop_map(|(who, action, what, inputs)| (who.parse().unwrap(), action, what, inputs))
}

/// Compiled without validation: the promise does not hang on it.
fn compile(texts: &[String]) -> (Policies, PolicySet) {
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).unwrap();
    let mut settings = PolicySettings::new("example.org".parse().unwrap());
    settings.operators = vec!["/operator/".to_owned()];
    settings.groups.insert("payments".to_owned(), vec!["/prod/payments/".to_owned()]);
    let rules: Vec<Rule> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let name: Arc<str> = format!("p{number}").into();
            let policy = Policy::parse(Some(PolicyId::new(&*name)), text).unwrap();
            Rule { head: Head::of(&policy), policy, name, max_ttl: None, file: "a.cedar".into(), line: 1 }
        })
        .collect();
    let full = PolicySet::from_policies(rules.iter().map(|rule| rule.policy.clone())).unwrap();
    let directory = Directory::new(&settings, &mut Vec::new());
    let vocabulary = Vocabulary::new(&schema).unwrap();
    (Policies::compile(rules, vocabulary, directory, "digest".into(), Vec::new()), full)
}

/// What Cedar says when it is given every policy.
fn by_all(
    policies: &Policies,
    full: &PolicySet,
    request: &AccessRequest<'_>,
) -> (Effect, Vec<String>, Vec<String>) {
    let case = policies.case(request).unwrap();
    let context = context::context(request.action, &request.context).unwrap();
    let entities: Entities = case.entities().unwrap();
    let asked = Request::new(case.principal.uid, case.action.uid, case.resource.uid, context, None).unwrap();
    let response = Authorizer::new().is_authorized(&asked, full, &entities);
    let mut grounds: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    let mut errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
    grounds.sort();
    errors.sort();
    let allow = response.decision() == cedar_policy::Decision::Allow && errors.is_empty();
    (if allow { Effect::Allow } else { Effect::Deny }, grounds, errors)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_selected_policies_decide_as_all_of_them_would(
        texts in prop::collection::vec(policy(), 0..24),
        asks in prop::collection::vec(asked(), 1..12),
    ) {
        let (policies, full) = compile(&texts);
        let each = |(who, action, what, inputs): (_, _, _, Vec<Inputs>)| {
            inputs.into_iter().map(move |inputs| (SpiffeId::clone(&who), action, Resource::clone(&what), inputs))
        };
        for (principal, action, resource, context) in asks.into_iter().flat_map(each) {
            let request = AccessRequest { principal: &principal, action, resource: &resource, context };
            let decision = policies.decide(&request);
            prop_assert_eq!(&decision.inputs, &request.context);
            prop_assert_eq!(&policies.decide(&request), &decision);
            let mut grounds: Vec<String> = decision.policies.iter().map(ToString::to_string).collect();
            let mut errors = decision.errors.clone();
            grounds.sort();
            errors.sort();
            prop_assert_eq!((decision.effect, grounds, errors), by_all(&policies, &full, &request));
        }
    }
}
