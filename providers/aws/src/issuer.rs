//! Sessions of AWS's, lent to one holder each. Nothing ends one before its time.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use leasehold_core::{
    SecretBytes, SecretValue,
    ports::Issuer,
    provider::{ErrorClass, IssueCredential, IssuedCredential, ProviderError, Revocation},
    secret::FieldName,
};

use crate::{
    client::{AssumeRole, Cloud, Session, Tokens},
    config::{AwsRole, SessionRole},
    principal,
    provider::AwsProvider,
};

/// The shortest session that STS makes.
pub(crate) const SHORTEST: Duration = Duration::from_secs(15 * 60);
/// The longest session of a role.
pub(crate) const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// The longest session of a role that was taken on from another role's session.
pub(crate) const LONGEST_CHAINED: Duration = Duration::from_secs(3600);

impl AwsProvider {
    pub(crate) fn role(&self, name: &str) -> Result<&AwsRole, ProviderError> {
        self.config.roles.get(name).ok_or_else(|| {
            ProviderError::new(
                ErrorClass::Invalid,
                format!("there is no role `{name}`: configure it as a [[role]]"),
            )
        })
    }

    async fn session(&self, cloud: &Cloud, request: &IssueCredential<'_>) -> Result<Session, ProviderError> {
        let role = self.role(request.role)?;
        let longest = if self.config.assume_role.is_some() { LONGEST_CHAINED } else { LONGEST };
        // STS takes whole seconds; a credential must not end before its lease does.
        let part = u64::from(request.ttl.subsec_nanos() > 0);
        let ttl = Duration::from_secs(request.ttl.as_secs().saturating_add(part)).clamp(SHORTEST, longest);
        match role {
            AwsRole::SessionToken => cloud.tokens().session_token(request.role, ttl).await,
            AwsRole::AssumeRole(role) => {
                let session_name = principal::session_name(request.lease);
                let mut tags = Vec::new();
                if role.principal_tags {
                    tags.extend(principal::tags(request.holder, request.lease));
                }
                let identity = role.source_identity.then(|| principal::source_identity(request.holder));
                assume(cloud.tokens(), request.role, role, &session_name, ttl, tags, identity).await
            }
        }
    }
}

/// A session of a role, made as the role says, for whom the rest says.
pub(crate) async fn assume(
    tokens: &Tokens,
    name: &str,
    role: &SessionRole,
    session_name: &str,
    ttl: Duration,
    own_tags: Vec<(&'static str, String)>,
    source_identity: Option<String>,
) -> Result<Session, ProviderError> {
    let tags = role.tags.iter().map(|(key, value)| (&**key, value.clone()));
    let request = AssumeRole {
        arn: &role.arn,
        subject: name,
        session_name,
        duration: Some(ttl),
        external_id: role.external_id.as_deref(),
        policy: role.session_policy.as_deref(),
        policy_arns: &role.policy_arns,
        tags: tags.chain(own_tags).collect(),
        transitive: &role.transitive,
        source_identity,
    };
    tokens.assume_role(request).await
}

#[async_trait]
impl Issuer for AwsProvider {
    async fn issue(&self, request: IssueCredential<'_>) -> Result<IssuedCredential, ProviderError> {
        let asked = async {
            let cloud = self.cloud().await?;
            self.noted(&cloud, self.session(&cloud, &request).await).await
        };
        let session = self.in_time(request.role, asked).await?;
        let odd = || ProviderError::new(ErrorClass::Permanent, "AWS answered with an odd access key id");
        let version = session.access_key_id.parse().map_err(|_| odd())?;
        let end = session.expires_at;
        let fields: [(&str, SecretBytes); 4] = [
            ("access_key_id", session.access_key_id.into()),
            ("secret_access_key", session.secret_access_key),
            ("session_token", session.session_token),
            ("expiration", end.to_string().into()),
        ];
        let named =
            fields.into_iter().filter_map(|(name, bytes)| Some((name.parse::<FieldName>().ok()?, bytes)));
        Ok(IssuedCredential {
            value: SecretValue {
                fields: named.collect::<BTreeMap<_, _>>(),
                content_type: SecretValue::TEXT.into(),
            },
            version,
            revocation: Revocation::NoneUntil(end),
            expires_at: Some(end),
        })
    }
}
