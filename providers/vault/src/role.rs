//! `[[role]]`: the call that makes a credential.

use std::{collections::BTreeMap, time::Duration};

use leasehold_core::provider::IssueCredential;
use thiserror::Error;

use crate::reference::{RESERVED, is_path};

/// How a credential is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultRole {
    /// The path of the engine's that makes one, such as `database/creds/readonly` or `pki/issue/web`.
    pub path: String,
    /// How it is called.
    pub method: Method,
    /// What it is told. In a value, `{ttl}`, `{max_ttl}`, `{lease}` and `{holder}` stand for what the lease says.
    pub parameters: BTreeMap<String, String>,
    /// Whether the engine answers with a lease of its own, so that the credential can be ended early. Of an engine that
    /// does not, such as PKI, a credential lives until its own end.
    pub leased: bool,
    /// Whether the answer comes wrapped, so that nothing on the way sees it, and for how long it may stay so.
    pub wrap_ttl: Option<Duration>,
    /// For certificates: the path that revokes one by its serial number, such as `pki/revoke`.
    pub revoke_path: Option<String>,
}

/// How a path is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// The parameters are in the query.
    #[default]
    Get,
    /// The parameters are in the body.
    Post,
    /// As `Post`.
    Put,
}

/// Why a role is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidRole {
    /// Not a path of an engine's.
    #[error(
        "`{0}` of a role is a path such as `database/creds/readonly`: segments of A-Z a-z 0-9 . _ - @ + = , : and not under `sys`, `auth`, `identity` or `cubbyhole`"
    )]
    Path(&'static str),
    /// Not a parameter's name.
    #[error("`{0}` is not a parameter's name")]
    Parameter(String),
    /// A placeholder that nothing fills.
    #[error(
        "the parameter `{0}` has a placeholder that is not {{ttl}}, {{max_ttl}}, {{lease}} or {{holder}}"
    )]
    Placeholder(String),
    /// Not one of the three.
    #[error("`method` is GET, POST or PUT")]
    Method,
    /// No time at all.
    #[error("`wrap_ttl` is at least a second")]
    WrapTtl,
    /// A certificate is revoked by its serial number or with its lease, not both.
    #[error("`revoke_path` is for credentials without a lease: say `leased = false`")]
    RevokePath,
}

impl VaultRole {
    /// A role that is called with GET and answers with a lease.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            method: Method::Get,
            parameters: BTreeMap::new(),
            leased: true,
            wrap_ttl: None,
            revoke_path: None,
        }
    }

    /// Everything that is wrong with it.
    pub fn faults(&self) -> Vec<InvalidRole> {
        let mut faults = Vec::new();
        for (key, path) in [("path", Some(&self.path)), ("revoke_path", self.revoke_path.as_ref())] {
            if path.is_some_and(|path| !is_engine_path(path)) {
                faults.push(InvalidRole::Path(key));
            }
        }
        for (name, value) in &self.parameters {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
                faults.push(InvalidRole::Parameter(name.clone()));
            } else if fill(value, |_| Some(String::new())).is_none() {
                faults.push(InvalidRole::Placeholder(name.clone()));
            }
        }
        if self.wrap_ttl.is_some_and(|ttl| ttl < Duration::from_secs(1)) {
            faults.push(InvalidRole::WrapTtl);
        }
        if self.leased && self.revoke_path.is_some() {
            faults.push(InvalidRole::RevokePath);
        }
        faults
    }

    /// The parameters of one call.
    pub(crate) fn filled(&self, request: &IssueCredential<'_>) -> BTreeMap<&str, String> {
        let seconds = |duration: Duration| format!("{}s", duration.as_secs().max(1));
        let value = |placeholder: &str| match placeholder {
            "ttl" => Some(seconds(request.ttl)),
            "max_ttl" => Some(seconds(request.max_ttl)),
            "lease" => Some(request.lease.to_string()),
            "holder" => Some(request.holder.to_string()),
            _ => None,
        };
        // INVARIANT: what cannot be filled was refused with the configuration.
        self.parameters.iter().map(|(name, text)| (&**name, fill(text, value).unwrap_or_default())).collect()
    }
}

impl Method {
    /// The method of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(name: &str) -> Result<Self, InvalidRole> {
        match name {
            "GET" => Ok(Self::Get),
            "POST" => Ok(Self::Post),
            "PUT" => Ok(Self::Put),
            _ => Err(InvalidRole::Method),
        }
    }
}

fn is_engine_path(path: &str) -> bool {
    is_path(path) && path.contains('/') && !path.split('/').any(|segment| RESERVED.contains(&segment))
}

const KNOWN: [&str; 4] = ["ttl", "max_ttl", "lease", "holder"];

/// Fills the placeholders in; `None` when there is an unknown one. Braces that hold no word are left as they are: templates
/// of other languages have them too.
fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let word = after.split_once('}').filter(|(word, _)| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        });
        match word {
            Some((word, after)) if KNOWN.contains(&word) => {
                filled.push_str(&value(word)?);
                rest = after;
            }
            Some(_) => return None,
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    Some(filled)
}

#[cfg(test)]
mod tests {
    use leasehold_core::LeaseId;

    use super::*;

    #[test]
    fn parameters_say_what_the_lease_says() {
        let holder = "spiffe://example.org/prod/web".parse().unwrap();
        let lease = LeaseId::from_bits([7; 16]);
        let request = IssueCredential {
            lease,
            holder: &holder,
            role: "web",
            ttl: Duration::from_secs(900),
            max_ttl: Duration::from_secs(3600),
            within: Duration::from_secs(60),
            reservation: None,
        };
        let role = VaultRole {
            parameters: [
                ("ttl", "{ttl}"),
                ("uri_sans", "{holder}"),
                ("note", "{lease}/{max_ttl}"),
                ("json", r#"{"a":{}}"#),
            ]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
            ..VaultRole::new("pki/issue/web")
        };
        assert_eq!(role.faults(), []);
        let filled = role.filled(&request);
        assert_eq!(filled["ttl"], "900s");
        assert_eq!(filled["uri_sans"], "spiffe://example.org/prod/web");
        assert_eq!(filled["note"], format!("{lease}/3600s"));
        assert_eq!(filled["json"], r#"{"a":{}}"#);
    }

    #[test]
    fn every_fault_is_said_at_once() {
        let role = VaultRole {
            parameters: [("a b", "x"), ("ttl", "{tll}")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            wrap_ttl: Some(Duration::ZERO),
            revoke_path: Some("pki/../revoke".into()),
            ..VaultRole::new("sys/raw/x")
        };
        assert_eq!(
            role.faults(),
            [
                InvalidRole::Path("path"),
                InvalidRole::Path("revoke_path"),
                InvalidRole::Parameter("a b".into()),
                InvalidRole::Placeholder("ttl".into()),
                InvalidRole::WrapTtl,
                InvalidRole::RevokePath
            ]
        );
        assert_eq!(Method::of("DELETE"), Err(Method::of("get").unwrap_err()));
    }
}
