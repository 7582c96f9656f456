//! What was answered instead of a success: its codes, what they mean, and nothing of its text.

use std::{fmt, time::Duration};

use azure_core::http::headers::Headers;
use jiff::fmt::rfc2822;
use leasehold_core::{Timestamp, provider::ErrorClass};
use serde_json::Value;

/// Whom was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    /// The key vault.
    Vault,
    /// Entra ID, where tokens come from.
    Login,
    /// The machine's identity service, where a managed identity's tokens come from.
    Machine,
}

/// What was answered, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Who.
    pub(crate) party: Party,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The error's code, such as `Forbidden` or `invalid_client`.
    pub(crate) code: Option<String>,
    /// The innermost code, such as `SecretDisabled`.
    pub(crate) inner: Option<String>,
    /// The numbers of Entra ID's errors (`AADSTS...`), or the one of the vault's (`AKV...`).
    pub(crate) numbers: Vec<u32>,
    /// When to ask again.
    pub(crate) retry_after: Option<Duration>,
}

/// The longest hint that is believed.
const LONGEST_HINT: Duration = Duration::from_secs(3600);

impl Answer {
    /// What an answer's headers and body say.
    pub(crate) fn read(party: Party, status: u16, headers: &Headers, body: &[u8], now: Timestamp) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = body.get("error").unwrap_or(&Value::Null);
        // Its case differs from answer to answer.
        let below = |outer: &'_ Value| outer.get("innererror").or_else(|| outer.get("innerError")).cloned();
        let innermost = std::iter::successors(below(error), below).last();
        // `error` is an object in a vault's answers and a text in those of Entra ID (RFC 6749, section 5.2).
        let code = text(error, "code").or(error.as_str()).and_then(word);
        let mut inner = innermost.as_ref().and_then(|inner| text(inner, "code")).and_then(word);
        let message = text(error, "message").unwrap_or_default();
        if inner.is_none() && message.contains("disabled secret") {
            inner = Some(DISABLED.to_owned());
        }
        let listed = body.get("error_codes").and_then(Value::as_array).into_iter().flatten();
        let mut numbers: Vec<u32> = listed.filter_map(|number| number.as_u64()?.try_into().ok()).collect();
        if numbers.is_empty() {
            let described = text(&body, "error_description").unwrap_or_default();
            numbers.extend(number_after(message, "AKV").or_else(|| number_after(described, "AADSTS")));
        }
        Self { party, status, code, inner, numbers, retry_after: hint(headers, now) }
    }

    /// Whether the secret, or this version of it, is there and disabled.
    pub(crate) fn is_disabled(&self) -> bool {
        self.party == Party::Vault && self.status == 403 && self.inner.as_deref() == Some(DISABLED)
    }

    fn has(&self, numbers: &[u32]) -> bool {
        self.numbers.iter().any(|number| numbers.contains(number))
    }

    /// Its class.
    pub(crate) fn class(&self) -> ErrorClass {
        match (self.party, self.status) {
            _ if self.is_disabled() => ErrorClass::Absent,
            (_, 429) => ErrorClass::Throttled,
            (_, 408 | 500..=599) => ErrorClass::Transient,
            (Party::Vault, 404) => ErrorClass::Absent,
            (Party::Vault, 409) => match self.inner.as_deref() {
                Some("ObjectIsDeletedButRecoverable") => ErrorClass::Invalid,
                // Being deleted, recovered, or changed by somebody else: that passes.
                _ => ErrorClass::Transient,
            },
            (Party::Vault, 400 | 413) => ErrorClass::Invalid,
            // Managed identities: 404 and 410 while the service comes up
            // (https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling).
            (Party::Machine, 404 | 410) => ErrorClass::Transient,
            (_, 401 | 403) => ErrorClass::Denied,
            (Party::Login, _) if self.has(&[TEMPORARY, OVERLOADED]) => ErrorClass::Transient,
            (Party::Login, _) if self.has(&[TOO_MANY_REQUESTS]) => ErrorClass::Throttled,
            (Party::Login, _) if self.has(NO_TENANT) || self.has(NO_RESOURCE) => ErrorClass::Permanent,
            (Party::Login | Party::Machine, 400) => ErrorClass::Denied,
            _ => ErrorClass::Permanent,
        }
    }

    /// What it means, where the code has a meaning that a person can act on.
    pub(crate) fn meaning(&self) -> Option<&'static str> {
        let inner = self.inner.as_deref().unwrap_or_default();
        Some(match (self.party, self.status) {
            _ if self.is_disabled() => "it is disabled",
            (Party::Vault, 401) if self.has(&[WRONG_ISSUER]) => "the vault belongs to another directory",
            (Party::Vault, 401) if self.has(&[WRONG_AUDIENCE]) => "the token is for another cloud's vaults",
            (Party::Vault, 401) => "the vault does not accept the broker's token",
            (Party::Vault, 403)
                if inner.starts_with("ForbiddenByFirewall") || inner.starts_with("ForbiddenByConnection") =>
            {
                "the vault's firewall does not let this machine in"
            }
            (Party::Vault, 403) => "the broker's identity may not do this",
            (Party::Vault, 404) => "there is no such secret or version",
            (Party::Vault, 409) => match inner {
                "ObjectIsDeletedButRecoverable" => {
                    "a deleted secret has this name: restore it, or purge it, and write again"
                }
                "ObjectIsBeingDeleted" => "it is being deleted",
                "ObjectIsBeingRecovered" => "it is being restored",
                _ => "something else changes it at the same time",
            },
            (Party::Login, _) if self.has(NO_TENANT) => {
                "there is no such directory: `tenant_id` is wrong, or the cloud"
            }
            (Party::Login, _) if self.has(NO_RESOURCE) => {
                "the directory knows nothing by the name of the scope"
            }
            (Party::Login, _) if self.has(&[NO_APPLICATION]) => {
                "the directory has no such application: `client_id` is wrong, or `tenant_id`"
            }
            (Party::Login, _) if self.has(&[WRONG_SECRET]) => "the client secret is wrong",
            (Party::Login, _) if self.has(&[ENDED_SECRET]) => "the client secret has ended: make a new one",
            (Party::Login, _) if self.has(NOT_FEDERATED) => {
                "no federated credential of the application fits the token's issuer, subject or audience"
            }
            (Party::Login, _) if self.has(CLOCK) => {
                "the token's times do not fit Entra ID's clock: it has ended, or this machine's clock is wrong"
            }
            (Party::Machine, 400) => "no such managed identity is assigned to this machine",
            (Party::Machine, 401 | 403) => "it does not answer this machine: perhaps it is not Azure's",
            (Party::Machine, 404 | 410) => "it is not ready",
            _ => return None,
        })
    }

    /// Whether it says that two clocks differ.
    pub(crate) fn is_of_clocks(&self) -> bool {
        self.party == Party::Login && self.has(CLOCK)
    }
}

