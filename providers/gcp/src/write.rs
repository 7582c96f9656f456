//! Adding versions: once for each token, and only onto the version that is expected.
//!
//! `secrets.addVersion` is neither idempotent nor conditional. So what is there is compared before: a value that the
//! newest version has already is that version, and a lost answer is looked for. Writers of one broker take turns; a
//! writer elsewhere, in between, is noticed by the numbers.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{Mutex as StdMutex, PoisonError},
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use leasehold_core::{
    SecretBytes, SecretValue,
    provider::{ErrorClass, ProviderError, VersionState},
    secret::json,
};
use tokio::sync::Mutex;

use crate::{
    client::{CloudClient, Version},
    reference::{LATEST, Secret},
};

/// The writes of one provider.
pub(crate) struct Writes {
    turns: [Mutex<()>; TURNS],
    hasher: RandomState,
    done: StdMutex<VecDeque<Done>>,
}

/// A write that was made, by its token.
struct Done {
    secret: String,
    token: String,
    number: u64,
}

const TURNS: usize = 16;

/// So many of the newest writes are remembered; what a token was used for before is found by its value alone.
const REMEMBERED: usize = 512;

/// The most that Secret Manager takes, in bytes (<https://cloud.google.com/secret-manager/quotas>).
pub(crate) const MAX_BYTES: usize = 65_536;

impl Writes {
    pub(crate) fn new() -> Self {
        Self {
            turns: std::array::from_fn(|_| Mutex::new(())),
            hasher: RandomState::new(),
            done: StdMutex::default(),
        }
    }

    /// Adds a version, and returns its number.
    pub(crate) async fn write(
        &self,
        client: &dyn CloudClient,
        secret: &Secret<'_>,
        value: &SecretBytes,
        token: &str,
        expected: Option<u64>,
    ) -> Result<u64, ProviderError> {
        let name = secret.name();
        let turn = usize::try_from(self.hasher.hash_one(&name)).unwrap_or_default();
        let _turn = match self.turns.get(turn.checked_rem(TURNS).unwrap_or_default()) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        if let Some(number) = self.done(&name, token) {
            return if holds(client, secret, number, value).await? {
                Ok(number)
            } else {
                Err(invalid(format!("`{}`: another value was written under the same token", secret.id)))
            };
        }
        let newest = newest(client, secret).await?;
        if let Some(newest) = &newest
            && newest.state == VersionState::Enabled
            && holds(client, secret, newest.number, value).await?
        {
            self.remember(name, token, newest.number);
            return Ok(newest.number);
        }
        let before = newest.map(|newest| newest.number);
        if let Some(expected) = expected
            && before != Some(expected)
        {
            let at = before.map_or("no version".to_owned(), |before| format!("version {before}"));
            return Err(invalid(format!("`{}` is at {at}, not at {expected}", secret.id)));
        }
        let number = match client.add(secret, value).await {
            Ok(number) => number,
            Err(failure) if failure.error.class == ErrorClass::Transient => {
                // The answer was lost, and perhaps only that.
                match self::newest(client, secret).await {
                    Ok(Some(now))
                        if Some(now.number) > before && holds(client, secret, now.number, value).await? =>
                    {
                        now.number
                    }
                    _ => return Err(failure.error),
                }
            }
            Err(failure) => return Err(failure.error),
        };
        self.remember(name, token, number);
        match expected {
            Some(expected) if number != expected.saturating_add(1) => Err(invalid(format!(
                "`{}`: somebody else added a version after {expected} at the same moment; this value is version {number} now: look at both",
                secret.id
            ))),
            _ => Ok(number),
        }
    }

    fn done(&self, secret: &str, token: &str) -> Option<u64> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.iter().find(|done| done.secret == secret && done.token == token).map(|done| done.number)
    }

    fn remember(&self, secret: String, token: &str, number: u64) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.len() >= REMEMBERED {
            done.pop_front();
        }
        done.push_back(Done { secret, token: token.to_owned(), number });
    }
}

/// What Secret Manager is to hold for a value.
///
/// # Errors
/// [`ErrorClass::Invalid`] when it cannot.
pub(crate) fn encode(value: &SecretValue) -> Result<SecretBytes, ProviderError> {
    let body = json::encode(value).map_err(|why| invalid(why.to_string()))?;
    // There is no media type here: bytes that look like an object of fields would be read as such.
    let body = match body {
        json::Body::Binary(bytes) if looks_like_fields(&bytes) => {
            json::object(value).map(json::Body::Text).map_err(|why| invalid(why.to_string()))?
        }
        body => body,
    };
    match body.bytes().len() {
        0 => Err(invalid("Secret Manager holds no empty value".to_owned())),
        1..=MAX_BYTES => Ok(body.bytes().clone()),
        _ => Err(invalid("the value is larger than the 65536 bytes that Secret Manager holds".to_owned())),
    }
}

fn looks_like_fields(bytes: &SecretBytes) -> bool {
    str::from_utf8(bytes.expose()).is_ok() && bytes.expose().trim_ascii_start().first() == Some(&b'{')
}

/// The version that was made last; `None` when there is none, or no such secret.
async fn newest(client: &dyn CloudClient, secret: &Secret<'_>) -> Result<Option<Version>, ProviderError> {
    match client.version(secret, LATEST).await {
        Ok(version) => Ok(Some(version)),
        Err(failure) if failure.error.class == ErrorClass::Absent => Ok(None),
        Err(failure) => Err(failure.error),
    }
}

/// Whether a version has this value. One that cannot be read any more has none.
async fn holds(
    client: &dyn CloudClient,
    secret: &Secret<'_>,
    number: u64,
    value: &SecretBytes,
) -> Result<bool, ProviderError> {
    match client.access(secret, &number.to_string()).await {
        Ok(held) => Ok(verify_slices_are_equal(held.bytes.expose(), value.expose()).is_ok()),
        Err(failure) if failure.error.class == ErrorClass::Absent => Ok(false),
        Err(failure) => Err(failure.error),
    }
}

fn invalid(why: String) -> ProviderError {
    ProviderError::new(ErrorClass::Invalid, why)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use leasehold_core::secret::FieldName;

    use super::*;

    fn octets(bytes: &[u8]) -> SecretValue {
        SecretValue {
            fields: BTreeMap::from([(FieldName::value(), bytes.to_vec().into())]),
            content_type: SecretValue::OCTETS.into(),
        }
    }

    #[test]
    fn what_secret_manager_cannot_hold_is_refused() {
        for bad in [octets(b""), octets(&[0; MAX_BYTES + 1])] {
            assert_eq!(encode(&bad).unwrap_err().class, ErrorClass::Invalid, "{bad:?}");
        }
        assert_eq!(encode(&octets(&[0; MAX_BYTES])).unwrap().len(), MAX_BYTES);
    }

    #[test]
    fn bytes_come_back_as_they_were_whatever_they_look_like() {
        for bytes in [&b"{\"a\":\"b\"}"[..], b" {}", b"plain", &[0xff, b'{'], b"\0"] {
            let again =
                json::decode(json::Body::guess(encode(&octets(bytes)).unwrap()), json::Format::Fields);
            assert_eq!(again.fields.len(), 1);
            assert_eq!(again.fields[&FieldName::value()].expose(), bytes);
        }
    }
}
