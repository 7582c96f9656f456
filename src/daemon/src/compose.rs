//! The one place where the parts meet: every adapter is made here and handed to whoever needs it.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use leasehold_audit::{Files, Torn};
use leasehold_core::{
    SpiffeId,
    ports::{Clock, Entropy},
    principal::TrustDomain,
    record::Actor,
    ttl::until,
};
use leasehold_engine::{Engine, RotationParts};
use leasehold_generate::Maker;
use leasehold_ledger::{ArchiveRule, ClosedSegments, Embedded, EmbeddedOptions, Recovery, boot_id};
use leasehold_policy::CedarAuthorizer;
use leasehold_seal::{DrawnAhead, KeyRing, SystemEntropy};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    check::{self, Fresh},
    clock::{self, Kept, LatestClock, Mark, Sources, SystemClock},
    config::{
        Config,
        ledger::{self, is_node},
    },
    facts::View,
    grpc::{self, Rate, RateLimits, Rates, Routes},
    identity,
    listener::{self, Listener},
    metrics::Exporter,
    own_secrets::OwnSecrets,
    place::Place,
    programs::Children,
    providers::{self, Means},
    reload::Reload,
    start_error::StartError,
    state_dir::StateDir,
    tls::{Store, Summary},
};

/// A broker that is put together and has its sockets, but serves nobody yet.
pub struct Broker {
    pub(crate) engine: Arc<Engine>,
    pub(crate) ledger: Embedded,
    pub(crate) listener: Arc<Listener>,
    pub(crate) sockets: Vec<TcpListener>,
    pub(crate) routes: Routes,
    pub(crate) health: futures::future::BoxFuture<'static, ()>,
    /// What shows figures, when that is configured.
    pub(crate) exporter: Option<Exporter>,
    /// What keeps the time across restarts.
    pub(crate) clock: futures::future::BoxFuture<'static, ()>,
    /// Whether the time was taken back, so that leases may be of times which are yet to come.
    pub(crate) clock_taken_back: bool,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) reload: Reload,
    /// What was done about an unfinished end of the journal, if there was one.
    pub(crate) recovered: Option<BTreeMap<String, String>>,
    pub(crate) started: BTreeMap<String, String>,
    /// Where the state lies, and whether it lay there before.
    pub(crate) place: Place,
    pub(crate) drain_timeout: Duration,
    _state: StateDir,
}

/// Files that the broker needs beside its connections.
const OTHER_FILES: u64 = 256;