const DISABLED: &str = "SecretDisabled";

// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
const NO_TENANT: &[u32] = &[90_002, 900_023, 50_059];
const NO_RESOURCE: &[u32] = &[500_011, 70_011, 1_002_012, 650_057];
const NO_APPLICATION: u32 = 700_016;
const WRONG_SECRET: u32 = 7_000_215;
const ENDED_SECRET: u32 = 7_000_222;
const NOT_FEDERATED: &[u32] = &[70_021, 700_211, 700_212, 700_213];
const CLOCK: &[u32] = &[700_024, 500_133];
const TEMPORARY: u32 = 90_033;
const OVERLOADED: u32 = 90_006;
const TOO_MANY_REQUESTS: u32 = 50_196;
// https://learn.microsoft.com/azure/key-vault/general/rest-error-codes
const WRONG_ISSUER: u32 = 10_032;
const WRONG_AUDIENCE: u32 = 10_022;

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { party, status, .. } = self;
        match &self.code {
            Some(code) => write!(f, "{party} answered {code}")?,
            None => write!(f, "{party} answered HTTP {status}")?,
        }
        let details =
            self.inner.iter().cloned().chain(self.numbers.iter().map(|number| self.numbered(*number)));
        let details: Vec<_> = details.collect();
        if !details.is_empty() {
            write!(f, " ({})", details.join(", "))?;
        }
        match self.meaning() {
            Some(meaning) => write!(f, ": {meaning}"),
            None => Ok(()),
        }
    }
}

impl Answer {
    fn numbered(&self, number: u32) -> String {
        match self.party {
            Party::Vault => format!("AKV{number}"),
            Party::Login | Party::Machine => format!("AADSTS{number}"),
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vault => "the vault",
            Self::Login => "Entra ID",
            Self::Machine => "the machine's identity service",
        })
    }
}

/// When the answer says to ask again: in milliseconds, in seconds, or at a date (RFC 9110, section 10.2.3).
fn hint(headers: &Headers, now: Timestamp) -> Option<Duration> {
    let header = |name: &'static str| headers.get_optional_str(&name.into()).map(str::trim);
    let millis = header("x-ms-retry-after-ms").or_else(|| header("retry-after-ms"));
    let hint = millis.and_then(|text| text.parse().ok().map(Duration::from_millis)).or_else(|| {
        let text = header("retry-after")?;
        let seconds = text.parse().ok().map(Duration::from_secs);
        seconds.or_else(|| Some(leasehold_core::ttl::until(now, http_date(text)?)))
    })?;
    Some(hint.min(LONGEST_HINT))
}

/// A date as HTTP writes it (RFC 9110, section 5.6.7).
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key)?.as_str()
}

