//! `run --once`: writes all files and ends, as an init container or a unit before another does.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    args::Exit,
    clock::{Sources, SystemClock},
    config::Config,
    run::{prepared, starting},
    secrets::Secrets,
    snapshot::Snapshot,
};

/// Writes the files within that time, and leaves their leases to end by themselves.
pub(crate) async fn once(mut config: Config, within: Duration, sources: Sources) -> Exit {
    if config.files.is_none() {
        tracing::error!("there is no [files]: `--once` writes files, and nothing else");
        return Exit::Config;
    }
    // Nobody stays to answer, and what is written is for those who come after.
    config.endpoint = None;
    if let Some(files) = &mut config.files {
        files.remove_on_exit = false;
    }
    let (edition, mut publisher) = match prepared(config) {
        Ok(prepared) => prepared,
        Err(exit) => return exit,
    };
    starting(&edition.config);
    let (config, clock) = (&edition.config, Arc::new(SystemClock::starting(sources)));
    let secrets = Secrets::start(config.broker.clone(), &config.secrets, Snapshot::default(), clock);
    let mut snapshots = secrets.snapshots();
    let held = match timeout(within, snapshots.wait_for(|snapshot| snapshot.is_sound())).await {
        Ok(Ok(snapshot)) => Arc::clone(&snapshot),
        _ => {
            let why = missing(&secrets.snapshots().borrow());
            tracing::error!(
                "nothing is written: not every secret could be leased within {within:?} (`--within`): {why}"
            );
            secrets.close(true).await;
            return Exit::Failed;
        }
    };
    if let Err(error) = publisher.publish(&held).await {
        tracing::error!("nothing is written: {error}");
        secrets.close(true).await;
        return Exit::Failed;
    }
    publisher.finish().await;
    if let Some(end) = held.wanted().map(|(_, loan)| loan.expires_at).min() {
        tracing::info!(
            until = %end,
            "the files are there; nobody renews the leases that they were made of, and the first ends then"
        );
    }
    secrets.close(false).await;
    Exit::Ok
}

/// What is missing, and why.
pub(crate) fn missing(snapshot: &Snapshot) -> String {
    let missing: Vec<_> = snapshot
        .missing()
        .map(|name| match snapshot.troubles.get(name) {
            Some(trouble) => format!("`{name}`: {}", trouble.message),
            None => format!("`{name}`: no answer yet"),
        })
        .collect();
    if missing.is_empty() {
        "they are held, and could not be published".to_owned()
    } else {
        missing.join("; ")
    }
}
