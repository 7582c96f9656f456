//! Rotation by AWS itself: by the function that the secret's own configuration names.
//!
//! Source: the API reference's `RotateSecret`, whose `ClientRequestToken` becomes the new version's id, and the user guide's
//! "Rotation by Lambda function": the version has `AWSPENDING` while the function works, and `AWSCURRENT` at the end. What
//! became of a function that failed is not told: its version stays pending.

use std::time::Duration;

use async_trait::async_trait;
use leasehold_core::{
    ports::NativeRotation,
    provider::{ErrorClass, Followed, ProviderError},
    secret::VersionId,
    ttl::after,
};

use crate::{
    client::{PasswordRule, Secrets, VersionLabels, Which},
    provider::AwsProvider,
    reference::{CURRENT, Reference, SecretReference},
    write::{PENDING, version_token},
};

/// A function has a quarter of an hour for each of four steps; what waits for longer than that is not worked on.
const PATIENCE: Duration = Duration::from_secs(3600);

#[async_trait]
impl NativeRotation for AwsProvider {
    async fn start(&self, reference: &str, token: &str) -> Result<(), ProviderError> {
        let (secret, token) = (current_of(reference)?, version_token(token));
        let start = async {
            let cloud = self.cloud().await?;
            let started = start(&cloud.secrets(secret.region)?, secret.secret, &token).await;
            self.noted(&cloud, started).await
        };
        self.in_time(reference, start).await
    }

    async fn follow(
        &self,
        reference: &str,
        token: &str,
        before: Option<&VersionId>,
    ) -> Result<Followed, ProviderError> {
        let (secret, token) = (current_of(reference)?, version_token(token));
        let look = async {
            let cloud = self.cloud().await?;
            let secrets = cloud.secrets(secret.region)?;
            let followed = self.look(&secrets, secret.secret, &token, before).await;
            self.noted(&cloud, followed).await
        };
        self.in_time(reference, look).await
    }
}

impl AwsProvider {
    async fn look(
        &self,
        secrets: &Secrets,
        secret: &str,
        token: &str,
        before: Option<&VersionId>,
    ) -> Result<Followed, ProviderError> {
        let versions = secrets.versions(secret).await?;
        let labelled = |label: &str| versions.iter().find(|version| has(version, label));
        if let Some(current) = labelled(CURRENT)
            && (current.id == token || before.is_some_and(|before| before.as_str() != current.id))
        {
            return match secrets.read(secret, Which::Id(&current.id)).await {
                Ok(_) => current.id.parse().map(Followed::Done).map_err(|_| {
                    ProviderError::new(ErrorClass::Permanent, "AWS rotated into a version without a good id")
                }),
                // Its label is there before what it labels.
                Err(error) if error.class == ErrorClass::Absent => Ok(Followed::Running),
                Err(error) => Err(error),
            };
        }
        if let Some(pending) = labelled(PENDING) {
            let overdue = pending.created_at.is_some_and(|at| after(at, PATIENCE) <= self.clock.now());
            return Ok(match overdue {
                true => Followed::Failed(format!(
                    "the rotation of `{secret}` has not ended in an hour: see the log of its rotation function"
                )),
                false => Followed::Running,
            });
        }
        Ok(match versions.iter().any(|version| version.id == token) {
            true => Followed::Failed(format!(
                "the rotation of `{secret}` was given up: somebody took its version's label away"
            )),
            // AWS shows nothing of it yet.
            false => Followed::Running,
        })
    }
}

async fn start(secrets: &Secrets, secret: &str, token: &str) -> Result<(), ProviderError> {
    if secrets.versions(secret).await?.iter().any(|version| version.id == token) {
        return Ok(());
    }
    match secrets.rotate(secret, token).await {
        // AWS goes on with that one: whichever version becomes current is the new one.
        Err(error)
            if error.class == ErrorClass::Permanent && error.to_string().contains("previous rotation") =>
        {
            Ok(())
        }
        started => started,
    }
}

fn has(version: &VersionLabels, label: &str) -> bool {
    version.labels.iter().any(|has| has == label)
}

fn current_of(reference: &str) -> Result<SecretReference<'_>, ProviderError> {
    let secret = Reference::parse_secret(reference)?;
    if secret.stage == CURRENT {
        return Ok(secret);
    }
    let why = format!("AWS rotates what has `{CURRENT}`, and the `ref` names another stage");
    Err(ProviderError::new(ErrorClass::Invalid, why))
}

/// A policy is what `GetRandomPassword` is told, such as `length=40,exclude-punctuation`: in one word each, joined by commas,
/// the characters to leave out last: `exclude-characters=/@"`.
pub(crate) fn password_rule(policy: &str) -> Result<PasswordRule, ProviderError> {
    const CHARACTERS: &str = "exclude-characters=";
    let (words, characters) = match policy.split_once(CHARACTERS) {
        Some((words, characters)) if words.is_empty() || words.ends_with(',') => {
            (words.strip_suffix(',').unwrap_or(words), Some(characters))
        }
        _ => (policy, None),
    };
    let mut rule = PasswordRule { without: characters.map(str::to_owned), ..PasswordRule::default() };
    for word in words.split(',').filter(|_| !words.is_empty()) {
        match word.split_once('=').unwrap_or((word, "")) {
            ("length", number) => {
                let length = number.parse().ok().filter(|length| (4..=4096).contains(length));
                rule.length = Some(length.ok_or_else(bad_policy)?);
            }
            ("exclude-lowercase", "") => rule.no_lowercase = true,
            ("exclude-uppercase", "") => rule.no_uppercase = true,
            ("exclude-numbers", "") => rule.no_numbers = true,
            ("exclude-punctuation", "") => rule.no_punctuation = true,
            ("include-space", "") => rule.space = true,
            _ => return Err(bad_policy()),
        }
    }
    Ok(rule)
}

fn bad_policy() -> ProviderError {
    ProviderError::new(
        ErrorClass::Invalid,
        "a policy of AWS's is words joined by commas: `length=` 4 to 4096, `exclude-lowercase`, `exclude-uppercase`, \
         `exclude-numbers`, `exclude-punctuation`, `include-space`, and at the end `exclude-characters=`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_what_aws_is_told() {
        let plain = PasswordRule::default();
        assert_eq!(password_rule("").unwrap(), plain);
        let rule = PasswordRule { length: Some(40), no_punctuation: true, ..plain.clone() };
        assert_eq!(password_rule("length=40,exclude-punctuation").unwrap(), rule);
        let rule = PasswordRule { length: Some(20), without: Some("/@,\"=".into()), ..plain.clone() };
        assert_eq!(password_rule("length=20,exclude-characters=/@,\"=").unwrap(), rule);
        for bad in
            ["40", "length=3", "length=4097", "length=", "exclude-everything", "length=40,", "x,length=40"]
        {
            assert_eq!(password_rule(bad).unwrap_err().class, ErrorClass::Invalid, "{bad}");
        }
    }
}
