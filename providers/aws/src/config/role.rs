//! `[[role]]`: what the credentials are made of; and the role that the broker itself takes on.
//!
//! Source: the STS API reference's `AssumeRole` and `GetSessionToken`, and the IAM user guide, "Pass session tags".

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::{principal::OWN_TAGS, reference::Arn};

/// What a credential is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsRole {
    /// A session of a role: `AssumeRole`.
    AssumeRole(SessionRole),
    /// A session of the broker's own IAM user, with all that it may: `GetSessionToken`. No role can ask for one.
    SessionToken,
}

/// A role whose sessions are lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRole {
    /// The role's ARN.
    pub arn: String,
    /// What the role's trust policy wants to hear.
    pub external_id: Option<String>,
    /// A policy, JSON, that the session is held to as well.
    pub session_policy: Option<String>,
    /// ARNs of policies that the session is held to as well.
    pub policy_arns: Vec<String>,
    /// Session tags.
    pub tags: BTreeMap<String, String>,
    /// Those of them that stay when the session takes on another role.
    pub transitive: Vec<String>,
    /// Whether the session's source identity is the principal. The role's trust policy must allow `sts:SetSourceIdentity`.
    pub source_identity: bool,
    /// Whether the principal and the lease are session tags. The role's trust policy must allow `sts:TagSession`.
    pub principal_tags: bool,
}

/// The role that the broker itself takes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumedRole {
    /// The role's ARN.
    pub arn: String,
    /// What the role's trust policy wants to hear.
    pub external_id: Option<String>,
    /// The name of the broker's sessions, as CloudTrail shows it.
    pub session_name: String,
}

/// Why a role is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AwsRoleFault {
    /// Not a role's ARN.
    #[error("`arn` is not a role's, such as `arn:aws:iam::123456789012:role/deploy`")]
    Arn,
    /// Not an external id.
    #[error("`external_id` is not 2 to 1224 characters of A-Z a-z 0-9 _ + = , . @ : / -")]
    ExternalId,
    /// Not a session's name.
    #[error("the session's name is not 2 to 64 characters of A-Z a-z 0-9 _ + = , . @ -")]
    SessionName,
    /// Not JSON, or too long.
    #[error("`session_policy` is not a policy: a JSON object of at most 2048 characters with a `Statement`")]
    SessionPolicy,
    /// Not a policy's ARN, or too many of them.
    #[error("`policy_arns` are at most 10, such as `arn:aws:iam::aws:policy/ReadOnlyAccess`")]
    PolicyArns,
    /// A tag that AWS would not take.
    #[error(
        "the tag `{0}` is not one: a key of 1 to 128 and a value of up to 256 letters, digits, blanks and _ . : / = + - @, \
         no key twice in whatever case, and none that starts with `aws:` or `leasehold-`"
    )]
    Tag(String),
    /// More tags than AWS takes.
    #[error("there are at most 50 session tags, the broker's own counted")]
    TooManyTags,
    /// A transitive tag that is none.
    #[error("`transitive_tags` names `{0}`, which is not one of the role's `tags`")]
    Transitive(String),
}

impl Default for SessionRole {
    fn default() -> Self {
        Self {
            arn: String::new(),
            external_id: None,
            session_policy: None,
            policy_arns: Vec::new(),
            tags: BTreeMap::new(),
            transitive: Vec::new(),
            source_identity: true,
            principal_tags: true,
        }
    }
}

impl Default for AssumedRole {
    fn default() -> Self {
        Self { arn: String::new(), external_id: None, session_name: "leasehold".to_owned() }
    }
}

impl AwsRole {
    /// Everything that is wrong with it.
    pub fn faults(&self) -> Vec<AwsRoleFault> {
        match self {
            Self::AssumeRole(role) => role.faults(),
            Self::SessionToken => Vec::new(),
        }
    }
}

impl SessionRole {
    fn faults(&self) -> Vec<AwsRoleFault> {
        let mut faults = common_faults(&self.arn, self.external_id.as_deref());
        if self.session_policy.as_deref().is_some_and(|policy| !is_policy(policy)) {
            faults.push(AwsRoleFault::SessionPolicy);
        }
        if self.policy_arns.len() > 10 || !self.policy_arns.iter().all(|arn| is_policy_arn(arn)) {
            faults.push(AwsRoleFault::PolicyArns);
        }
        let mut seen = BTreeSet::new();
        for (key, value) in &self.tags {
            let first = seen.insert(key.to_lowercase());
            if !first || !is_tag_key(key) || value.chars().count() > 256 || !is_tag_text(value) {
                faults.push(AwsRoleFault::Tag(key.clone()));
            }
        }
        let own = if self.principal_tags { OWN_TAGS } else { 0 };
        if self.tags.len().saturating_add(own) > 50 {
            faults.push(AwsRoleFault::TooManyTags);
        }
        let strange = self.transitive.iter().filter(|key| !self.tags.contains_key(*key));
        faults.extend(strange.cloned().map(AwsRoleFault::Transitive));
        faults
    }
}

