//! `leaseholdd check-config`: the configuration, and everything that it names, without changing anything.
//!
//! What is checked here is loaded in the same way by the running broker, at its start and at each reload.

use std::{fmt, sync::Arc};

use leasehold_core::ports::Clock;
use leasehold_policy::{Policies, PolicyErrors, PolicySettings};
use leasehold_seal::KeyRing;

use crate::{
    config::Config,
    providers::with_causes,
    state_dir::{StateDir, StateDirError},
    tls::{self, Material, TlsErrors},
};

/// One thing that is wrong with what the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: a place in a policy, else the section of the configuration that names the thing.
    pub place: String,
    /// What, with the way out.
    pub message: String,
}

/// What can be replaced while the broker runs: read and judged, but not in force yet.
pub struct Fresh {
    /// Certificates, trust bundle and lists.
    pub tls: Material,
    /// Who may do what.
    pub policies: Policies,
}

/// Reads what can be replaced while the broker runs.
///
/// # Errors
/// Every finding in all of it.
pub fn read_fresh(config: &Config, clock: &Arc<dyn Clock>) -> Result<Fresh, Vec<Finding>> {
    let tls = Material::load(&tls_settings(config), &config.identity.trust_domain, clock);
    let policies = Policies::load(&config.policy.dir, policy_settings(config));
    match (tls, policies) {
        (Ok(tls), Ok(policies)) => Ok(Fresh { tls, policies }),
        (tls, policies) => {
            let mut findings = tls.err().map_or_else(Vec::new, |errors| of_tls(&errors, config));
            findings.extend(policies.err().map_or_else(Vec::new, |errors| of_policies(&errors, config)));
            Err(findings)
        }
    }
}

/// Everything that would keep the broker from starting, as far as it can be seen from outside.
pub fn everything(config: &Config, clock: &Arc<dyn Clock>) -> Vec<Finding> {
    let mut findings = read_fresh(config, clock).err().unwrap_or_default();
    if let Err(error) = KeyRing::load(&config.seal.key_file) {
        findings.push(Finding { place: config.seal.place.to_string(), message: with_causes(&error) });
    }
    match StateDir::check(&config.ledger.dir) {
        // Before the first start there is none, and that is no fault of the configuration.
        Ok(()) | Err(StateDirError::Missing(_)) => {}
        Err(error) => {
            findings.push(Finding { place: config.ledger.place.to_string(), message: with_causes(&error) });
        }
    }
    findings
}

/// What TLS is told.
pub fn tls_settings(config: &Config) -> tls::Settings {
    let listen = &config.listen;
    tls::Settings {
        crls: listen.crls.clone(),
        allow_tls12: listen.min_tls == crate::config::listen::MinTls::V12,
        accept_stale_crls: listen.accept_stale_crl,
        require_crl: listen.require_crl,
        ..tls::Settings::new(&listen.certificate, &listen.key, &listen.trust_bundle)
    }
}

/// What policy is told of identities.
pub fn policy_settings(config: &Config) -> PolicySettings {
    let identity = config.identity.clone();
    PolicySettings {
        trust_domain: identity.trust_domain,
        operators: identity.operators,
        environments: identity.environments,
        groups: identity.groups,
    }
}

fn of_tls(errors: &TlsErrors, config: &Config) -> Vec<Finding> {
    let place = config.listen.place.to_string();
    errors.0.iter().map(|error| Finding { place: place.clone(), message: error.to_string() }).collect()
}

fn of_policies(errors: &PolicyErrors, config: &Config) -> Vec<Finding> {
    let each = |fault: &leasehold_policy::Fault| {
        let place = match (&fault.file, fault.line) {
            (Some(file), 0) => file.to_string(),
            (Some(file), line) => format!("{file}:{line}:{}", fault.column),
            (None, _) => config.policy.place.to_string(),
        };
        Finding { place, message: fault.message.clone() }
    };
    errors.faults().iter().map(each).collect()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}
