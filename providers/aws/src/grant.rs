//! The statements of IAM policies that allow what the broker is asked for.

use serde_json::{Value, json};

use crate::{
    client::Caller,
    config::{AssumedRole, SessionRole},
    reference::{ParameterReference, SecretReference},
};

/// Whose account, in which part of AWS; what is not known is a wildcard.
pub(crate) struct Account {
    partition: String,
    number: String,
    /// Who the broker is, as a trust policy names it.
    principal: String,
}

/// Stands for a mount's `{rest}` in a name that is tried; in a policy it is `*`.
pub(crate) const PROBE: &str = "leasehold-check-nothing";

impl Account {
    /// The account of the broker's own identity, when it is known.
    pub(crate) fn of(caller: Option<&Caller>) -> Self {
        let Some(caller) = caller else {
            return Self {
                partition: "aws".into(),
                number: "*".into(),
                principal: "<the ARN of the broker's role or user>".into(),
            };
        };
        let partition = caller.arn.split(':').nth(1).unwrap_or("aws").to_owned();
        let session = caller.arn.split_once(":assumed-role/").and_then(|(_, role)| role.split('/').next());
        let principal = match session {
            Some(role) => format!("arn:{partition}:iam::{}:role/{role}", caller.account),
            None => caller.arn.clone(),
        };
        Self { partition, number: caller.account.clone(), principal }
    }

    /// Whether the broker signs with a role's session, by which AWS's rule of role chaining holds for what it lends.
    pub(crate) fn is_of_a_role(&self) -> bool {
        self.principal.contains(":role/")
    }

    /// What reading a secret needs.
    pub(crate) fn read_secret(&self, secret: &SecretReference<'_>, home: &str) -> String {
        let actions = ["GetSecretValue", "DescribeSecret", "ListSecretVersionIds"];
        self.of_secret(&actions, secret, home)
    }

    /// What writing a secret needs.
    pub(crate) fn write_secret(&self, secret: &SecretReference<'_>, home: &str) -> String {
        let actions = [
            "GetSecretValue",
            "DescribeSecret",
            "ListSecretVersionIds",
            "PutSecretValue",
            "UpdateSecretVersionStage",
            "DeleteSecret",
            "RestoreSecret",
        ];
        self.of_secret(&actions, secret, home)
    }

    /// What having AWS rotate a secret needs.
    pub(crate) fn rotate_secret(&self, secret: &SecretReference<'_>, home: &str) -> String {
        let actions = ["GetSecretValue", "DescribeSecret", "ListSecretVersionIds", "RotateSecret"];
        self.of_secret(&actions, secret, home)
    }

    fn of_secret(&self, actions: &[&str], secret: &SecretReference<'_>, home: &str) -> String {
        let name = if secret.secret.starts_with("arn:") {
            secret.secret.to_owned()
        } else {
            format!("arn:{}:secretsmanager:{home}:{}:secret:{}", self.partition, self.number, secret.secret)
        };
        // AWS ends a secret's ARN with a hyphen and six characters of its own choice.
        let resource = if name.ends_with(PROBE) || (secret.region.is_some() && ends_as_aws_ends(&name)) {
            name.replace(PROBE, "*")
        } else {
            format!("{}-??????", name.replace(PROBE, "*"))
        };
        allow("secretsmanager", actions, &resource)
    }

    /// What reading a parameter needs.
    pub(crate) fn read_parameter(&self, parameter: &ParameterReference<'_>, home: &str) -> String {
        let name = parameter.parameter.replace(PROBE, "*");
        let resource = if parameter.region.is_some() {
            name
        } else {
            let path = name.strip_prefix('/').unwrap_or(&name);
            format!("arn:{}:ssm:{home}:{}:parameter/{path}", self.partition, self.number)
        };
        allow("ssm", &["GetParameter", "GetParameterHistory"], &resource)
    }

    /// What lending sessions of a role needs: of the broker's identity, and of the role's trust policy.
    pub(crate) fn assume(&self, role: &SessionRole) -> String {
        let mut actions = vec!["AssumeRole"];
        if role.principal_tags || !role.tags.is_empty() {
            actions.push("TagSession");
        }
        if role.source_identity {
            actions.push("SetSourceIdentity");
        }
        self.session_of(&role.arn, role.external_id.as_deref(), &actions)
    }

