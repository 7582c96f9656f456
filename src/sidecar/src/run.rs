//! The parts, put together.

use std::{convert::Infallible, ffi::OsString, fmt::Display, future::pending, io, sync::Arc};

use leasehold_programs::adopt_orphans;
use rustix::process::getpid;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
};

use crate::{
    act,
    args::Exit,
    cache,
    clock::{Sources, SystemClock},
    config::Config,
    edition::{Edition, Refused},
    endpoint, exec, health,
    publish::{Published, Publisher, Standing},
    reload::{self, Reloading},
    secrets::Secrets,
};

/// Runs until it is told to end, or until the program ends. The exit code.
pub(crate) async fn run(config: Config, program: Vec<OsString>, sources: Sources) -> u8 {
    // Before anything can be seen of it: who tells it to end then is heard. A program of `exec` is told by itself.
    let told = match program.is_empty().then(ToldSignals::new).transpose() {
        Ok(told) => told,
        Err(error) => return failed(&error),
    };
    // The first process of a container buries what others leave; `exec` does it anyway.
    let _orphans = match (told.is_some() && getpid().is_init()).then(adopt_orphans).transpose() {
        Ok(adopting) => adopting,
        Err(error) => return failed(&error),
    };
    let (edition, mut publisher) = match prepared(config) {
        Ok(prepared) => prepared,
        Err(exit) => return exit as u8,
    };
    starting(&edition.config);
    let clock = Arc::new(SystemClock::starting(sources));
    let config = &edition.config;
    let kept = config
        .cache
        .as_ref()
        .map(|cache| cache::load(cache, &config.secrets, clock.as_ref()))
        .unwrap_or_default();
    let secrets = Secrets::start(config.broker.clone(), &config.secrets, kept, clock.clone());
    let (standing, publishing) = watch::channel(Standing::default());
    let (acted, acting) = watch::channel(act::Standing::default());
    let (reloaded, reloading) = watch::channel(reload::Standing::default());
    let (sender, published) = mpsc::channel(1);
    let (editions, in_force) = watch::channel(Arc::clone(&edition));
    let rules = edition.rules.clone().map(watch::Sender::new);
    let beside = Beside {
        sources: health::Sources {
            snapshots: secrets.snapshots(),
            publishing: Some(publishing),
            acting,
            reloading,
            clock: clock.clone(),
        },
        rules: rules.as_ref().map(watch::Sender::subscribe),
        in_force: in_force.clone(),
        clock,
    };
    let reloads = Reloading { secrets: &secrets, editions, rules, standing: reloaded };
    let exec = !program.is_empty();
    let code = tokio::select! {
        code = work(config, program, told, published, &reloads, acted) => code,
        never = beside.run(config, &secrets) => match never {
            Ok(never) => match never {},
            Err(code) => code,
        },
        () = publisher.run(secrets.snapshots(), in_force, sender, &standing) => Exit::Failed as u8,
    };
    tracing::info!(code, "ending");
    health::notify::stopping();
    let give_back = gives_back(&reloads.editions.borrow().config, exec, publisher.has_written());
    publisher.finish().await;
    secrets.close(give_back).await;
    code
}

/// Says what is going to happen.
pub(crate) fn starting(config: &Config) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        secrets = config.secrets.len(),
        files = config.file_list.len(),
        "starting with {}",
        config.file.display()
    );
}

/// What is in force, and what publishes it, after saying everything that can be found out to be wrong before anything is
/// leased.
pub(crate) fn prepared(config: Config) -> Result<(Arc<Edition>, Publisher), Exit> {
    let edition = Edition::new(0, config).map_err(|error| {
        tracing::error!("{error}");
        refused(&error)
    })?;
    let edition = Arc::new(edition);
    let publisher = Publisher::new(Arc::clone(&edition)).map_err(|error| {
        tracing::error!("{error}");
        Exit::Directory
    })?;
    Ok((edition, publisher))
}

/// How the sidecar ends for it.
pub(crate) fn refused(error: &Refused) -> Exit {
    match error {
        Refused::Templates(_) | Refused::Owner(_) => Exit::Config,
        // What is missing may come: a token's file, a user.
        Refused::Endpoint(_) => Exit::Failed,
    }
}

/// The program, or what is to be done on changes until the sidecar is told to end.
async fn work(
    config: &Config,
    program: Vec<OsString>,
    told: Option<ToldSignals>,
    published: mpsc::Receiver<Published>,
    reloads: &Reloading<'_>,
    standing: watch::Sender<act::Standing>,
) -> u8 {
    let switched = |snapshot: &_| reloads.secrets.switched(snapshot);
    let Some(mut told) = told else {
        let run = exec::Run {
            settings: config.exec.clone(),
            program,
            on_change: config.on_change.clone(),
            published,
            snapshots: reloads.secrets.snapshots(),
            standing,
        };
        return run.run(switched).await;
    };
    let ToldSignals { terminate, interrupt, hangup } = &mut told;
    tokio::select! {
        _ = terminate.recv() => Exit::Ok as u8,
        _ = interrupt.recv() => Exit::Ok as u8,
        () = act::run(config.on_change.clone(), published, switched, standing) => Exit::Failed as u8,
        never = reloads.run(hangup) => match never {},
    }
}

/// What goes on beside that.
struct Beside {
    sources: health::Sources,
    rules: Option<watch::Receiver<Arc<endpoint::Rules>>>,
    in_force: watch::Receiver<Arc<Edition>>,
    clock: Arc<SystemClock>,
}

impl Beside {
    /// For ever unless it cannot.
    async fn run(self, config: &Config, secrets: &Secrets) -> Result<Infallible, u8> {
        let endpoint = async {
            match (config.endpoint.clone(), self.rules) {
                (Some(settings), Some(rules)) => {
                    endpoint::serve(settings, rules, secrets.snapshots(), self.clock.clone()).await
                }
                _ => pending().await,
            }
        };
        let cache = async {
            match config.cache.clone().filter(|cache| cache.enabled) {
                Some(settings) => {
                    cache::keep(settings, self.in_force, secrets.snapshots(), self.clock.clone()).await
                }
                None => pending().await,
            }
        };
        tokio::select! {
            outcome = endpoint => outcome.map_err(|error| failed(&error)),
            outcome = health::serve(config.health.clone(), self.sources) => outcome.map_err(|error| failed(&error)),
            never = cache => Ok(never),
        }
    }
}

/// Whether leases are given back at an end in order: not while files that were made of them, or a cache, stay.
fn gives_back(config: &Config, exec: bool, has_written: bool) -> bool {
    let files_stay = has_written && config.files.as_ref().is_some_and(|files| !files.remove_on_exit);
    let is_kept = config.cache.as_ref().is_some_and(|cache| cache.enabled);
    !is_kept && (exec || !files_stay)
}

/// The signals that the sidecar is told something by.
struct ToldSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl ToldSignals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

fn failed(error: &dyn Display) -> u8 {
    tracing::error!("{error}");
    Exit::Failed as u8
}
