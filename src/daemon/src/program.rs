//! The program: what each command does, and how it ends.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use leasehold_audit::Files;
use leasehold_core::{
    ports::Clock,
    record::{Kind, Outcome},
};
use leasehold_engine::{
    Engine,
    request::{Held, HoldReason},
};
use leasehold_ledger::LedgerHealth;
use leasehold_seal::SystemEntropy;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    args::{CheckConfig, Cli, Command, Exit, Init, Run},
    check,
    clock::{Sources, SystemClock},
    compose::{self, Broker},
    config::{Config, runtime},
    hardening, init,
    listener::Drained,
    live, log, notify,
    place::{Found, Place},
    shutdown::{self, EndSignals, Part, Reason, Serving},
    start_error::StartError,
};

/// How long threads may take to notice that the runtime is gone.
const LAST_THREADS: Duration = Duration::from_secs(1);

/// Reads the command line and does what it says. The journal is written through `files`, and a broker that serves
/// takes the time from `sources`.
pub fn main(files: Arc<dyn Files>, sources: Sources) -> ExitCode {
    let outcome = match Cli::parse().into_command() {
        Command::Run(arguments) => run(&arguments, files, sources),
        Command::CheckConfig(arguments) => check_config(&arguments),
        Command::Init(arguments) => make(&arguments),
        #[cfg(feature = "local")]
        Command::Local { command } => crate::bundle::carry(&command).map(|line| {
            tell(line);
            Exit::Ok
        }),
    };
    outcome
        .unwrap_or_else(|error| {
            say(&error);
            error.exit()
        })
        .into()
}

/// `run`: serves until it is told to end.
fn run(arguments: &Run, files: Arc<dyn Files>, sources: Sources) -> Result<Exit, StartError> {
    // Before any thread is started, and before anything secret is read.
    let measures = hardening::harden();
    let config = Config::load(&arguments.config.config).map_err(StartError::Config)?;
    log::start(&config.log)?;
    let threads = config.runtime.threads;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        threads,
        "starting with {}",
        config.file.display()
    );
    tell_measures(&measures);
    // Whatever asks rustls for its default gets the one provider that there is.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = runtime(&config.runtime).map_err(StartError::System)?;
    let outcome = runtime.block_on(async {
        // A reload that is asked for during the start is done after it; by default the signal would end the process.
        let hangups = signal(SignalKind::hangup()).map_err(StartError::System)?;
        serve(compose::open(config, files, sources, arguments.trust_clock)?, arguments.hold, hangups).await
    });
    // A thread that hangs in a system call does not hold the end up.
    runtime.shutdown_timeout(LAST_THREADS);
    // From here on there is a log, and whoever reads it gets the message there.
    Ok(outcome.unwrap_or_else(|error| {
        error.report().lines().for_each(|line| tracing::error!("not started: {line}"));
        error.exit()
    }))
}

async fn serve(broker: Broker, hold: bool, hangups: Signal) -> Result<Exit, StartError> {
    let Broker {
        engine,
        ledger,
        listener,
        sockets,
        routes,
        health,
        exporter,
        clock,
        clock_taken_back,
        stop,
        reload,
        recovered,
        started,
        place,
        drain_timeout,
        ..
    } = broker;
    let mut signals = EndSignals::new().map_err(StartError::System)?;
    take_up(&engine, &place, hold).await?;
    // Before anybody is lent anything: of what is half done, the old version is lent on.
    let unfinished = engine.resume_rotations().await.map_err(StartError::TakeUp)?;
    if !unfinished.is_empty() {
        tracing::info!(
            secrets = unfinished.len(),
            "rotations that were begun, asked for or paused go on as they were"
        );
    }
    if clock_taken_back {
        let ended = engine.end_what_is_yet_to_come().await.map_err(StartError::TakeUp)?;
        tracing::warn!(ended, "leases that were issued at times which are yet to come have been ended");
    }

    let addresses: Vec<String> =
        sockets.iter().filter_map(|socket| Some(socket.local_addr().ok()?.to_string())).collect();
    let recovered = recovered.map(|details| (Kind::JournalRecovered, details));
    for (kind, details) in recovered.into_iter().chain([(Kind::BrokerStarted, started)]) {
        if let Err(error) = engine.note(kind, Outcome::Ok, details).await {
            tracing::error!(%error, %kind, "the journal has no record of this start");
        }
    }
    let mut reconcile = tokio::spawn(engine.clone().reconcile(stop.subscribe()));
    tokio::spawn(engine.clone().count_leases(stop.subscribe()));
    tokio::spawn(engine.clone().sweep(stop.subscribe()));
    tokio::spawn(engine.clone().sweep_orphans_always(stop.subscribe()));
    tokio::spawn(engine.clone().watch_sign_ins(stop.subscribe()));
    let mut listener = tokio::spawn(listener.run(sockets, routes, stop.subscribe()));
    tokio::spawn(health);
    tokio::spawn(clock);
    if let Some(exporter) = exporter {
        tokio::spawn(exporter.run(stop.subscribe()));
    }
    tokio::spawn(reload.at_each(hangups));
    let ledger_health = ledger.health();
    tokio::spawn(notify::watchdog({
        let health = ledger_health.clone();
        // A full disk is not mended by a restart; it is told by the health service and the status.
        move || !matches!(*health.borrow(), LedgerHealth::Poisoned(_))
    }));
    let serving = format!("serving on {}", addresses.join(", "));
    tracing::info!("{serving}");
    notify::ready(&match engine.held() {
        Some(_) => format!("{serving}, on hold: nothing is ended"),
        None => serving.clone(),
    });
    tokio::spawn(tell_release(engine.hold_changes(), serving));

    let reason = tokio::select! {
        name = signals.next() => Reason::Signal(name),
        reason = shutdown::poisoned(ledger_health) => reason,
        _ = &mut listener => Reason::Lost(Part::Listener),
        _ = &mut reconcile => Reason::Lost(Part::Reconciler),
    };
    // A task that has been waited for cannot be waited for again.
    match &reason {
        Reason::Lost(Part::Listener) => listener = tokio::spawn(async { Drained { cut: 0 } }),
        Reason::Lost(Part::Reconciler) => reconcile = tokio::spawn(async {}),
        _ => {}
    }
    let serving = Serving { engine, ledger, stop, listener, reconcile, drain_timeout };
    Ok(shutdown::end(serving, reason, &mut signals).await)
}

