//! New values: made, and recognised when they are met again.

use leasehold_core::{
    SecretValue,
    rotation::{Course, Generated, Generator, Plan, Strategy, Tags},
};
use tokio::task::spawn_blocking;

use super::{Driver, Shelf, Trouble};
use crate::engine::Engine;

impl Driver<'_> {
    /// A new value by the plan: what is made anew, and all else as it was.
    pub(super) async fn new_value(
        &self,
        plan: &Plan,
        shelf: &Shelf<'_>,
        old: Option<&SecretValue>,
    ) -> Result<SecretValue, Trouble> {
        let made = match &plan.generator {
            Generator::BackEnd { policy } => {
                let value = shelf.upstream.call(shelf.upstream.provider.generate(policy)).await?;
                Generated { value, public: None }
            }
            other => self.generate(other).await?,
        };
        renewed(plan, old, made).map_err(Trouble::Words)
    }

    async fn generate(&self, generator: &Generator) -> Result<Generated, Trouble> {
        let generate = self.engine.rotation_parts.generate.clone();
        if !matches!(generator, Generator::KeyPair(_)) {
            return Ok(generate.generate(generator)?);
        }
        // A pair takes up to seconds, in which nobody would be answered.
        let rule = generator.clone();
        let made = spawn_blocking(move || generate.generate(&rule)).await;
        Ok(made.map_err(|problem| Trouble::Words(format!("making a key pair broke off: {problem}")))??)
    }

    /// The new value, as its back end has it under its version: that it can be read is what lets it be used.
    pub(super) async fn made(&self, course: &Course) -> Result<SecretValue, Trouble> {
        let Some(new) = &course.new else {
            return Err(Trouble::Words("the new version was not written".to_owned()));
        };
        let value = self.shelf(course)?.at(new).await?;
        if course.recognises(&self.engine.tags(&value)) {
            return Ok(value);
        }
        Err(Trouble::Words(format!("the back end has another value under {new} than was written")))
    }

    /// The value that is replaced.
    pub(super) async fn before(&self, course: &Course) -> Result<Option<SecretValue>, Trouble> {
        match &course.old {
            Some(old) => Ok(Some(self.shelf(course)?.at(old).await?)),
            None => Ok(None),
        }
    }
}

impl Engine {
    /// By which each field of a value is recognised.
    pub(crate) fn tags(&self, value: &SecretValue) -> Tags {
        value.fields.iter().map(|(name, bytes)| (name.clone(), self.mac.tag(bytes.expose()))).collect()
    }
}

/// The value that follows `old`; the error says what is wrong with `old`, without showing it.
pub(super) fn renewed(
    plan: &Plan,
    old: Option<&SecretValue>,
    made: Generated,
) -> Result<SecretValue, String> {
    fits(plan, old)?;
    let mut value = match old {
        Some(old) => old.clone(),
        None => SecretValue { fields: [].into(), content_type: SecretValue::TEXT.into() },
    };
    value.fields.insert(plan.field.clone(), made.value);
    if let Some(public) = made.public {
        value.fields.insert(plan.public_field.clone(), public);
    }
    if let (Strategy::Alternating { users, .. }, Some(old)) = (&plan.strategy, old)
        && let Some(user) = other_user(plan, users, old)
    {
        value.fields.insert(plan.user_field.clone(), user.to_owned().into());
    }
    Ok(value)
}

/// Whether a value by this plan can follow `old`.
pub(super) fn fits(plan: &Plan, old: Option<&SecretValue>) -> Result<(), String> {
    let Some(old) = old else {
        return match &plan.strategy {
            Strategy::Generate | Strategy::Native => Ok(()),
            _ => Err("it has no value yet: write its first one with `leasehold secret put`".to_owned()),
        };
    };
    if !old.fields.contains_key(&plan.field) {
        let field = &plan.field;
        return Err(format!(
            "its current version has no field `{field}`: say with `field` what is made anew"
        ));
    }
    if let Strategy::Alternating { users, .. } = &plan.strategy
        && other_user(plan, users, old).is_none()
    {
        let field = &plan.user_field;
        return Err(format!("the field `{field}` of its current version names neither of the two `users`"));
    }
    Ok(())
}

/// The user that a value does not name.
pub(super) fn other_user<'a>(plan: &Plan, users: &'a [Box<str>; 2], value: &SecretValue) -> Option<&'a str> {
    let named = value.fields.get(&plan.user_field)?.expose();
    let [one, other] = users;
    match named {
        user if user == one.as_bytes() => Some(other),
        user if user == other.as_bytes() => Some(one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use leasehold_core::{SecretBytes, rotation::TargetName, secret::FieldName};

    use super::*;

    fn value(fields: &[(&str, &str)]) -> SecretValue {
        let field = |(name, text): &(&str, &str)| {
            (name.parse::<FieldName>().unwrap(), SecretBytes::from((*text).to_owned()))
        };
        SecretValue { fields: fields.iter().map(field).collect(), content_type: "application/json".into() }
    }

    fn shown(value: &SecretValue) -> Vec<(String, String)> {
        let text = |bytes: &SecretBytes| String::from_utf8(bytes.expose().to_vec()).unwrap();
        value.fields.iter().map(|(name, bytes)| (name.to_string(), text(bytes))).collect()
    }

    fn made() -> Generated {
        Generated { value: "anew".to_owned().into(), public: None }
    }

    fn plan(strategy: Strategy) -> Plan {
        Plan { field: FieldName::password(), ..Plan::new(strategy) }
    }

    fn alternating() -> Plan {
        let target = TargetName::Provider("pg".parse().unwrap());
        plan(Strategy::Alternating { target, users: ["a".into(), "b".into()] })
    }

    #[test]
    fn only_what_is_made_anew_differs() {
        let old = value(&[("host", "db"), ("password", "old"), ("username", "a")]);
        let pairs = |user: &str| {
            [("host", "db"), ("password", "anew"), ("username", user)]
                .map(|(n, t)| (n.to_owned(), t.to_owned()))
        };
        let new = renewed(&plan(Strategy::Generate), Some(&old), made()).unwrap();
        assert_eq!((shown(&new), &*new.content_type), (pairs("a").to_vec(), "application/json"));
        let new = renewed(&alternating(), Some(&old), made()).unwrap();
        assert_eq!(shown(&new), pairs("b"));
        assert_eq!(shown(&renewed(&alternating(), Some(&new), made()).unwrap()), pairs("a"));
    }

    #[test]
    fn a_key_pair_has_its_public_half_beside_it() {
        let old = value(&[("password", "old"), ("public_key", "old")]);
        let pair = Generated { public: Some("half".to_owned().into()), ..made() };
        let new = renewed(&plan(Strategy::Generate), Some(&old), pair).unwrap();
        assert_eq!(shown(&new).last().unwrap().1, "half");
        let first = renewed(&plan(Strategy::Generate), None, made()).unwrap();
        assert_eq!(shown(&first), [("password".to_owned(), "anew".to_owned())]);
    }

    #[test]
    fn what_cannot_be_followed_is_said_without_a_value() {
        let strange = value(&[("password", "canary"), ("username", "canary")]);
        for (plan, old) in [
            (alternating(), Some(&strange)),
            (alternating(), None),
            (Plan::new(Strategy::Generate), Some(&strange)),
        ] {
            let problem = renewed(&plan, old, made()).unwrap_err();
            assert!(problem.contains('`') && !problem.contains("canary"), "{problem}");
        }
    }
}
