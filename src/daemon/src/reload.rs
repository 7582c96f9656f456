//! A new configuration under a running broker. Everything is read and judged first and then put in force; what is wrong
//! never replaces what works, and is said in the log, in the status and in the journal.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use leasehold_core::{
    ports::Clock,
    record::{Kind, Outcome},
};
use leasehold_engine::Engine;
use leasehold_policy::CedarAuthorizer;
use tokio::signal::unix::Signal;

use crate::{
    check::{self, Fresh},
    config::{Config, provider::Provider},
    grpc::LastReload,
    notify,
    tls::Store,
};

/// What can be replaced, and what is in force.
pub(crate) struct Reload {
    /// What the broker was started with, as far as a reload cannot change it.
    pub(crate) running: Config,
    pub(crate) tls: Arc<Store>,
    pub(crate) authorizer: Arc<CedarAuthorizer>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) last: Arc<Mutex<Option<LastReload>>>,
}

/// The reason that a rejected reload has in the journal.
const REJECTED: &str = "CONFIG_INVALID";
/// How much of the faults goes into the journal; the log has all of them.
const LONGEST_DETAIL: usize = 4096;

impl Reload {
    /// Reloads at every signal, for ever.
    pub(crate) async fn at_each(self, mut signal: Signal) {
        while signal.recv().await.is_some() {
            notify::reloading();
            let status = self.once().await;
            notify::ready(&status);
        }
    }

    /// Reloads once; the answer is a line for systemd.
    pub(crate) async fn once(&self) -> String {
        let (file, running, clock) = (self.running.file.clone(), self.running.clone(), self.clock.clone());
        // Reading files and compiling policies would hold requests up.
        let read = tokio::task::spawn_blocking(move || {
            let config =
                keep_what_needs_a_restart(&running, Config::load(&file).map_err(|f| f.to_string())?)?;
            let fresh = check::read_fresh(&config.config, &clock)
                .map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
            Ok::<_, String>((config, fresh))
        });
        match read.await {
            Ok(Ok((config, fresh))) => self.publish(config, fresh).await,
            Ok(Err(faults)) => self.reject(faults).await,
            Err(error) => self.reject(format!("reading the configuration failed: {error}")).await,
        }
    }

    async fn publish(&self, new: Kept, fresh: Fresh) -> String {
        let Fresh { tls, policies } = fresh;
        let (secrets, mounts) = (new.config.catalog.secrets().count(), new.config.catalog.mounts().count());
        let mut details = BTreeMap::from([
            ("policies".to_owned(), policies.digest().to_owned()),
            ("certificate".to_owned(), tls.summary().fingerprint.to_string()),
            ("secrets".to_owned(), secrets.to_string()),
            ("mounts".to_owned(), mounts.to_string()),
        ]);
        if !new.needs_restart.is_empty() {
            details.insert("needs_restart".to_owned(), new.needs_restart.join(", "));
        }
        tracing::info!(
            digest = policies.digest(),
            certificate_until = %tls.summary().not_after,
            "reloaded: {} policies, {secrets} secrets, {mounts} mounts",
            policies.len(),
        );
        for what in &new.needs_restart {
            tracing::warn!("{what} changed, which needs a restart: the old one stays until then");
        }
        self.tls.publish(tls);
        self.authorizer.replace(policies);
        self.engine.replace_catalog(new.config.catalog);
        self.said(None);
        self.note(Kind::ConfigReloaded, Outcome::Ok, details).await;
        "serving with the new configuration".to_owned()
    }

    async fn reject(&self, faults: String) -> String {
        for fault in faults.lines() {
            tracing::error!("not reloaded, the old configuration stays: {fault}");
        }
        let short: String = faults.chars().take(LONGEST_DETAIL).collect();
        self.said(Some(short.clone()));
        let outcome = Outcome::Failed { reason: REJECTED.to_owned() };
        self.note(Kind::ConfigRejected, outcome, BTreeMap::from([("faults".to_owned(), short)])).await;
        "serving with the old configuration: the new one was rejected".to_owned()
    }

    fn said(&self, rejection: Option<String>) {
        let reload = LastReload { at: self.clock.now(), rejection };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reload);
    }

    async fn note(&self, kind: Kind, outcome: Outcome, details: BTreeMap<String, String>) {
        if let Err(error) = self.engine.note(kind, outcome, details).await {
            tracing::error!(%error, "the journal has no record of this reload");
        }
    }
}

/// A new configuration in which the old one holds for what only a restart can change.
struct Kept {
    config: Config,
    needs_restart: Vec<String>,
}

/// # Errors
/// When a provider is not the one that runs: the catalog's references were written for the new one, and would be resolved
/// by the old.
fn keep_what_needs_a_restart(running: &Config, mut new: Config) -> Result<Kept, String> {
    let others: Vec<_> = new.providers.iter().filter(|provider| !running.runs(provider)).collect();
    if !others.is_empty() {
        let each = others.iter().map(|provider| {
            format!(
                "{}: the provider `{}` is new or has changed, which takes a restart",
                provider.place, provider.name
            )
        });
        return Err(each.collect::<Vec<_>>().join("\n"));
    }
    let mut needs_restart = Vec::new();
    let mut keep = |name: &str, changed: bool| {
        if changed {
            needs_restart.push(name.to_owned());
        }
    };
    keep("[listen] address", running.listen.addresses != new.listen.addresses);
    keep("[identity] trust_domain", running.identity.trust_domain != new.identity.trust_domain);
    keep("[seal] key_file", running.seal.key_file != new.seal.key_file);
    keep("[ledger] dir", running.ledger.dir != new.ledger.dir);
    keep("[ledger] node", running.ledger.node != new.ledger.node);
    keep("[ledger] segment_size", running.ledger.segment_size != new.ledger.segment_size);
    keep("[limits]", running.limits != new.limits);
    keep("[cache]", running.cache != new.cache);
    keep("[log]", running.log != new.log);
    keep("[metrics]", running.metrics != new.metrics);
    keep("[runtime]", running.runtime != new.runtime);
    for old in &running.providers {
        let gone = !new.providers.iter().any(|provider| provider.name == old.name);
        keep(&format!("provider `{}`", old.name), gone);
    }
    new.identity.trust_domain = running.identity.trust_domain.clone();
    Ok(Kept { config: new, needs_restart })
}

impl Config {
    fn runs(&self, provider: &Provider) -> bool {
        self.providers.iter().any(|running| running.name == provider.name && running.kind == provider.kind)
    }
}

#[cfg(feature = "local")]
#[cfg(test)]
mod tests;
