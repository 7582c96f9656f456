//! New values: made, and recognised when they are met again.

use leasehold_core::{
    SecretValue,
    ports::NoEntropy,
    rotation::{Course, Generated, Generator, Plan, Strategy, Tags},
};

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
            other => self.generate(other)?,
        };
        renewed(plan, old, made).map_err(Trouble::Words)
    }

    fn generate(&self, generator: &Generator) -> Result<Generated, NoEntropy> {
        self.engine.rotation_parts.generate.generate(generator)
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