    /// What taking on a role before anything else needs, on both sides.
    pub(crate) fn take_on(&self, role: &AssumedRole) -> String {
        self.session_of(&role.arn, role.external_id.as_deref(), &["AssumeRole"])
    }

    fn session_of(&self, arn: &str, external_id: Option<&str>, actions: &[&str]) -> String {
        let identity = allow("sts", actions, arn);
        let mut trust = json!({
            "Effect": "Allow",
            "Principal": { "AWS": self.principal },
            "Action": named("sts", actions),
        });
        if let (Some(id), Some(statement)) = (external_id, trust.as_object_mut()) {
            statement.insert("Condition".into(), json!({ "StringEquals": { "sts:ExternalId": id } }));
        }
        format!("in the broker's own policy:\n{identity}\nin the trust policy of {arn}:\n{}", pretty(&trust))
    }
}

/// What using a customer's own key needs.
pub(crate) fn decrypt() -> String {
    allow("kms", &["Decrypt"], "<the ARN of the secret's key>")
}

/// What having AWS make passwords needs.
pub(crate) fn make_passwords() -> String {
    allow("secretsmanager", &["GetRandomPassword"], "*")
}

fn ends_as_aws_ends(arn: &str) -> bool {
    arn.rsplit_once('-')
        .is_some_and(|(_, end)| end.len() == 6 && end.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn allow(service: &str, actions: &[&str], resource: &str) -> String {
    pretty(&json!({ "Effect": "Allow", "Action": named(service, actions), "Resource": resource }))
}

fn named(service: &str, actions: &[&str]) -> Vec<String> {
    actions.iter().map(|action| format!("{service}:{action}")).collect()
}

fn pretty(statement: &Value) -> String {
    format!("{statement:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Reference;

    fn account() -> Account {
        Account::of(Some(&Caller {
            arn: "arn:aws:sts::123456789012:assumed-role/broker/i-1".into(),
            account: "123456789012".into(),
        }))
    }

    fn resource(text: &str) -> String {
        let text = text.replace("{rest}", PROBE);
        let statement = match Reference::parse(&text).unwrap() {
            Reference::Secret(secret) => account().read_secret(&secret, "eu-central-1"),
            Reference::Parameter(parameter) => account().read_parameter(&parameter, "eu-central-1"),
        };
        let statement: Value = serde_json::from_str(&statement).unwrap();
        statement.get("Resource").unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn a_statement_names_what_it_allows_and_no_more() {
        let secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:";
        let whole = "arn:aws:secretsmanager:us-east-1:210987654321:secret:a-AbCdEf";
        for (reference, expected) in [
            ("prod/db", format!("{secret}prod/db-??????")),
            ("prod/db-abcdef", format!("{secret}prod/db-abcdef-??????")),
            ("team/{rest}", format!("{secret}team/*")),
            ("team/{rest}/db", format!("{secret}team/*/db-??????")),
            (whole, whole.to_owned()),
            ("ssm:/prod/db:live", "arn:aws:ssm:eu-central-1:123456789012:parameter/prod/db".to_owned()),
            ("ssm:/team/{rest}", "arn:aws:ssm:eu-central-1:123456789012:parameter/team/*".to_owned()),
        ] {
            assert_eq!(resource(reference), expected, "{reference}");
        }
    }

    #[test]
    fn a_role_is_allowed_on_both_sides() {
        let role = SessionRole {
            arn: "arn:aws:iam::210987654321:role/deploy".into(),
            external_id: Some("x-1".into()),
            ..SessionRole::default()
        };
        let said = account().assume(&role);
        for expected in [
            r#""Resource": "arn:aws:iam::210987654321:role/deploy""#,
            r#""AWS": "arn:aws:iam::123456789012:role/broker""#,
            r#""sts:ExternalId": "x-1""#,
            "sts:TagSession",
            "sts:SetSourceIdentity",
        ] {
            assert!(said.contains(expected), "{expected} is not in {said}");
        }
    }
}
