//! A policy's conditions one by one, so that the one can be named that does not hold.

use cedar_policy::{Policy, PolicyId};
use serde_json::{Value, json};

/// One condition.
pub(crate) struct Clause {
    /// As it would be written.
    pub(crate) text: String,
    /// A policy for everybody and everything that has this condition and no other.
    pub(crate) alone: Policy,
}

/// The conditions of a policy in their order. What a `when` joins by `&&` are several. None where Cedar cannot take the
/// policy apart.
pub(crate) fn of(policy: &Policy) -> Vec<Clause> {
    let conditions = policy.to_json().ok().and_then(|mut json| Some(json.get_mut("conditions")?.take()));
    let Some(Value::Array(conditions)) = conditions else { return Vec::new() };
    conditions.into_iter().flat_map(parts).filter_map(Clause::of).collect()
}

/// A condition, or each of those that it joins.
fn parts(condition: Value) -> Vec<Value> {
    let both = condition.get("body").and_then(|body| body.get("&&"));
    match (condition.get("kind"), both) {
        (Some(kind), Some(both)) if kind == "when" => ["left", "right"]
            .into_iter()
            .filter_map(|side| both.get(side))
            .flat_map(|body| parts(json!({"kind": kind, "body": body})))
            .collect(),
        _ => vec![condition],
    }
}

impl Clause {
    /// The condition in Cedar's JSON form.
    fn of(condition: Value) -> Option<Self> {
        let kind = condition.get("kind")?.as_str()?.to_owned();
        let all = json!({"op": "All"});
        let policy = json!({
            "effect": "permit", "principal": all, "action": all, "resource": all, "conditions": [condition],
        });
        let alone = Policy::from_json(Some(PolicyId::new("condition")), policy).ok()?;
        let text = alone.to_string();
        let text = text.get(text.find(&kind)?..)?.trim_end_matches(';').to_owned();
        Some(Self { text, alone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_told_one_by_one() {
        let told = |conditions: &str| {
            let text =
                format!("@id(\"when\") permit (principal is Workload, action, resource) {conditions};");
            of(&Policy::parse(None, text).unwrap()).into_iter().map(|clause| clause.text).collect::<Vec<_>>()
        };
        assert_eq!(told(""), [""; 0]);
        assert_eq!(told("when { context has ttl_seconds }"), ["when { context has ttl_seconds }"]);
        assert_eq!(
            told("when { context has ttl_seconds && context.ttl_seconds < 60 } unless { true && false }"),
            [
                "when { context has ttl_seconds }",
                "when { context.ttl_seconds < 60 }",
                "unless { true && false }"
            ]
        );
    }
}
