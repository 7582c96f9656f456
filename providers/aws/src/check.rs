//! Whether AWS lets the broker do what the configuration will ask, in words for people. Nothing is changed: a session of
//! a role is made, for its shortest time, and thrown away.

use std::sync::Arc;

use leasehold_core::provider::{Demand, ErrorClass, Finding, ProviderError};

use crate::{
    client::{Caller, Cloud, Which},
    config::AwsRole,
    error::Trouble,
    grant::{Account, PROBE, decrypt, make_passwords},
    issuer::{SHORTEST, assume},
    provider::AwsProvider,
    reference::{ParameterReference, Reference, SecretReference},
    rotation::password_rule,
};

/// A step that was tried.
struct Tried {
    finding: Finding,
    /// Whether the service was not to be reached, so that there is no use in asking it for more.
    away: bool,
}

impl Tried {
    fn failed(step: String, error: &ProviderError) -> Self {
        Self { finding: failed(step, error), away: is_away(error) }
    }
}

impl From<Finding> for Tried {
    fn from(finding: Finding) -> Self {
        Self { finding, away: false }
    }
}

/// What a session that is only tried is called, and who is said to be behind it.
const TRIED: &str = "leasehold-check";

impl AwsProvider {
    pub(crate) async fn findings(&self, demands: &[Demand]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let not_tried =
            |why: &str| demands.iter().map(|demand| Finding::not_tried(step(demand), why)).collect();
        let cloud = match self.cloud().await {
            Ok(cloud) => cloud,
            Err(error) => {
                findings.push(failed("find the region and credentials".to_owned(), &error));
                findings.extend::<Vec<_>>(not_tried("there is no region"));
                return findings;
            }
        };
        let answer = cloud.tokens().caller().await;
        let caller = match self.noted(&cloud, answer).await {
            Ok(caller) => {
                let note = format!("as {} in {}", caller.arn, cloud.home());
                findings.push(Finding::passed("sign in", note));
                Some(caller)
            }
            Err(error) if self.does_without_tokens(demands) && is_away(&error) => {
                let why = format!("{error}; only sessions and `assume_role_arn` need this service");
                findings.push(Finding::not_tried("sign in", why));
                None
            }
            Err(error) => {
                let finding = failed("sign in".to_owned(), &error);
                findings.push(match &self.config.assume_role {
                    Some(own) if Trouble::of(&error) == Some(Trouble::Denied) => {
                        finding.granted_by(Account::of(None).take_on(own))
                    }
                    _ => finding,
                });
                findings.extend::<Vec<_>>(not_tried("AWS does not know the broker"));
                return findings;
            }
        };
        let mut away = None;
        for demand in demands {
            let finding = match &away {
                Some(service) if *service == service_of(demand) => {
                    Finding::not_tried(step(demand), "the service could not be reached")
                }
                _ => {
                    let tried = self.tried(&cloud, caller.as_ref(), demand).await;
                    away = tried.away.then(|| service_of(demand)).or(away);
                    tried.finding
                }
            };
            findings.push(finding);
        }
        if let Some(off) = cloud.skew().worth_saying() {
            let problem = format!("this machine's clock is {off}");
            findings.push(Finding::failed("compare the clocks", problem, Trouble::Clock.to_string()));
        }
        findings
    }

    fn does_without_tokens(&self, demands: &[Demand]) -> bool {
        self.config.assume_role.is_none()
            && !demands.iter().any(|demand| matches!(demand, Demand::Issue { .. }))
    }

    async fn tried(&self, cloud: &Arc<Cloud>, caller: Option<&Caller>, demand: &Demand) -> Tried {
        let (account, step) = (Account::of(caller), step(demand));
        match demand {
            Demand::Read { reference } | Demand::Write { reference } => {
                let tree = reference.contains("{rest}");
                let name = reference.replace("{rest}", PROBE);
                let writes = matches!(demand, Demand::Write { .. });
                match Reference::parse(&name) {
                    Err(error) => Tried::failed(step, &error),
                    Ok(Reference::Parameter(_)) if writes => read_only(step).into(),
                    Ok(Reference::Parameter(parameter)) => {
                        let grant = account.read_parameter(&parameter, cloud.home());
                        let answer = self.try_parameter(cloud, &parameter).await;
                        judged(step, self.noted(cloud, answer).await, tree, grant)
                    }
                    Ok(Reference::Secret(secret)) if writes => {
                        let grant = account.write_secret(&secret, cloud.home());
                        let answer = self.try_describing(cloud, &secret).await;
                        self.judge_write(step, self.noted(cloud, answer).await, tree, grant)
                    }
                    Ok(Reference::Secret(secret)) => {
                        let grant = account.read_secret(&secret, cloud.home());
                        let answer = self.try_secret(cloud, &secret).await;
                        judged(step, self.noted(cloud, answer).await, tree, grant)
                    }
                }
            }
            Demand::Rotate { reference } => {
                let name = reference.replace("{rest}", PROBE);
                match Reference::parse_secret(&name) {
                    Err(error) => Tried::failed(step, &error),
                    Ok(secret) => {
                        let grant = account.rotate_secret(&secret, cloud.home());
                        let answer = self.try_rotating(cloud, &secret).await;
                        let tree = reference.contains("{rest}");
                        self.judge_rotation(step, self.noted(cloud, answer).await, tree, grant)
                    }
                }
            }
            Demand::Generate { policy } => self.try_password(cloud, step, policy).await,
            Demand::Issue { role } => self.try_role(cloud, &account, step, role).await,
        }
    }

