//! The parts, put together.

use std::{convert::Infallible, ffi::OsString, fmt::Display, future::pending, io, sync::Arc};

use leasehold_core::ports::Clock;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
};

use crate::{
    act,
    args::Exit,
    cache,
    clock::SystemClock,
    config::Config,
    endpoint, exec, health,
    name::Name,
    publish::{PublishError, Published, Publisher, Standing},
    render::Renderer,
    secrets::Secrets,
};

/// Runs until it is told to end, or until the program ends. The exit code.
pub(crate) async fn run(config: Config, program: Vec<OsString>) -> u8 {
    // Before anything can be seen of it: who tells it to end then is heard. A program of `exec` is told by itself.
    let ends = match program.is_empty().then(EndSignals::new).transpose() {
        Ok(ends) => ends,
        Err(error) => return failed(&error),
    };
    let mut publisher = match publisher(&config) {
        Ok(publisher) => publisher,
        Err(exit) => return exit as u8,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        secrets = config.secrets.len(),
        files = config.file_list.len(),
        "starting with {}",
        config.file.display()
    );
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let kept = config
        .cache
        .as_ref()
        .map(|cache| cache::load(cache, &config.secrets, clock.as_ref()))
        .unwrap_or_default();
    let secrets = Secrets::start(config.broker.clone(), &config.secrets, kept, Arc::clone(&clock));
    let (standing, publishing) = watch::channel(Standing::default());
    let (acted, acting) = watch::channel(act::Standing::default());
    let (sender, published) = mpsc::channel(1);
    let give_back = gives_back(&config, !program.is_empty());
    let code = tokio::select! {
        code = work(&config, program, ends, published, &secrets, acted) => code,
        never = beside(&config, &secrets, (publishing, acting), clock) => match never {
            Ok(never) => match never {},
            Err(code) => code,
        },
        () = publisher.run(secrets.snapshots(), sender, &standing) => Exit::Failed as u8,
    };
    tracing::info!(code, "ending");
    health::notify::stopping();
    publisher.finish().await;
    secrets.close(give_back).await;
    code
}

/// What publishes, after saying everything that can be found out to be wrong before anything is leased.
pub(crate) fn publisher(config: &Config) -> Result<Publisher, Exit> {
    let renderer = renderer(config).map_err(|faults| {
        for fault in faults {
            tracing::error!("{fault}");
        }
        Exit::Config
    })?;
    Publisher::new(config.files.clone(), renderer).map_err(|error| {
        tracing::error!("{error}");
        match error {
            PublishError::Directory(_) => Exit::Directory,
            _ => Exit::Config,
        }
    })
}

/// The templates, compiled, or everything that is wrong with them.
pub(crate) fn renderer(config: &Config) -> Result<Renderer, Vec<String>> {
    let renderer = Renderer::new(&config.file_list)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let names: Vec<Name> = config.secrets.iter().map(|secret| secret.name.clone()).collect();
    let strangers = renderer.strangers(&names);
    if strangers.is_empty() {
        return Ok(renderer);
    }
    let known: Vec<_> = names.iter().map(Name::as_str).collect();
    let fault = |(file, secret): &(Name, String)| {
        let help = leasehold_config::section::proposal(secret, &known);
        format!(
            "the template of `{file}` uses `secrets.{secret}`, and there is no [[secret]] of that name: {help}"
        )
    };
    Err(strangers.iter().map(fault).collect())
}

/// The program, or what is to be done on changes until the sidecar is told to end.
async fn work(
    config: &Config,
    program: Vec<OsString>,
    ends: Option<EndSignals>,
    published: mpsc::Receiver<Published>,
    secrets: &Secrets,
    standing: watch::Sender<act::Standing>,
) -> u8 {
    let switched = |snapshot: &_| secrets.switched(snapshot);
    let Some(mut ends) = ends else {
        let run = exec::Run {
            settings: config.exec.clone(),
            program,
            on_change: config.on_change.clone(),
            published,
            snapshots: secrets.snapshots(),
            standing,
        };
        return run.run(switched).await;
    };
    tokio::select! {
        () = ends.next() => Exit::Ok as u8,
        () = act::run(config.on_change.clone(), published, switched, standing) => Exit::Failed as u8,
    }
}

/// What goes on beside that, for ever unless it cannot.
async fn beside(
    config: &Config,
    secrets: &Secrets,
    (publishing, acting): (watch::Receiver<Standing>, watch::Receiver<act::Standing>),
    clock: Arc<dyn Clock>,
) -> Result<Infallible, u8> {
    let cache_clock = Arc::clone(&clock);
    let snapshots = secrets.snapshots();
    let sources =
        health::Sources { snapshots, publishing: Some(publishing), acting, clock: Arc::clone(&clock) };
    let endpoint = async {
        match config.endpoint.clone() {
            Some(settings) => {
                endpoint::serve(settings, &config.secrets, secrets.snapshots(), Arc::clone(&clock)).await
            }
            None => pending().await,
        }
    };
    let cache = async {
        match config.cache.clone().filter(|cache| cache.enabled) {
            Some(settings) => {
                cache::keep(settings, config.secrets.clone(), secrets.snapshots(), cache_clock).await
            }
            None => pending().await,
        }
    };
    tokio::select! {
        outcome = endpoint => outcome.map_err(|error| failed(&error)),
        outcome = health::serve(config.health.clone(), sources) => outcome.map_err(|error| failed(&error)),
        never = cache => Ok(never),
    }
}

/// Whether leases are given back at an end in order: not while files that were made of them, or a cache, stay.
fn gives_back(config: &Config, exec: bool) -> bool {
    let files_stay = config.files.as_ref().is_some_and(|files| !files.remove_on_exit);
    let is_kept = config.cache.as_ref().is_some_and(|cache| cache.enabled);
    !is_kept && (exec || !files_stay)
}

/// The signals that tell the sidecar to end.
struct EndSignals([Signal; 3]);

impl EndSignals {
    fn new() -> io::Result<Self> {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let [terminate, interrupt, hangup] = kinds.map(signal);
        Ok(Self([terminate?, interrupt?, hangup?]))
    }

    async fn next(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

fn failed(error: &dyn Display) -> u8 {
    tracing::error!("{error}");
    Exit::Failed as u8
}
