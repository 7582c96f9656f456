//! Rotation by Vault itself: of a static role (`rotate-role`) and of a database engine's own user (`rotate-root`).
//!
//! Both are done when Vault has answered. That a role's password was changed is seen by reading it; of the engine's own user
//! nothing can be read, and Vault's answer is all there is. Neither call has a token: what was done is remembered here, and
//! after the broker's own death a rotation may be asked for once more, which makes another password and harms nobody.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use leasehold_core::{
    SecretBytes,
    ports::{NativeRotation, Provider},
    provider::{ErrorClass, Fetch, Followed, ProviderError, VersionFacts, VersionState},
    secret::VersionId,
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    endpoint::Raw,
    error::{Call, Kind},
    provider::VaultProvider,
    reference::{Engine, Reference},
    server::Ask,
};

/// The tokens of rotations that Vault said were done, the newest last.
#[derive(Default)]
pub(crate) struct Rotated(Mutex<VecDeque<Box<str>>>);

/// So many are remembered: each is followed at once.
const MOST: usize = 512;

/// The version that a database engine's own user always has: nothing tells its passwords apart.
const ROOT: &str = "root";

impl Rotated {
    fn has(&self, token: &str) -> bool {
        self.tokens().iter().any(|known| **known == *token)
    }

    fn remember(&self, token: &str) {
        let mut tokens = self.tokens();
        if tokens.len() >= MOST {
            tokens.pop_front();
        }
        tokens.push_back(token.into());
    }

    fn tokens(&self) -> MutexGuard<'_, VecDeque<Box<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl NativeRotation for VaultProvider {
    async fn start(&self, reference: &str, token: &str) -> Result<(), ProviderError> {
        let call = Call { kind: Kind::Rotate, verb: "rotate", on: reference };
        let path = Reference::parse(reference)?.rotation_path().ok_or_else(|| {
            call.error(ErrorClass::Invalid, "KV rotates nothing by itself: choose another `strategy`")
        })?;
        if self.rotated.has(token) {
            return Ok(());
        }
        let request = Raw::post(path, &json!({}));
        self.within(call.verb, reference, async {
            let asked = self.standing.ask(&request, Ask::once(call, None)).await;
            asked.map(drop).map_err(|failure| failure.into_error(call))
        })
        .await?;
        self.rotated.remember(token);
        Ok(())
    }

    async fn follow(
        &self,
        reference: &str,
        token: &str,
        before: Option<&VersionId>,
    ) -> Result<Followed, ProviderError> {
        let started = self.rotated.has(token);
        if Reference::parse(reference)?.engine == Engine::Root {
            return if started { root().map(Followed::Done) } else { Ok(Followed::Running) };
        }
        let current = self.fetch(Fetch { reference, version: None }).await?.version;
        let changed = before.map_or(started, |before| *before != current);
        Ok(if changed { Followed::Done(current) } else { Followed::Running })
    }
}

/// What there is to know of a database engine's own user.
pub(crate) fn root_versions() -> Result<Vec<VersionFacts>, ProviderError> {
    Ok(vec![VersionFacts {
        version: root()?,
        created_at: None,
        state: VersionState::Enabled,
        current: true,
        labels: Vec::new(),
    }])
}

/// What whoever asks for a database engine's own password gets.
pub(crate) fn never_lent(name: &str, version: Option<&VersionId>) -> ProviderError {
    let class = if version.is_some() { ErrorClass::Absent } else { ErrorClass::Permanent };
    ProviderError::new(
        class,
        format!("`{name}` is a database engine's own user, whose password nobody reads"),
    )
}

fn root() -> Result<VersionId, ProviderError> {
    ROOT.parse().map_err(|_| ProviderError::new(ErrorClass::Permanent, "there is no such version"))
}

/// Where a password policy makes a value.
pub(crate) fn policy_path(policy: &str) -> String {
    format!("sys/policies/password/{policy}/generate")
}

impl VaultProvider {
    /// A value by one of Vault's password policies (`sys/policies/password/NAME/generate`).
    pub(crate) async fn by_policy(&self, policy: &str) -> Result<SecretBytes, ProviderError> {
        #[derive(Deserialize)]
        struct Made {
            password: String,
        }
        let call = Call { kind: Kind::Secret, verb: "make a value by the password policy", on: policy };
        let named = (1..=128).contains(&policy.len())
            && !policy.starts_with('.')
            && policy.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !named {
            return Err(call
                .error(ErrorClass::Invalid, "a policy's name is 1 to 128 characters of A-Z a-z 0-9 . _ -"));
        }
        let request = Raw::get(policy_path(policy));
        self.within(call.verb, policy, async {
            let reply = self.standing.ask(&request, Ask::repeatable(call, None)).await;
            let made: Option<Made> = reply.map_err(|failure| failure.into_error(call))?.data();
            made.map(|made| made.password.into()).ok_or_else(|| call.odd())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_remembered_for_a_while() {
        let rotated = Rotated::default();
        rotated.remember("first");
        assert!(rotated.has("first") && !rotated.has("second"));
        for token in 0..MOST {
            rotated.remember(&token.to_string());
        }
        assert!(!rotated.has("first") && rotated.has("0"));
    }
}