    /// Reads, and lists as an operator would.
    async fn try_secret(&self, cloud: &Cloud, secret: &SecretReference<'_>) -> Result<(), ProviderError> {
        let secrets = cloud.secrets(secret.region)?;
        secrets.read(secret.secret, Which::Stage(secret.stage)).await?;
        secrets.describe(secret.secret).await?;
        secrets.versions(secret.secret).await.map(drop)
    }

    async fn try_parameter(
        &self,
        cloud: &Cloud,
        parameter: &ParameterReference<'_>,
    ) -> Result<(), ProviderError> {
        let parameters = cloud.parameters(parameter.region)?;
        parameters.read(&parameter.named(None)).await?;
        parameters.versions(parameter.parameter).await.map(drop)
    }

    /// The service that owns a secret, or nothing.
    async fn try_describing(
        &self,
        cloud: &Cloud,
        secret: &SecretReference<'_>,
    ) -> Result<Option<String>, ProviderError> {
        let described = cloud.secrets(secret.region)?.describe(secret.secret).await?;
        match described.deleted_at {
            Some(when) => Err(ProviderError::new(
                ErrorClass::Absent,
                format!("`{}` was scheduled for deletion at {when}", secret.secret),
            )),
            None => Ok(described.owner),
        }
    }

    /// A write cannot be tried without making one.
    fn judge_write(
        &self,
        step: String,
        answer: Result<Option<String>, ProviderError>,
        tree: bool,
        grant: String,
    ) -> Tried {
        if !self.config.writable {
            let problem = "the provider is configured to be read only";
            return Finding::failed(step, problem, "set `writable = true` in its [[provider]]").into();
        }
        match answer {
            Ok(Some(owner)) => Finding::failed(
                step,
                format!("the secret belongs to the AWS service `{owner}`, which alone may write it"),
                "let that service rotate it, and lend it from here",
            )
            .into(),
            Err(error) if !(tree && error.class == ErrorClass::Absent) => {
                judged(step, Err(error), tree, grant)
            }
            _ => Finding::not_tried(
                step,
                format!("only a write could tell whether it is allowed; it needs this statement:\n{grant}"),
            )
            .into(),
        }
    }

    /// Whether AWS knows how to rotate a secret.
    async fn try_rotating(&self, cloud: &Cloud, secret: &SecretReference<'_>) -> Result<bool, ProviderError> {
        let secrets = cloud.secrets(secret.region)?;
        secrets.versions(secret.secret).await?;
        secrets.describe(secret.secret).await.map(|described| described.rotates)
    }

    /// A rotation cannot be tried without starting one.
    fn judge_rotation(
        &self,
        step: String,
        answer: Result<bool, ProviderError>,
        tree: bool,
        grant: String,
    ) -> Tried {
        if !self.config.writable {
            let problem = "the provider is configured to be read only";
            return Finding::failed(step, problem, "set `writable = true` in its [[provider]]").into();
        }
        match answer {
            Ok(false) => Finding::failed(
                step,
                "AWS has no rotation for this secret",
                "configure its rotation function in AWS, or choose another `strategy`",
            )
            .into(),
            Err(error) if !(tree && error.class == ErrorClass::Absent) => {
                judged(step, Err(error), tree, grant)
            }
            _ => Finding::not_tried(
                step,
                format!(
                    "only a rotation could tell whether it is allowed; it needs this statement:\n{grant}"
                ),
            )
            .into(),
        }
    }

