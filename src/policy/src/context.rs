//! The request's context as Cedar sees it.

use std::collections::BTreeMap;

use cedar_policy::{Context, RestrictedExpression};
use leasehold_core::access::Action;
use serde_json::Value;

/// Whether the schema gives the action's context any attributes.
pub(crate) fn is_lending(action: Action) -> bool {
    matches!(action, Action::IssueLease | Action::RenewLease)
}

/// The context made of a request's inputs. Inputs that the schema does not name are left out: no policy that passed
/// validation can ask for them.
///
/// # Errors
/// When an input is not of the type that the schema gives it.
pub(crate) fn context(inputs: &BTreeMap<String, Value>, lending: bool) -> Result<Context, String> {
    if !lending {
        return Ok(Context::empty());
    }
    let mut pairs = Vec::with_capacity(2);
    if let Some(ttl) = inputs.get("ttl_seconds") {
        let ttl = ttl.as_i64().ok_or("ttl_seconds is not a whole number of seconds")?;
        pairs.push(("ttl_seconds".to_owned(), RestrictedExpression::new_long(ttl)));
    }
    let fields = match inputs.get("fields") {
        None => Vec::new(),
        Some(Value::Array(fields)) => fields
            .iter()
            .map(|field| field.as_str().map(|f| RestrictedExpression::new_string(f.to_owned())))
            .collect::<Option<_>>()
            .ok_or("fields is not a list of names")?,
        Some(_) => return Err("fields is not a list of names".to_owned()),
    };
    pairs.push(("fields".to_owned(), RestrictedExpression::new_set(fields)));
    Context::from_pairs(pairs).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use cedar_policy::EvalResult;
    use serde_json::json;

    use super::*;

    fn inputs(value: Value) -> BTreeMap<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn fields_are_always_there_and_a_ttl_only_when_asked_for() {
        let made = context(&BTreeMap::new(), true).unwrap();
        assert!(made.get("ttl_seconds").is_none());
        assert!(matches!(made.get("fields"), Some(EvalResult::Set(set)) if set.is_empty()));
        let made =
            context(&inputs(json!({"ttl_seconds": 60, "fields": ["user"], "other": 1})), true).unwrap();
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
            assert!(context(&inputs(bad.clone()), true).is_err(), "{bad}");
        }
    }
}