impl AssumedRole {
    pub(super) fn faults(&self) -> Vec<AwsRoleFault> {
        let mut faults = common_faults(&self.arn, self.external_id.as_deref());
        let ok = (2..=64).contains(&self.session_name.len())
            && self.session_name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b));
        if !ok {
            faults.push(AwsRoleFault::SessionName);
        }
        faults
    }
}

fn common_faults(arn: &str, external_id: Option<&str>) -> Vec<AwsRoleFault> {
    let mut faults = Vec::new();
    let role = Arn::parse(arn, "iam").filter(|arn| arn.region.is_empty());
    let name = role.and_then(|arn| arn.resource.strip_prefix("role/"));
    if !name.is_some_and(is_iam_name) {
        faults.push(AwsRoleFault::Arn);
    }
    let good = |id: &str| {
        (2..=1224).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b))
    };
    if external_id.is_some_and(|id| !good(id)) {
        faults.push(AwsRoleFault::ExternalId);
    }
    faults
}

/// A name with its path, as IAM has it.
fn is_iam_name(text: &str) -> bool {
    (1..=576).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@/-".contains(&b))
        && text.split('/').all(|segment| !segment.is_empty())
}

/// A policy of an account, or one of AWS's own.
fn is_policy_arn(text: &str) -> bool {
    let own = text.replacen("::aws:policy/", "::000000000000:policy/", 1);
    let arn = Arn::parse(&own, "iam").filter(|arn| arn.region.is_empty());
    arn.and_then(|arn| arn.resource.strip_prefix("policy/")).is_some_and(is_iam_name)
}

fn is_policy(text: &str) -> bool {
    let policy = serde_json::from_str::<serde_json::Value>(text);
    text.chars().count() <= 2048 && policy.is_ok_and(|policy| policy.get("Statement").is_some())
}

fn is_tag_key(key: &str) -> bool {
    let lower = key.to_lowercase();
    (1..=128).contains(&key.chars().count())
        && is_tag_text(key)
        && !lower.starts_with("aws:")
        && !lower.starts_with("leasehold-")
}

/// AWS's grammar: `[\p{L}\p{Z}\p{N}_.:/=+\-@]*`.
fn is_tag_text(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(change: impl FnOnce(&mut SessionRole)) -> Vec<AwsRoleFault> {
        let arn = "arn:aws:iam::123456789012:role/teams/deploy".to_owned();
        let mut role = SessionRole { arn, ..SessionRole::default() };
        change(&mut role);
        AwsRole::AssumeRole(role).faults()
    }

    #[test]
    fn a_role_is_checked_before_it_is_used() {
        use AwsRoleFault::*;
        let tag = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        assert_eq!(role(|_| {}), []);
        let whole = role(|role| {
            role.external_id = Some("a:b/c".into());
            role.session_policy = Some(r#"{"Version":"2012-10-17","Statement":[]}"#.into());
            role.policy_arns = vec![
                "arn:aws:iam::aws:policy/job-function/X".into(),
                "arn:aws:iam::123456789012:policy/x".into(),
            ];
            role.tags = tag("team", "Zahlungen größer");
            role.transitive = vec!["team".into()];
        });
        assert_eq!(whole, []);
        for bad in [
            "",
            "deploy",
            "arn:aws:iam::123456789012:user/x",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role//x",
            "arn:aws:sts::123456789012:assumed-role/x/y",
        ] {
            assert_eq!(role(|role| role.arn = bad.into()), [Arn], "{bad}");
        }
        assert_eq!(role(|role| role.external_id = Some("a b".into())), [ExternalId]);
        for bad in ["{", "[]", "{}", &format!(r#"{{"Statement":"{}"}}"#, "a".repeat(2048))] {
            assert_eq!(role(|role| role.session_policy = Some(bad.into())), [SessionPolicy], "{bad}");
        }
        assert_eq!(role(|role| role.policy_arns = vec!["ReadOnlyAccess".into()]), [PolicyArns]);
        for (key, value) in [("", ""), ("aws:x", ""), ("Leasehold-lease", ""), ("a", "b|c"), ("a,b", "")] {
            assert_eq!(role(|role| role.tags = tag(key, value)), [Tag(key.into())], "{key}");
        }
        let twice =
            role(|role| role.tags = [tag("Team", ""), tag("team", "")].into_iter().flatten().collect());
        assert_eq!(twice, [Tag("team".into())]);
        assert_eq!(role(|role| role.transitive = vec!["x".into()]), [Transitive("x".into())]);
        let many = role(|role| role.tags = (0..49).map(|n| (format!("t{n}"), String::new())).collect());
        assert_eq!(many, [TooManyTags]);
    }
}