    /// A password that is thrown away harms nobody.
    async fn try_password(&self, cloud: &Arc<Cloud>, step: String, policy: &str) -> Tried {
        let answer = match (password_rule(policy), cloud.secrets(None)) {
            (Ok(rule), Ok(secrets)) => secrets.password(&rule).await,
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        match self.noted(cloud, answer).await {
            Ok(_) => Finding::passed(step, "").into(),
            Err(error) => {
                let Tried { finding, away } = Tried::failed(step, &error);
                let denied = Trouble::of(&error) == Some(Trouble::Denied);
                let finding = if denied { finding.granted_by(make_passwords()) } else { finding };
                Tried { finding, away }
            }
        }
    }

    async fn try_role(&self, cloud: &Arc<Cloud>, account: &Account, step: String, name: &str) -> Tried {
        let (answer, grant) = match self.role(name) {
            Err(error) => return Tried::failed(step, &error),
            Ok(AwsRole::SessionToken) => (cloud.tokens().session_token(name, SHORTEST).await, None),
            Ok(AwsRole::AssumeRole(role)) => {
                let identity = role.source_identity.then(|| TRIED.to_owned());
                let mut tags = Vec::new();
                if role.principal_tags {
                    tags.push(("leasehold-principal", TRIED.to_owned()));
                }
                let answer = assume(cloud.tokens(), name, role, TRIED, SHORTEST, tags, identity).await;
                (answer, Some(account.assume(role)))
            }
        };
        match (self.noted(cloud, answer).await, grant) {
            (Ok(session), grant) => {
                let end = session.expires_at;
                let chained = match account.is_of_a_role() && grant.is_some() {
                    true => "; as the broker itself has a role's session, none lives longer than an hour",
                    false => "",
                };
                let note = format!("nothing ends a session early, and this one works until {end}{chained}");
                Finding::passed(step, note).into()
            }
            (Err(error), Some(grant)) if error.class == ErrorClass::Denied => {
                let problem = error.to_string();
                let remedy = "allow it in the broker's policy, and in the role's trust policy; where the trust policy \
                              cannot be changed, set `source_identity` and `principal_tags` to false";
                Finding::failed(step, problem, remedy).granted_by(grant).into()
            }
            (Err(error), None) if error.class == ErrorClass::Denied => {
                let remedy =
                    "sign in with the fixed key of an IAM user: AWS gives no session token to a session";
                Finding::failed(step, error.to_string(), remedy).into()
            }
            (Err(error), _) => Tried::failed(step, &error),
        }
    }
}

fn step(demand: &Demand) -> String {
    match demand {
        Demand::Read { reference } => format!("read `{reference}`"),
        Demand::Write { reference } => format!("write `{reference}`"),
        Demand::Rotate { reference } => format!("rotate `{reference}`"),
        Demand::Generate { policy } => format!("make a value by `{policy}`"),
        Demand::Issue { role } => format!("lend sessions of the role `{role}`"),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Secrets,
    Parameters,
    Tokens,
}

fn service_of(demand: &Demand) -> Asked {
    match demand {
        Demand::Issue { .. } => Asked::Tokens,
        Demand::Read { reference } | Demand::Write { reference } if reference.starts_with("ssm:") => {
            Asked::Parameters
        }
        Demand::Read { .. } | Demand::Write { .. } | Demand::Rotate { .. } | Demand::Generate { .. } => {
            Asked::Secrets
        }
    }
}

/// What a read came to. In a tree, that nothing is there by a name that nobody uses shows that it may be read.
fn judged(step: String, answer: Result<(), ProviderError>, tree: bool, grant: String) -> Tried {
    match answer {
        Ok(()) => Finding::passed(step, "").into(),
        Err(error) if tree && error.class == ErrorClass::Absent => {
            Finding::passed(step, "it may be read; which secrets are there is not looked at").into()
        }
        Err(error) => {
            let Tried { finding, away } = Tried::failed(step, &error);
            let finding = match Trouble::of(&error) {
                Some(Trouble::Denied) => finding.granted_by(grant),
                Some(Trouble::Key) => finding.granted_by(decrypt()),
                _ => finding,
            };
            Tried { finding, away }
        }
    }
}

fn read_only(step: String) -> Finding {
    Finding::not_tried(step, "parameters of the Parameter Store are only read, whatever `writable` says")
}

fn failed(step: String, error: &ProviderError) -> Finding {
    let remedy = match (Trouble::of(error), error.class) {
        (Some(trouble), _) => trouble.to_string(),
        (None, ErrorClass::Absent) => {
            "make it in AWS, or correct the `ref`, the region, or the stage: the broker makes no secrets"
                .to_owned()
        }
        (None, ErrorClass::Invalid) => "correct the `ref` or the role".to_owned(),
        (None, ErrorClass::Throttled | ErrorClass::Transient) => "try again".to_owned(),
        (None, _) => "see docs/providers/aws.md".to_owned(),
    };
    Finding::failed(step, error.to_string(), remedy)
}

/// Whether asking again would wait in vain again.
fn is_away(error: &ProviderError) -> bool {
    matches!(Trouble::of(error), Some(Trouble::Unreachable | Trouble::NoHost | Trouble::Untrusted))
}