/// A code that can be shown: one word, and no longer than codes are.
fn word(text: &str) -> Option<String> {
    let ok = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    ok.then(|| text.to_owned())
}

fn number_after(text: &str, prefix: &str) -> Option<u32> {
    let (_, rest) = text.split_once(prefix)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(party: Party, status: u16, body: &str) -> Answer {
        Answer::read(party, status, &Headers::new(), body.as_bytes(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_disabled_version_is_told_from_a_denial() {
        let body = |message: &str, inner: &str| {
            format!(r#"{{"error":{{"code":"Forbidden","message":"{message}","{inner}}}}}"#)
        };
        for disabled in [
            body("no", r#"innererror":{"code":"SecretDisabled"}"#),
            body("no", r#"innerError":{"code":"SecretDisabled"}"#),
            body("Operation get is not allowed on a disabled secret.", r#"x":"y""#),
        ] {
            let answer = answer(Party::Vault, 403, &disabled);
            assert!(answer.is_disabled() && answer.class() == ErrorClass::Absent, "{disabled}");
        }
        for (inner, words) in [
            ("ForbiddenByRbac", "may not do this"),
            ("AccessDenied", "may not do this"),
            ("ForbiddenByFirewall", "firewall"),
            ("ForbiddenByConnection", "firewall"),
        ] {
            let text = body("for appid=canary", &format!(r#"innererror":{{"code":"{inner}"}}"#));
            let answer = answer(Party::Vault, 403, &text);
            assert_eq!(answer.class(), ErrorClass::Denied, "{inner}");
            let said = answer.to_string();
            assert!(said.contains(words) && said.contains(inner) && !said.contains("canary"), "{said}");
        }
    }

    #[test]
    fn statuses_have_their_classes() {
        use ErrorClass::*;
        let inner =
            |code: &str| format!(r#"{{"error":{{"code":"Conflict","innererror":{{"code":"{code}"}}}}}}"#);
        let entra = |number: u32| format!(r#"{{"error":"invalid_client","error_codes":[{number}]}}"#);
        for (party, status, body, class) in [
            (Party::Vault, 404, String::new(), Absent),
            (Party::Vault, 401, String::new(), Denied),
            (Party::Vault, 400, String::new(), Invalid),
            (Party::Vault, 409, inner("ObjectIsDeletedButRecoverable"), Invalid),
            (Party::Vault, 409, inner("ObjectIsBeingDeleted"), Transient),
            (Party::Vault, 409, String::new(), Transient),
            (Party::Vault, 429, String::new(), Throttled),
            (Party::Vault, 503, "<html>".to_owned(), Transient),
            (Party::Vault, 302, String::new(), Permanent),
            (Party::Login, 400, entra(90_002), Permanent),
            (Party::Login, 401, entra(7_000_215), Denied),
            (Party::Login, 400, entra(700_016), Denied),
            (Party::Login, 400, entra(500_011), Permanent),
            (Party::Login, 400, entra(90_033), Transient),
            (Party::Login, 503, String::new(), Transient),
            (Party::Machine, 400, String::new(), Denied),
            (Party::Machine, 404, String::new(), Transient),
            (Party::Machine, 429, String::new(), Throttled),
        ] {
            assert_eq!(answer(party, status, &body).class(), class, "{party} {status} {body}");
        }
    }

    #[test]
    fn numbers_are_read_from_words_too() {
        let said = r#"{"error":{"code":"Unauthorized","message":"AKV10032: Invalid issuer. Expected one of https://sts/canary"}}"#;
        let vault = answer(Party::Vault, 401, said);
        assert_eq!(
            vault.to_string(),
            "the vault answered Unauthorized (AKV10032): the vault belongs to another directory"
        );
        let said =
            r#"{"error":"invalid_request","error_description":"AADSTS90002: Tenant 'canary' not found."}"#;
        assert!(answer(Party::Login, 400, said).to_string().contains("there is no such directory"));
    }

    #[test]
    fn hints_are_read_in_every_form_and_not_believed_too_far() {
        for (name, text, seconds) in [
            ("retry-after", "7", Some(7)),
            ("retry-after", "Thu, 01 Jan 1970 00:00:09 GMT", Some(9)),
            ("retry-after", "86400", Some(3600)),
            ("x-ms-retry-after-ms", "2000", Some(2)),
            ("retry-after", "soon", None),
        ] {
            let mut headers = Headers::new();
            headers.insert(name, text);
            assert_eq!(
                hint(&headers, Timestamp::UNIX_EPOCH),
                seconds.map(Duration::from_secs),
                "{name}: {text}"
            );
        }
    }

    #[test]
    fn a_code_that_is_no_word_is_not_shown() {
        let odd = answer(Party::Vault, 418, r#"{"error":{"code":"it's canary"}}"#);
        assert_eq!(odd.to_string(), "the vault answered HTTP 418");
    }
}
