//! Whether Google Cloud lets the broker do what the configuration will ask of it, for people to read.

use std::time::Duration;

use leasehold_core::provider::{Demand, ErrorClass, Finding, ProviderError};

use crate::{
    error::{Cause, Failure, apart, sign_in_words},
    provider::GcpProvider,
    reference::{LATEST, Reference, Secret},
    roles::{GcpRole, Grant, HOUR},
};

const REST: &str = "{rest}";

/// How long a token lives that is made only to be dropped.
const SHORT: Duration = Duration::from_secs(60);

/// Longer than what every organisation allows.
const LONGER: Duration = Duration::from_secs(3_601);

/// What writing asks of a secret.
const WRITING: [&str; 6] = [
    "secretmanager.versions.access",
    "secretmanager.versions.add",
    "secretmanager.versions.destroy",
    "secretmanager.versions.disable",
    "secretmanager.versions.enable",
    "secretmanager.versions.get",
];

impl GcpProvider {
    pub(crate) async fn check_all(&self, demands: &[Demand]) -> Vec<Finding> {
        let signed_in = self.check_sign_in().await;
        let failed = signed_in.is_failed();
        let mut findings = vec![signed_in];
        for demand in demands {
            findings.push(if failed {
                Finding::not_tried(step_of(demand), "the broker cannot sign in")
            } else {
                self.check_demand(demand).await
            });
        }
        findings
    }

    async fn check_sign_in(&self) -> Finding {
        let step = "sign in";
        match self.account().sign().await {
            Ok(_) => {
                let standing = self.account().standing();
                let who = self.account().member().map(|member| format!("as {member}"));
                let end = standing.expires_at.map(|end| format!("until {end}"));
                match standing.problem {
                    None => Finding::passed(step, who.into_iter().chain(end).collect::<Vec<_>>().join(", ")),
                    Some(problem) => Finding::failed(
                        step,
                        format!("the credentials of before still work, and the new ones do not: {problem}"),
                        "put the file right: it is read again by itself",
                    ),
                }
            }
            Err(error) => {
                let problem =
                    self.account().standing().problem.unwrap_or_else(|| sign_in_words(&error.to_string()));
                Finding::failed(step, problem, SIGN_IN)
            }
        }
    }

    async fn check_demand(&self, demand: &Demand) -> Finding {
        let step = step_of(demand);
        match demand {
            Demand::Read { reference } if reference.contains(REST) => self.check_mount(step, reference),
            Demand::Read { reference } => self.check_read(step, reference).await,
            Demand::Write { reference } if reference.contains(REST) => {
                Finding::not_tried(step, "what a mount's secrets are called is known when they are written")
            }
            Demand::Write { reference } => self.check_write(step, reference).await,
            Demand::Rotate { reference } => Finding::not_native(reference),
            Demand::Generate { policy } => Finding::no_rules(policy),
            Demand::Issue { role } => self.check_issue(step, role).await,
        }
    }

    async fn check_read(&self, step: String, reference: &str) -> Finding {
        let (secret, version) = match self.locate(reference) {
            Ok(located) => located,
            Err(error) => return Finding::failed(step, error.to_string(), REFERENCE),
        };
        match self.client().access(&secret, version).await {
            Ok(payload) => Finding::passed(step, format!("version {}", payload.number)),
            Err(failure) => self.explain(step, &failure, |member| grant_reading(&secret, member)),
        }
    }

    /// Nothing can be asked of secrets whose names are not known.
    fn check_mount(&self, step: String, reference: &str) -> Finding {
        let filled = reference.replace(REST, "");
        let filled = if filled.ends_with('/') || filled.is_empty() { format!("{filled}x") } else { filled };
        let (secret, _) = match self.locate(&filled) {
            Ok(located) => located,
            Err(error) => return Finding::failed(step, error.to_string(), REFERENCE),
        };
        let prefix = reference.split(REST).next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let location = secret.location.map(|location| format!("locations/{location}/")).unwrap_or_default();
        let condition = if prefix.is_empty() {
            "None".to_owned()
        } else {
            format!(
                "title=leasehold,expression=resource.name.startsWith(\"projects/PROJECT_NUMBER/{location}secrets/{prefix}\")"
            )
        };
        Finding::not_tried(
            step,
            format!(
                "which secrets are there is not asked. This line allows all of them: gcloud projects add-iam-policy-binding {} --member='{}' --role=roles/secretmanager.secretAccessor --condition='{condition}'",
                secret.project,
                self.member()
            ),
        )
    }

    async fn check_write(&self, step: String, reference: &str) -> Finding {
        if !self.config().writable {
            let problem = "the provider is not `writable`";
            return Finding::failed(step, problem, "say `writable = true` in its `[[provider]]`");
        }
        let secret = match self.locate(reference) {
            Ok((secret, LATEST)) => secret,
            Ok(_) => {
                return Finding::not_tried(
                    step,
                    "its `ref` names a version with `@`, so nothing is written there",
                );
            }
            Err(error) => return Finding::failed(step, error.to_string(), REFERENCE),
        };
        match self.client().permitted(&secret, &WRITING).await {
            Err(failure) => self.explain(step, &failure, |member| grant_writing(&secret, member)),
            Ok(has) => {
                let missing: Vec<_> =
                    WRITING.into_iter().filter(|asked| !has.iter().any(|has| has == asked)).collect();
                if missing.is_empty() {
                    return Finding::passed(step, "");
                }
                // Of a secret that is not there, nothing is permitted either.
                let problem = format!("the broker lacks {}, or there is no such secret", missing.join(", "));
                Finding::failed(step, problem, "grant it, or create the secret")
                    .granted_by(grant_writing(&secret, &self.member()))
            }
        }
    }

