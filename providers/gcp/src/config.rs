//! What the Google Cloud back end is told. Plain data: whoever reads configuration fills it in.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use leasehold_endpoint::Endpoint;
use thiserror::Error;

use crate::{
    reference::{is_location, is_project},
    roles::GcpRole,
};

/// How Google Cloud is reached, as whom, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcpConfig {
    /// The project of secrets whose `ref` names none, by id or number.
    pub project: String,
    /// Other projects that a `ref` may name.
    pub allowed_projects: Vec<String>,
    /// The location of secrets whose `ref` names no project, such as `europe-west3`: they are regional then. Global when absent.
    pub location: Option<String>,
    /// Other locations that a `ref` may name.
    pub allowed_locations: Vec<String>,
    /// Another endpoint of Secret Manager than its own, for global and regional secrets alike.
    pub endpoint_url: Option<String>,
    /// Another endpoint of the IAM credentials service than its own.
    pub iam_endpoint_url: Option<String>,
    /// As whom.
    pub credentials: Credentials,
    /// Whether a payload without a checksum is refused. On unless said; Secret Manager sends one always, emulators do not.
    pub require_checksum: bool,
    /// Whether the broker may write new versions and change old ones. Off unless said.
    pub writable: bool,
    /// How long one call may take.
    pub attempt_timeout: Duration,
    /// How long one call may take with its repetitions, and with signing in.
    pub timeout: Duration,
    /// How often one call is made at most, the first one counted; 1 to 10.
    pub max_attempts: u32,
    /// What credentials are made of, by the roles' names.
    pub roles: BTreeMap<String, GcpRole>,
}

/// As whom Google Cloud is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// What application default credentials find: `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's own file, the metadata server.
    #[default]
    Default,
    /// The service account of the machine or the pod, from its metadata server.
    Metadata,
    /// A file of credentials: a service account's key, or the configuration of a workload identity federation. It is
    /// read anew when it changes.
    File(PathBuf),
    /// A file with one access token, which somebody else renews. It is read anew when it changes.
    TokenFile(PathBuf),
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GcpConfigFault {
    /// Not a project.
    #[error("`{0}` is not a project's id such as `my-project`, or its number")]
    Project(String),
    /// Not a location.
    #[error("`{0}` is not a location such as `europe-west3`")]
    Location(String),
    /// Not `http://` or `https://` with a host, or with more than that.
    #[error("`{0}` is not a URL such as `https://secretmanager-internal.p.googleapis.com`")]
    Endpoint(&'static str),
    /// Plain HTTP to another machine.
    #[error("`{0}` is plain HTTP to another machine: use https")]
    Plaintext(&'static str),
    /// A duration of nothing.
    #[error("`{0}` must be longer than nothing")]
    ZeroTimeout(&'static str),
    /// Outside 1 to 10.
    #[error("`max_attempts` is 1 to 10")]
    MaxAttempts,
    /// A role that cannot be.
    #[error("the role `{0}`: {1}")]
    Role(String, &'static str),
}

impl GcpConfig {
    /// The defaults, for a project.
    pub fn new(project: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            allowed_projects: Vec::new(),
            location: None,
            allowed_locations: Vec::new(),
            endpoint_url: None,
            iam_endpoint_url: None,
            credentials: Credentials::Default,
            require_checksum: true,
            writable: false,
            attempt_timeout: Duration::from_secs(4),
            timeout: Duration::from_secs(9),
            max_attempts: 3,
            roles: BTreeMap::new(),
        }
    }

    /// Everything that is wrong with it, without asking the network.
    pub fn faults(&self) -> Vec<GcpConfigFault> {
        let mut faults = Vec::new();
        for project in std::iter::once(&self.project).chain(&self.allowed_projects) {
            if !is_project(project) {
                faults.push(GcpConfigFault::Project(project.clone()));
            }
        }
        for location in self.location.iter().chain(&self.allowed_locations) {
            if !is_location(location) {
                faults.push(GcpConfigFault::Location(location.clone()));
            }
        }
        for (name, url) in
            [("endpoint_url", &self.endpoint_url), ("iam_endpoint_url", &self.iam_endpoint_url)]
        {
            match url.as_deref().map(Endpoint::of) {
                Some(None) => faults.push(GcpConfigFault::Endpoint(name)),
                Some(Some(endpoint)) if endpoint.exposes() => faults.push(GcpConfigFault::Plaintext(name)),
                Some(Some(_)) | None => {}
            }
        }
        for (name, duration) in [("attempt_timeout", self.attempt_timeout), ("timeout", self.timeout)] {
            if duration.is_zero() {
                faults.push(GcpConfigFault::ZeroTimeout(name));
            }
        }
        if !(1..=10).contains(&self.max_attempts) {
            faults.push(GcpConfigFault::MaxAttempts);
        }
        for (name, role) in &self.roles {
            faults.extend(role.faults().into_iter().map(|fault| GcpConfigFault::Role(name.clone(), fault)));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::Grant;

    #[test]
    fn every_fault_is_said_at_once() {
        let role = GcpRole {
            service_account: "nobody".into(),
            delegates: vec![],
            grant: Grant::IdToken { audience: String::new(), include_email: false },
        };
        let config = GcpConfig {
            allowed_projects: vec!["Other".into(), "123456789".into()],
            location: Some("europe west".into()),
            endpoint_url: Some("nowhere".into()),
            iam_endpoint_url: Some("http://10.0.0.1".into()),
            timeout: Duration::ZERO,
            max_attempts: 0,
            roles: [("r".to_owned(), role)].into(),
            ..GcpConfig::new("a/b")
        };
        let said: Vec<_> = config.faults().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "`a/b` is not a project's id such as `my-project`, or its number",
                "`Other` is not a project's id such as `my-project`, or its number",
                "`europe west` is not a location such as `europe-west3`",
                "`endpoint_url` is not a URL such as `https://secretmanager-internal.p.googleapis.com`",
                "`iam_endpoint_url` is plain HTTP to another machine: use https",
                "`timeout` must be longer than nothing",
                "`max_attempts` is 1 to 10",
                "the role `r`: `service_account` is not a service account's address, NAME@PROJECT.iam.gserviceaccount.com",
                "the role `r`: `audience` is empty: say whom the token is for, such as `https://api.example.com`",
            ]
        );
        assert_eq!(GcpConfig::new("my-project").faults(), []);
    }
}