/// Puts a broker together, whose journal is written through `files` and whose time is `sources`', the time of day taken as it
/// is when `trust_clock` says so. Blocking, and within a runtime.
///
/// # Errors
/// The first thing that does not work, with all of its faults.
pub fn open(
    config: Config,
    files: Arc<dyn Files>,
    sources: Sources,
    trust_clock: bool,
) -> Result<Broker, StartError> {
    let state = StateDir::claim(&config.ledger.dir)?;
    let keys = Arc::new(KeyRing::load(&config.seal.key_file)?);
    let broker = Actor::internal(
        SpiffeId::new(&config.identity.trust_domain, identity::BROKER).map_err(StartError::Identity)?,
    );
    let node = node_name(&config);
    let (ledger, recovery) = Embedded::open(EmbeddedOptions {
        dir: config.ledger.dir.clone(),
        node: node.clone(),
        keys: keys.clone(),
        segment_bytes: config.ledger.segment_size.0,
        files,
        boot_id: boot_id().map_err(StartError::BootId)?,
        actor: broker.clone(),
        snapshot_records: EmbeddedOptions::SNAPSHOT_RECORDS,
        closed: closed_segments(&config.ledger),
    })?;
    let place = Place::look(state.path()).map_err(StartError::Place)?;
    let (clock, mark) = open_clock(&recovery, sources, &config, trust_clock)?;
    let dated: Arc<dyn Clock> = Arc::new(LatestClock(clock.clone()));
    let entropy = Arc::new(SystemEntropy);
    let Fresh { tls, policies } = check::read_fresh(&config, &dated).map_err(StartError::Findings)?;
    for warning in policies.warnings() {
        let file = warning.file.as_deref().unwrap_or_default();
        tracing::warn!(file, line = warning.line, "policy: {}", warning.message);
    }
    let secrets = Arc::new(OwnSecrets::default());
    let means = Means {
        keys: keys.clone(),
        clock: dated.clone(),
        lease_clock: clock.clone(),
        entropy: entropy.clone(),
        broker: format!("{}/{}", config.identity.trust_domain, state.name(&*entropy)?).into(),
        secrets: secrets.clone(),
    };
    let providers = providers::open(&config.providers, &means)?;
    let sockets = listener::bind(&config.listen.addresses)?;
    let metrics = config.metrics.address.map(|address| listener::bind(&[address])).transpose()?;

    let recovered = recovery.torn.as_ref().map(mended);
    let started = summary(&config, &node, &recovery, tls.summary(), &policies);
    let tls = Store::new(tls);
    let authorizer = Arc::new(CedarAuthorizer::new(policies));
    let rotation = rotation_parts(entropy, &config.identity.trust_domain)?;
    let engine = Engine::new(leasehold_engine::Parts {
        clock: clock.clone(),
        entropy: Arc::new(DrawnAhead::<SystemEntropy>::default()),
        ledger: Arc::new(ledger.clone()),
        authorizer: authorizer.clone(),
        mac: keys.value_mac(),
        providers,
        provider_limits: config.providers.iter().map(|one| (one.name.clone(), one.limits)).collect(),
        catalog: config.catalog.clone(),
        settings: engine_settings(&config),
        broker,
        rotation,
    });
    secrets.read_by(&engine);
    let last_reload = Arc::new(Mutex::new(None));
    let facts = Arc::new(View {
        node,
        trust_domain: config.identity.trust_domain.to_string(),
        started_at: clock.now(),
        authorizer: authorizer.clone(),
        ledger: ledger.clone(),
        last_reload: last_reload.clone(),
    });
    let exporter = metrics.and_then(|mut sockets| sockets.pop());
    let rates = RateLimits::new(rates(&config));
    let exporter = exporter.map(|socket| Exporter::new(socket, engine.clone(), facts.clone(), rates.clone()));
    let (stop, stopped) = watch::channel(false);
    let (routes, health) = Routes::new(grpc::Parts {
        engine: engine.clone(),
        journal_dir: ledger.journal_dir().to_owned(),
        facts,
        ledger_health: ledger.health(),
        stop: stopped,
        rates,
        settings: grpc::Settings {
            max_request_bytes: config.limits.message_size.bytes(),
            max_watches: count(config.limits.watches),
            max_watches_per_principal: count(config.limits.watches_per_principal),
            ..grpc::Settings::default()
        },
    });
    let drain_timeout = config.limits.drain_timeout;
    let keeping = clock::keep(clock, mark, config.ledger.dir.clone(), stop.subscribe());
    let listener = Listener::new(tls.clone(), dated.clone(), listener_settings(&config));
    let reload =
        Reload { running: config, tls, authorizer, engine: engine.clone(), clock: dated, last: last_reload };
    Ok(Broker {
        engine,
        ledger,
        listener,
        sockets,
        routes,
        health: Box::pin(health),
        exporter,
        clock: Box::pin(keeping),
        clock_taken_back: trust_clock,
        stop,
        reload,
        recovered,
        started,
        place,
        drain_timeout,
        _state: state,
    })
}

/// What rotation needs beside the back ends.
pub(crate) fn rotation_parts(
    entropy: Arc<dyn Entropy>,
    trust_domain: &TrustDomain,
) -> Result<RotationParts, StartError> {
    let scheduler = SpiffeId::new(trust_domain, identity::SCHEDULER).map_err(StartError::Identity)?;
    Ok(RotationParts {
        generate: Arc::new(Maker::new(entropy)),
        programs: Arc::new(Children::new()),
        scheduler: Actor::internal(scheduler),
    })
}

