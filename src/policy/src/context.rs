//! The request's context as Cedar sees it, and what of it policies look at.

use std::collections::BTreeMap;

use cedar_policy::{Context, Policy, RestrictedExpression};
use leasehold_core::access::Action;
use serde_json::Value;

/// What is said of a request beside who asks what for which resource.
pub(crate) type Inputs = BTreeMap<String, Value>;

/// A request's inputs, found to be of the types that the schema gives them. Those that the schema does not name are left
/// out: no policy that passed validation can ask for them.
#[derive(Debug, PartialEq)]
struct Lending<'a> {
    ttl_seconds: Option<i64>,
    fields: Vec<&'a str>,
}

/// Which inputs some policies look at: whatever the others are, these policies decide the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    ttl_seconds: bool,
    fields: bool,
}

/// Looks whether the inputs are of the types that the schema gives them.
///
/// # Errors
/// When one is not.
pub(crate) fn check(action: Action, inputs: &Inputs) -> Result<(), &'static str> {
    Lending::of(action, inputs).map(|_| ())
}

/// The context for Cedar, made of a request's inputs.
///
/// # Errors
/// When an input is not of the type that the schema gives it.
pub(crate) fn context(action: Action, inputs: &Inputs) -> Result<Context, String> {
    Lending::of(action, inputs)?.map_or_else(|| Ok(Context::empty()), |lending| lending.context())
}

impl<'a> Lending<'a> {
    /// What the schema gives the action of these inputs.
    ///
    /// # Errors
    /// When an input is not of the type that the schema gives it.
    fn of(action: Action, inputs: &'a Inputs) -> Result<Option<Self>, &'static str> {
        if !matches!(action, Action::IssueLease | Action::RenewLease) {
            return Ok(None);
        }
        let ttl_seconds = match inputs.get(TTL_SECONDS) {
            None => None,
            Some(ttl) => Some(ttl.as_i64().ok_or("ttl_seconds is not a whole number of seconds")?),
        };
        let names =
            |fields: &'a Value| fields.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>();
        let fields = match inputs.get(FIELDS) {
            None => Vec::new(),
            Some(fields) => names(fields).ok_or("fields is not a list of names")?,
        };
        Ok(Some(Self { ttl_seconds, fields }))
    }

    fn context(&self) -> Result<Context, String> {
        let names = self.fields.iter().map(|&name| RestrictedExpression::new_string(name.to_owned()));
        let mut pairs = vec![(FIELDS.to_owned(), RestrictedExpression::new_set(names))];
        let ttl = self.ttl_seconds.map(RestrictedExpression::new_long);
        pairs.extend(ttl.map(|ttl| (TTL_SECONDS.to_owned(), ttl)));
        Context::from_pairs(pairs).map_err(|e| e.to_string())
    }
}

impl Reads {
    const NOTHING: Self = Self { ttl_seconds: false, fields: false };
    const EVERYTHING: Self = Self { ttl_seconds: true, fields: true };

    /// What the policy looks at. Where that cannot be told for certain: everything.
    pub(crate) fn of(policy: &Policy) -> Self {
        // Cedar's JSON form of a policy; its scope cannot speak of the context.
        let conditions = policy.to_json().ok().and_then(|mut json| Some(json.get_mut("conditions")?.take()));
        conditions.map_or(Self::EVERYTHING, |conditions| Self::within(&conditions))
    }

    /// What both look at together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { ttl_seconds: self.ttl_seconds || other.ttl_seconds, fields: self.fields || other.fields }
    }

    /// Whether policies that look at this cannot tell one from the other.
    pub(crate) fn are_alike(self, one: &Inputs, other: &Inputs) -> bool {
        let same = |name| one.get(name) == other.get(name);
        (!self.ttl_seconds || same(TTL_SECONDS)) && (!self.fields || same(FIELDS))
    }

    fn within(expression: &Value) -> Self {
        match expression {
            Value::Array(parts) => parts.iter().map(Self::within).fold(Self::NOTHING, Self::and),
            Value::Object(parts) => parts.iter().map(Self::operation).fold(Self::NOTHING, Self::and),
            _ => Self::NOTHING,
        }
    }

