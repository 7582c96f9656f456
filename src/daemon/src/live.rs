//! `leaseholdd check-config --live`: signs in at every back end of the configuration and tries what the catalog will ask
//! of it, without changing anything there and without a running broker.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use leasehold_core::{
    catalog::Catalog,
    ports::{Clock, Provider as Port},
    provider::{Finding, ProviderName, Verdict},
};
use leasehold_seal::{KeyRing, SystemEntropy};
use tokio::time::timeout;

use crate::{
    config::{Config, provider::Provider},
    own_secrets::OwnSecrets,
    providers::{self, Means, Unopened},
    start_error::StartError,
};

/// What came of trying one back end.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The back end.
    pub name: ProviderName,
    /// Each step, in the order in which they were tried.
    pub findings: Vec<Finding>,
}

/// A back end that has not come to an end by then is told as one that hangs.
const LONGEST: Duration = Duration::from_secs(60);

/// Tries every back end, all at once. Within a runtime; opening them blocks.
///
/// # Errors
/// When the seal key cannot be read, which back ends of the broker's own need.
pub async fn try_all(config: &Config, clock: Arc<dyn Clock>) -> Result<Vec<Tried>, StartError> {
    let keys = Arc::new(KeyRing::load(&config.seal.key_file)?);
    let secrets = Arc::new(OwnSecrets::default());
    let entropy = Arc::new(SystemEntropy);
    // Nothing is made, so nothing needs the broker's name.
    let (lease_clock, broker, own) = (clock.clone(), "".into(), secrets.clone());
    let means = Means { keys, clock, lease_clock, entropy, broker, secrets: own };
    let opened: Vec<_> =
        config.providers.iter().map(|provider| (provider, providers::try_out(provider, &means))).collect();
    // Before any of them signs in, which may take a secret of another one.
    let port = |(provider, port): &(&Provider, Result<Arc<dyn Port>, Unopened>)| {
        Some((provider.name.clone(), port.as_ref().ok()?.clone()))
    };
    let ports = opened.iter().filter_map(port).collect();
    secrets.read_from(config.catalog.clone(), &ports);
    Ok(join_all(opened.into_iter().map(|(provider, port)| try_one(provider, &config.catalog, port))).await)
}

async fn try_one(provider: &Provider, catalog: &Catalog, opened: Result<Arc<dyn Port>, Unopened>) -> Tried {
    let findings = match opened {
        Ok(port) => {
            let demands = catalog.demands(&provider.name, &port.capabilities());
            timeout(LONGEST, port.check(&demands)).await.unwrap_or_else(|_| {
                let problem = format!("it did not come to an end within {LONGEST:?}");
                vec![Finding::failed("check", problem, "look whether this machine reaches the back end")]
            })
        }
        Err(Unopened::InUse) => {
            let why = format!(
                "a broker has it open: ask that one, with `leasehold provider check {}`",
                provider.name
            );
            vec![Finding::not_tried("open", why)]
        }
        Err(Unopened::Fault(fault)) => {
            let remedy = format!("mend `[[provider]]` at {}, or what it names", provider.place);
            vec![Finding::failed("open", fault.reason, remedy)]
        }
    };
    Tried { name: provider.name.clone(), findings }
}

impl Tried {
    /// Whether any step failed.
    pub fn has_failed(&self) -> bool {
        self.findings.iter().any(Finding::is_failed)
    }

    /// What a person reads: a line for each step, and below one that failed the way out, with the lines of policy as
    /// they can be copied.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for finding in &self.findings {
            let head = format!("{}: {}", self.name, finding.step);
            match &finding.verdict {
                Verdict::Passed(note) if note.is_empty() => lines.push(format!("{head}: ok")),
                Verdict::Passed(note) => lines.push(format!("{head}: ok ({note})")),
                Verdict::NotTried(why) => lines.push(format!("{head}: not tried: {why}")),
                Verdict::Failed { problem, remedy, grant } => {
                    lines.push(format!("{head}: FAILED: {problem}"));
                    if !remedy.is_empty() {
                        lines.push(format!("    {remedy}"));
                    }
                    lines.extend(grant.iter().flat_map(|grant| grant.lines()).map(str::to_owned));
                }
            }
        }
        lines
    }
}

#[cfg(feature = "local")]
#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{config::Source, tls::authority::TestClock};

    fn config(folder: &Path) -> Config {
        let text = "[listen]\ncertificate = 'c'\nkey = 'k'\ntrust_bundle = 't'\n\
             [seal]\nkey_file = 's.key'\n[ledger]\ndir = 'state'\n[identity]\ntrust_domain = 'example.org'\n\
             [[provider]]\nname = 'main'\nkind = 'local'\n\
             [[secret]]\npath = 'prod/db'\nprovider = 'main'\nref = 'db'\n";
        Config::parse(&Source::new(folder.join("l.toml"), text), &[]).unwrap()
    }

    #[tokio::test]
    async fn each_back_end_is_tried_for_what_the_catalog_asks() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        assert!(try_all(&config, TestClock::new()).await.is_err(), "there is no key");
        let keys = KeyRing::create_file(&folder.path().join("s.key"), &SystemEntropy);
        keys.unwrap();
        let tried = try_all(&config, TestClock::new()).await.unwrap();
        assert_eq!(tried.len(), 1);
        assert!(!tried[0].has_failed(), "{tried:?}");
        assert!(tried[0].lines().iter().all(|line| line.starts_with("main: ")), "{tried:?}");

        // While somebody has it open, as a broker has.
        let means = Means {
            keys: Arc::new(KeyRing::load(&folder.path().join("s.key")).unwrap()),
            clock: TestClock::new(),
            lease_clock: TestClock::new(),
            entropy: Arc::new(SystemEntropy),
            broker: "".into(),
            secrets: Arc::default(),
        };
        let held = providers::open(&config.providers, &means).unwrap();
        let tried = try_all(&config, TestClock::new()).await.unwrap();
        assert!(matches!(tried[0].findings[0].verdict, Verdict::NotTried(_)), "{tried:?}");
        drop(held);
    }

    #[test]
    fn a_failure_is_told_with_its_way_out() {
        let denied = Finding::failed("read `db`", "not allowed", "grant it").granted_by("a\n  b");
        let findings = vec![Finding::passed("sign in", ""), Finding::passed("clock", "3s"), denied];
        let tried = Tried { name: "main".parse().unwrap(), findings };
        assert!(tried.has_failed());
        let expected = [
            "main: sign in: ok",
            "main: clock: ok (3s)",
            "main: read `db`: FAILED: not allowed",
            "    grant it",
            "a",
            "  b",
        ];
        assert_eq!(tried.lines(), expected);
    }
}