/// The clock, going on from where it was left.
fn open_clock(
    recovery: &Recovery,
    sources: Sources,
    config: &Config,
    trust: bool,
) -> Result<(Arc<SystemClock>, Mark), StartError> {
    let boot = boot_id().map_err(StartError::BootId)?;
    let before = Mark::read(&config.ledger.dir);
    let mut kept = Mark::kept(before.as_ref(), &boot, recovery.last_time);
    let mut distrusted = before.as_ref().and_then(|before| before.distrusted);
    if trust {
        distrusted = distrusted.max(recovery.last_time).max(before.map(|before| before.time));
        kept = Kept::default();
    }
    let clock = SystemClock::going_on(sources, config.clock, &kept);
    let standing = clock.standing();
    if trust {
        let behind =
            distrusted.map(|distrusted| until(standing.now, distrusted).as_secs()).unwrap_or_default();
        tracing::warn!(
            seconds = behind,
            "this machine's time of day is taken as it is: the time went back by so much"
        );
    }
    let mark = Mark { boot, offset: standing.offset, time: standing.now, distrusted };
    if let Err(error) = mark.write(&config.ledger.dir) {
        tracing::warn!(%error, "the time cannot be kept in the state directory");
    }
    Ok((Arc::new(clock), mark))
}

/// What was put aside of the journal's end, for the record of it.
fn mended(torn: &Torn) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("segment".to_owned(), torn.segment.display().to_string()),
        ("offset".to_owned(), torn.offset.to_string()),
        ("bytes".to_owned(), torn.bytes.to_string()),
        ("saved".to_owned(), torn.saved.display().to_string()),
    ])
}

/// What the start found, for the log and for the record of it.
fn summary(
    config: &Config,
    node: &str,
    recovery: &Recovery,
    tls: &Summary,
    policies: &leasehold_policy::Policies,
) -> BTreeMap<String, String> {
    let (secrets, mounts) = (config.catalog.secrets().count(), config.catalog.mounts().count());
    let names: Vec<&str> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
    tracing::info!(dir = %config.ledger.dir.display(), node, "state: {recovery}");
    tracing::info!(
        digest = policies.digest(),
        "policies: {} in {}",
        policies.len(),
        config.policy.dir.display()
    );
    tracing::info!(providers = names.join(","), "catalog: {secrets} secrets and {mounts} mounts");
    tracing::info!(
        fingerprint = &*tls.fingerprint,
        authorities = tls.authorities,
        crls = tls.crls,
        "certificate: {} until {}",
        tls.names.join(", "),
        tls.not_after
    );
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let wanted = u64::from(config.limits.connections).saturating_add(OTHER_FILES);
    if let Some(files) = files.filter(|files| *files < wanted) {
        tracing::warn!(
            "{wanted} open files would be needed for the limit of connections, and {files} are allowed"
        );
    }
    let mut details = recovery.details();
    details.extend([
        ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("policies".to_owned(), policies.digest().to_owned()),
        ("certificate".to_owned(), tls.fingerprint.to_string()),
        ("secrets".to_owned(), secrets.to_string()),
        ("mounts".to_owned(), mounts.to_string()),
    ]);
    details
}

/// What becomes of the journal's older files.
fn closed_segments(config: &ledger::Ledger) -> ClosedSegments {
    let archive = config.archive.as_ref().map(|archive| ArchiveRule {
        directory: archive.directory.clone(),
        after_age: archive.after_age,
        after_bytes: archive.after_size.0,
    });
    ClosedSegments { pack: config.compress, archive }
}

