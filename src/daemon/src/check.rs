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
    tls::{self, FileRole, Material, TlsErrors},
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
    let places = &config.listen.places;
    let each = |error: &tls::TlsError| {
        let place = match error.role {
            FileRole::Certificate => &places.certificate,
            FileRole::Key => &places.key,
            FileRole::ClientBundle => &places.trust_bundle,
            FileRole::Crl => &places.crl,
        };
        Finding { place: place.to_string(), message: error.to_string() }
    };
    errors.0.iter().map(each).collect()
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

#[cfg(feature = "local")]
#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        config::Source,
        tls::authority::{Authority, Leaf, TestClock, write},
    };

    fn findings(folder: &Path) -> Vec<String> {
        let text = "[listen]\ncertificate = 'c.pem'\nkey = 'k.pem'\ntrust_bundle = 't.pem'\n\
             [seal]\nkey_file = 's.key'\n[ledger]\ndir = 'state'\n[identity]\ntrust_domain = 'example.org'\n";
        let config = Config::parse(&Source::new(folder.join("l.toml"), text), &[]).unwrap();
        let clock: Arc<dyn Clock> = TestClock::new();
        let shown = |finding: Finding| finding.to_string().replace(&format!("{}/", folder.display()), "");
        everything(&config, &clock).into_iter().map(shown).collect()
    }

    #[test]
    fn each_finding_has_its_place_and_a_good_set_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let starts = |expected: &[&str]| {
            let found = findings(path);
            let fits =
                found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.starts_with(e));
            assert!(fits, "{expected:?} is not how these begin: {found:#?}");
        };
        starts(&[
            "l.toml:2:15: certificate c.pem: cannot be read",
            "l.toml:3:7: key k.pem: cannot be read",
            "l.toml:4:16: client bundle t.pem: cannot be read",
            "policies",
            "l.toml:6:12: there is no key ring at s.key",
        ]);

        let authority = Authority::new("ours");
        let issued = authority.issue(&Leaf::server());
        write(path, "c.pem", issued.pem(), 0o644);
        write(path, "k.pem", issued.key_pem(), 0o644);
        write(path, "t.pem", authority.pem(), 0o644);
        std::fs::create_dir(path.join("policies")).unwrap();
        write(path, "policies/a.cedar", "permit (", 0o600);
        KeyRing::create_file(&path.join("s.key"), &leasehold_seal::SystemEntropy).unwrap();
        write(path, "state", "", 0o600);
        starts(&[
            "l.toml:3:7: key k.pem: can be read by others",
            "policies/a.cedar:1:9: ",
            "l.toml:8:7: the state directory state is not a directory",
        ]);

        write(path, "k.pem", issued.key_pem(), 0o600);
        write(path, "policies/a.cedar", "", 0o600);
        std::fs::remove_file(path.join("state")).unwrap();
        starts(&[]);
    }
}