/// What the process before this one left, and whether the broker starts on hold: because it is told to, or because its
/// state is a copy.
async fn take_up(engine: &Engine, place: &Place, hold: bool) -> Result<(), StartError> {
    let reason = match place.found() {
        Found::Moved(what) => {
            tracing::warn!("the state was restored from a copy: {what}");
            Some(HoldReason::Restored)
        }
        Found::New | Found::Same => hold.then_some(HoldReason::Requested),
    };
    match engine.take_up(reason).await {
        // Noted when the hold is durable: until then every start finds the copy anew.
        Ok(()) => {
            if let Err(error) = place.settle() {
                tracing::warn!(%error, "where the state lies could not be noted: the next start may be on hold");
            }
            Ok(())
        }
        Err(error) if engine.held().is_some() => {
            tracing::error!(%error, "the journal has no record of the hold, which lasts until this process ends");
            Ok(())
        }
        Err(error) => Err(StartError::TakeUp(error)),
    }
}

/// Has systemd know that the broker is on hold no longer.
async fn tell_release(mut hold: watch::Receiver<Option<Held>>, serving: String) {
    if hold.borrow().is_some() && hold.wait_for(Option::is_none).await.is_ok() {
        notify::status(&serving);
    }
}

fn runtime(settings: &runtime::Runtime) -> io::Result<Runtime> {
    let mut builder = match usize::try_from(settings.threads) {
        Ok(threads @ 2..) => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
        _ => Builder::new_current_thread(),
    };
    builder.enable_all().thread_name("leaseholdd").max_blocking_threads(32).build()
}

fn tell_measures(measures: &[hardening::Measure]) {
    let held: Vec<&str> = measures.iter().filter(|measure| measure.outcome.is_ok()).map(|m| m.name).collect();
    tracing::info!("hardened: {}", held.join(", "));
    for measure in measures {
        if let Err(why) = &measure.outcome {
            tracing::warn!("not held: {}: {why}", measure.name);
        }
    }
}

/// `check-config`: tells everything that is wrong, and changes nothing.
fn check_config(arguments: &CheckConfig) -> Result<Exit, StartError> {
    let config = Config::load(&arguments.config.config).map_err(StartError::Config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::starting_at(None));
    let findings = check::everything(&config, &clock);
    if findings.is_empty() {
        let (secrets, mounts) = (config.catalog.secrets().count(), config.catalog.mounts().count());
        tell(format!(
            "{} is good (providers: {}, secrets: {secrets}, mounts: {mounts})",
            config.file.display(),
            config.providers.len()
        ));
        return if arguments.live { try_providers(&config, clock) } else { Ok(Exit::Ok) };
    }
    Err(StartError::Findings(findings))
}

/// Tries every back end, and tells each step.
fn try_providers(config: &Config, clock: Arc<dyn Clock>) -> Result<Exit, StartError> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = runtime(&runtime::Runtime::default()).map_err(StartError::System)?;
    let tried = runtime.block_on(live::try_all(config, clock));
    runtime.shutdown_timeout(LAST_THREADS);
    let tried = tried?;
    tried.iter().flat_map(live::Tried::lines).for_each(tell);
    Ok(if tried.iter().any(live::Tried::has_failed) { Exit::Failed } else { Exit::Ok })
}

/// `init`: the seal key and the state directory.
fn make(arguments: &Init) -> Result<Exit, StartError> {
    let steps = match &arguments.key_file {
        Some(path) => vec![init::key_file(path, &SystemEntropy)?],
        None => {
            let config = Config::load(&arguments.config.config).map_err(StartError::Config)?;
            init::from_config(&config, &SystemEntropy)?
        }
    };
    steps.iter().for_each(tell);
    Ok(Exit::Ok)
}

/// To whoever asked; a reader that went away is no fault.
fn tell(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// To whoever has to mend something. Faults have places of their own, as compilers print them.
fn say(error: &StartError) {
    let program = match error {
        StartError::Config(_) | StartError::Findings(_) => "",
        _ => "leaseholdd: ",
    };
    let _ = writeln!(io::stderr().lock(), "{program}{}", error.report());
}