/// The configured name, else the machine's, else one for all.
fn node_name(config: &Config) -> String {
    let machine = || rustix::system::uname().nodename().to_str().ok().map(str::to_owned);
    config
        .ledger
        .node
        .clone()
        .or_else(machine)
        .filter(|name| is_node(name))
        .unwrap_or_else(|| "broker".to_owned())
}

fn count(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// How often may be asked. No limit is zero: the configuration takes none that is.
fn rates(config: &Config) -> Rates {
    let limits = &config.limits;
    let positive = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    Rates {
        workloads: Rate {
            per_second: positive(limits.requests_per_principal),
            burst: positive(limits.request_burst),
            in_flight: count(limits.requests_in_flight),
        },
        operators: Rate {
            per_second: positive(limits.operator_requests_per_principal),
            burst: positive(limits.operator_request_burst),
            in_flight: count(limits.operator_requests_in_flight),
        },
    }
}

fn engine_settings(config: &Config) -> leasehold_engine::Settings {
    leasehold_engine::Settings {
        leases_per_principal: config.limits.leases_per_principal.into(),
        leases_per_secret: config.limits.leases_per_secret.into(),
        cache_bytes: config.cache.size.bytes(),
        rotations_at_once: count(config.rotation.at_once),
        rotation_catch_up: config.rotation.catch_up,
        provider: leasehold_engine::ProviderLimits {
            max_calls: count(config.limits.provider_calls),
            max_queue: count(config.limits.provider_queue),
            call_timeout: config.limits.provider_timeout,
            ..leasehold_engine::ProviderLimits::default()
        },
        ..leasehold_engine::Settings::default()
    }
}

fn listener_settings(config: &Config) -> listener::Settings {
    let limits = &config.limits;
    listener::Settings {
        max_connections: count(limits.connections),
        max_connections_per_principal: count(limits.connections_per_principal),
        max_handshakes: count(limits.handshakes),
        handshake_timeout: limits.handshake_timeout,
        idle_timeout: limits.idle_timeout,
        drain_timeout: limits.drain_timeout,
        max_streams: limits.streams_per_connection,
        max_header_bytes: limits.header_size.bytes_u32(),
        keepalive_interval: limits.keepalive_interval,
        keepalive_timeout: limits.keepalive_timeout,
        ..listener::Settings::default()
    }
}

#[cfg(feature = "local")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    #[test]
    fn what_is_not_configured_is_the_parts_own_default() {
        let text = "
            [listen]
            certificate = 'c'
            key = 'k'
            trust_bundle = 't'
            [identity]
            trust_domain = 'example.org'
            [seal]
            key_file = 's'
            [ledger]
            dir = 'd'
        ";
        let config = Config::parse(&Source::new("l.toml", text), &[]).unwrap();
        assert_eq!(listener_settings(&config), listener::Settings::default());
        let (ours, theirs) = (engine_settings(&config), leasehold_engine::Settings::default());
        assert_eq!(ours.cache_bytes, theirs.cache_bytes);
        assert_eq!(ours.provider, theirs.provider);
        assert_eq!(ours.rotations_at_once, theirs.rotations_at_once);
        assert_eq!(ours.rotation_catch_up, theirs.rotation_catch_up);
        assert_eq!(ours.leases_per_principal, theirs.leases_per_principal);
        assert_eq!(ours.leases_per_secret, theirs.leases_per_secret);
        assert_eq!(rates(&config), Rates::default());
        assert_eq!(config.limits.message_size.bytes(), grpc::Settings::default().max_request_bytes);
    }

    #[test]
    fn an_unfinished_end_of_the_journal_is_a_record_of_its_own() {
        let torn = Torn { segment: "1.log".into(), offset: 512, bytes: 9, saved: "1.512.0.torn".into() };
        let details = mended(&torn);
        assert_eq!(details["segment"], "1.log");
        assert_eq!((details["offset"].as_str(), details["bytes"].as_str()), ("512", "9"));
        assert_eq!(details["saved"], "1.512.0.torn");
    }
}