    /// `context.x` and `context has x` look at `x`; the context in any other place is looked at as a whole.
    fn operation((operator, operands): (&String, &Value)) -> Self {
        let is_context =
            |value: Option<&Value>| value.and_then(|v| v.get("Var")).is_some_and(|v| v == "context");
        match (operator.as_str(), operands.get("attr").and_then(Value::as_str)) {
            ("." | "has", Some(attribute)) if is_context(operands.get("left")) => match attribute {
                TTL_SECONDS => Self { ttl_seconds: true, ..Self::NOTHING },
                FIELDS => Self { fields: true, ..Self::NOTHING },
                _ => Self::EVERYTHING,
            },
            ("Var", _) if operands == "context" => Self::EVERYTHING,
            _ => Self::within(operands),
        }
    }
}

const TTL_SECONDS: &str = "ttl_seconds";
const FIELDS: &str = "fields";

#[cfg(test)]
mod tests {
    use cedar_policy::EvalResult;
    use serde_json::json;

    use super::*;

    fn inputs(value: Value) -> Inputs {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn fields_are_always_there_and_a_ttl_only_when_asked_for() {
        let context = |value| super::context(Action::IssueLease, &inputs(value));
        let made = context(json!({})).unwrap();
        assert!(made.get("ttl_seconds").is_none());
        assert!(matches!(made.get("fields"), Some(EvalResult::Set(set)) if set.is_empty()));
        let made = context(json!({"ttl_seconds": 60, "fields": ["user"], "other": 1})).unwrap();
        assert!(matches!(made.get("ttl_seconds"), Some(EvalResult::Long(60))));
        assert!(made.get("other").is_none());
    }

    #[test]
    fn a_wrong_type_is_an_error() {
        for bad in [
            json!({"ttl_seconds": "60"}),
            json!({"ttl_seconds": 1.5}),
            json!({"fields": "user"}),
            json!({"fields": [1]}),
        ] {
            let bad = inputs(bad);
            assert!(context(Action::IssueLease, &bad).is_err(), "{bad:?}");
            assert!(check(Action::RenewLease, &bad).is_err(), "{bad:?}");
            assert_eq!(check(Action::ReadLease, &bad), Ok(()), "its context has no attributes");
        }
    }

    #[test]
    fn what_a_policy_looks_at_is_read_off_its_conditions() {
        let reads = |conditions: &str| {
            let text = format!("permit (principal, action, resource) {conditions};");
            Reads::of(&Policy::parse(None, text).unwrap())
        };
        let ttl = Reads { ttl_seconds: true, fields: false };
        let fields = Reads { ttl_seconds: false, fields: true };
        for (conditions, expected) in [
            ("", Reads::NOTHING),
            (r#"when { principal has environment && resource.path like "prod/*" }"#, Reads::NOTHING),
            (r#"when { "context.fields" == "context" }"#, Reads::NOTHING),
            ("unless { principal.context.fields }", Reads::NOTHING),
            ("when { context has ttl_seconds }", ttl),
            ("when { true } unless { if context.ttl_seconds > 60 then true else false }", ttl),
            (r#"when { !context.fields.containsAny(["root"]) }"#, fields),
            ("when { {a: [context.fields]}.a.isEmpty() }", fields),
            ("when { context has ttl_seconds && context.fields.isEmpty() }", Reads::EVERYTHING),
            ("when { context has fields.ttl_seconds }", Reads::EVERYTHING),
            ("when { context == {fields: []} }", Reads::EVERYTHING),
            ("when { (if true then context else context).ttl_seconds > 1 }", Reads::EVERYTHING),
            ("when { context.other }", Reads::EVERYTHING),
        ] {
            assert_eq!(reads(conditions), expected, "{conditions}");
        }
    }

    #[test]
    fn what_is_not_looked_at_makes_no_difference() {
        let (one, other) = (inputs(json!({"ttl_seconds": 60})), inputs(json!({"ttl_seconds": 61})));
        assert!(Reads { ttl_seconds: false, fields: true }.are_alike(&one, &other));
        assert!(!Reads { ttl_seconds: true, fields: false }.are_alike(&one, &other));
        assert!(!Reads::EVERYTHING.are_alike(&one, &Inputs::new()));
    }
}