    /// A token is made and dropped: nothing else shows that delegates, scopes and the service are as they must be.
    async fn check_issue(&self, step: String, name: &str) -> Finding {
        let role = match self.role(name) {
            Ok(role) => role,
            Err(error) => return Finding::failed(step, error.to_string(), "write the `[[role]]`"),
        };
        let made = match role.grant {
            Grant::AccessToken { lifetime_extension: true, .. } => {
                self.client().access_token(name, role, LONGER).await
            }
            Grant::AccessToken { .. } => self.client().access_token(name, role, SHORT).await,
            Grant::IdToken { .. } => self.client().id_token(name, role).await,
        };
        match made {
            Ok(_) => Finding::passed(step, format!("for {}", role.service_account)),
            Err(failure) if failure.error.class == ErrorClass::Invalid && role.longest() > HOUR => {
                Finding::failed(
                    step,
                    "Google Cloud makes no token of more than an hour for this service account",
                    "leave `lifetime_extension` out, or let the organisation allow it: constraints/iam.allowServiceAccountCredentialLifetimeExtension",
                )
            }
            Err(failure) => self.explain(step, &failure, |member| grant_issuing(role, member)),
        }
    }

    fn explain(&self, step: String, failure: &Failure, grant: impl FnOnce(&str) -> String) -> Finding {
        let problem = failure.error.to_string();
        let remedy = match failure.cause {
            Cause::Denied => {
                return Finding::failed(step, problem, "grant it").granted_by(grant(&self.member()));
            }
            Cause::SignIn => SIGN_IN.to_owned(),
            Cause::Unauthenticated { ahead: Some(ahead) } => {
                format!("set this machine's clock, which is {} Google's", apart(ahead))
            }
            Cause::Unauthenticated { ahead: None } => {
                "look whether the key or the token was deleted or has ended".to_owned()
            }
            Cause::Scopes => {
                "give the machine's service account the scope https://www.googleapis.com/auth/cloud-platform"
                    .to_owned()
            }
            Cause::Perimeter => "let the perimeter's ingress rules name the broker".to_owned(),
            Cause::Disabled => {
                "enable the API and billing: `gcloud services enable secretmanager.googleapis.com iamcredentials.googleapis.com`"
                    .to_owned()
            }
            Cause::Project => "put `project` right, by its id or number".to_owned(),
            Cause::Untrusted => {
                "trust the authority of the endpoint's certificate on this machine, or put `endpoint_url` right".to_owned()
            }
            Cause::Unreachable => {
                "look at the network, at `endpoint_url` and at `location` (a wrong one has no endpoint)".to_owned()
            }
            Cause::Precondition => "enable the version, or add a new one".to_owned(),
            Cause::Other => match failure.error.class {
                ErrorClass::Absent => "create the secret and its first version, or put `ref`, `project` and `location` right".to_owned(),
                ErrorClass::Throttled => "raise the project's quota, or `max_age` of its secrets".to_owned(),
                ErrorClass::Transient => "try again".to_owned(),
                _ => "see docs/providers/gcp.md".to_owned(),
            },
        };
        Finding::failed(step, problem, remedy)
    }

    fn locate<'a>(&'a self, reference: &'a str) -> Result<(Secret<'a>, &'a str), ProviderError> {
        let reference = Reference::parse(reference)?;
        Ok((reference.resolve(self.config())?, reference.version.unwrap_or(LATEST)))
    }

    fn member(&self) -> String {
        self.account().member().unwrap_or_else(|| "serviceAccount:THE_BROKERS_OWN".to_owned())
    }
}

const REFERENCE: &str = "put `ref` right, or allow its project and location in the `[[provider]]`";
const SIGN_IN: &str = "see docs/providers/gcp.md, Signing in";

fn step_of(demand: &Demand) -> String {
    match demand {
        Demand::Read { reference } => format!("read `{reference}`"),
        Demand::Write { reference } => format!("write `{reference}`"),
        Demand::Rotate { reference } => format!("rotate `{reference}`"),
        Demand::Generate { policy } => format!("make a value by `{policy}`"),
        Demand::Issue { role } => format!("make a token of the role `{role}`"),
    }
}

fn binding(secret: &Secret<'_>, member: &str, role: &str) -> String {
    let location = secret.location.map(|location| format!(" --location={location}")).unwrap_or_default();
    format!(
        "gcloud secrets add-iam-policy-binding {} --project={}{location} --member='{member}' --role={role}",
        secret.id, secret.project
    )
}

fn grant_reading(secret: &Secret<'_>, member: &str) -> String {
    binding(secret, member, "roles/secretmanager.secretAccessor")
}

fn grant_writing(secret: &Secret<'_>, member: &str) -> String {
    let roles = ["roles/secretmanager.secretAccessor", "roles/secretmanager.secretVersionManager"];
    roles.map(|role| binding(secret, member, role)).join("\n")
}

fn grant_issuing(role: &GcpRole, member: &str) -> String {
    let name = match role.grant {
        Grant::AccessToken { .. } => "roles/iam.serviceAccountTokenCreator",
        Grant::IdToken { .. } => "roles/iam.serviceAccountOpenIdTokenCreator",
    };
    // With delegates, each may only the next: the chain is granted from its beginning to its end.
    let mut lines = Vec::new();
    let mut member = member.to_owned();
    for account in &role.delegates {
        lines.push(format!(
            "gcloud iam service-accounts add-iam-policy-binding {account} --member='{member}' --role=roles/iam.serviceAccountTokenCreator"
        ));
        member = format!("serviceAccount:{account}");
    }
    lines.push(format!(
        "gcloud iam service-accounts add-iam-policy-binding {} --member='{member}' --role={name}",
        role.service_account
    ));
    lines.join("\n")
}
