//! The configuration, read again on SIGHUP: taken over as a whole when everything that it wants is held, or not at all.
//!
//! Until then the one before it is in force, with its leases and its files. What cannot change while the sidecar runs makes
//! it refuse the whole, so that what is in force is always one file's.

mod waiting;

use std::{convert::Infallible, sync::Arc};

use thiserror::Error;
use tokio::{signal::unix::Signal, sync::watch};

use self::waiting::Waiting;
use crate::{
    config::{Config, Files},
    edition::{Edition, Refused},
    endpoint::Rules,
    publish::{self, PublishError},
    render::RenderError,
    secrets::Secrets,
};

/// How the last reading went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Which edition is in force; 0 is that of the start.
    pub edition: u64,
    /// Why the newest is not, or not yet. Without a line's end.
    pub trouble: Option<Box<str>>,
}

/// Where the others learn what is in force.
pub(crate) struct Reloading<'s> {
    pub(crate) secrets: &'s Secrets,
    pub(crate) editions: watch::Sender<Arc<Edition>>,
    /// Whom the endpoint answers; absent without one.
    pub(crate) rules: Option<watch::Sender<Arc<Rules>>>,
    pub(crate) standing: watch::Sender<Standing>,
}

/// Why a reading is not taken over.
#[derive(Debug, Error)]
enum NotTaken {
    #[error(transparent)]
    Faulty(#[from] leasehold_config::Faults),
    #[error("{} cannot change while the sidecar runs: restart it, nothing of the file is taken over before", .0.join(" and "))]
    Restart(Vec<&'static str>),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    Directory(#[from] PublishError),
}

impl Reloading<'_> {
    /// Reads it each time that somebody hangs up. One that waits for its secrets is given up for the next.
    pub(crate) async fn run(&self, hangups: &mut Signal) -> Infallible {
        let mut asked = false;
        loop {
            if !std::mem::take(&mut asked) {
                hangups.recv().await;
            }
            tokio::select! {
                outcome = self.take() => {
                    if let Err(error) = outcome {
                        self.refuse(&error);
                    }
                }
                _ = hangups.recv() => asked = true,
            }
        }
    }

    async fn take(&self) -> Result<(), NotTaken> {
        let before = Arc::clone(&self.editions.borrow());
        let file = &before.config.file;
        tracing::info!("reading {} again", file.display());
        let config = Config::load(file)?;
        let fixed = needs_start(&before.config, &config);
        if !fixed.is_empty() {
            return Err(NotTaken::Restart(fixed));
        }
        if let Some(files) = &config.files {
            publish::check(files)?;
        }
        let edition = Edition::new(before.number.saturating_add(1), config)?;
        let (wanted, number) = (&edition.config.secrets, edition.number);
        let mut waiting = Waiting::default();
        let staging = self.secrets.stage(wanted, |progress| {
            let Some(why) = waiting.see(progress) else { return };
            if let Some(why) = &why {
                tracing::warn!("the configuration before stays in force: {why}");
            }
            self.tell(why);
        });
        let staged = staging.await;
        let prospect = Arc::new(self.secrets.prospect(&staged, wanted, number));
        if prospect.is_complete() {
            edition.renderer.render(&prospect, &Default::default())?;
        }
        self.put_in_force(edition, |wanted| self.secrets.adopt(staged, wanted, number));
        Ok(())
    }

    /// From here on everything goes by it. Nothing waits in here: nobody sees a half of it.
    fn put_in_force(&self, edition: Edition, adopt: impl FnOnce(&[crate::config::Secret])) {
        let edition = Arc::new(edition);
        if let (Some(told), Some(rules)) = (&self.rules, &edition.rules) {
            told.send_replace(Arc::clone(rules));
        }
        self.editions.send_replace(Arc::clone(&edition));
        adopt(&edition.config.secrets);
        self.standing.send_replace(Standing { edition: edition.number, trouble: None });
        tracing::info!(
            edition = edition.number,
            secrets = edition.config.secrets.len(),
            files = edition.config.file_list.len(),
            "the configuration is taken over"
        );
    }

    fn refuse(&self, error: &NotTaken) {
        tracing::error!("the configuration is not taken over, and the one before stays in force: {error}");
        self.tell(Some(one_line(&error.to_string())));
    }

    fn tell(&self, trouble: Option<String>) {
        self.standing.send_modify(|standing| standing.trouble = trouble.map(Into::into));
    }
}

/// The sections whose change takes a start.
fn needs_start(before: &Config, after: &Config) -> Vec<&'static str> {
    let dir = |config: &Config| config.files.as_ref().map(|files| files.dir.clone());
    // The directory is theirs, too.
    let whose = |config: &Config| {
        let whose = |files: &Files| (files.owner.clone(), files.group.clone());
        config.files.as_ref().map(whose).unwrap_or_default()
    };
    let listening = |config: &Config| {
        config.endpoint.clone().map(|mut endpoint| {
            endpoint.allow.clear();
            if let Some(aws) = &mut endpoint.aws {
                aws.ids.clear();
                aws.token_file = std::path::PathBuf::new();
            }
            endpoint
        })
    };
    [
        ("[broker]", before.broker != after.broker),
        ("`dir` of [files]", dir(before) != dir(after)),
        ("`owner` or `group` of [files]", whose(before) != whose(after)),
        ("where and how [endpoint] listens", listening(before) != listening(after)),
        ("[health]", before.health != after.health),
        ("[cache]", before.cache != after.cache),
        ("[log]", before.log != after.log),
    ]
    .into_iter()
    .filter_map(|(what, is_other)| is_other.then_some(what))
    .collect()
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use leasehold_config::Source;

    use super::*;

    const TEXT: &str = "[broker]\naddresses = 'b'\nidentity = 'i'\n[[secret]]\nname = 'db'\npath = 'prod/db'\n\
        [files]\ndir = 'run'\n[[file]]\nname = 'db'\nsecret = 'db'\n\
        [endpoint]\nsocket = 's'\ngroup = 'root'\nallow = ['root']\n[endpoint.aws]\nlisten = '127.0.0.1:1'\ntoken_file = 't'\n\
        [health]\nsocket = 'h'\n[cache]\nfile = 'c'\n";

    #[test]
    fn what_takes_a_start_is_named_and_nothing_else() {
        let parse = |text: &str| {
            Config::parse(&Source::new("/etc/s.toml", text)).unwrap_or_else(|faults| panic!("{faults}"))
        };
        let before = parse(TEXT);
        for (from, to, expected) in [
            ("addresses = 'b'", "addresses = 'c'", "[broker]"),
            // The cache's key follows from it.
            ("identity = 'i'", "identity = 'j'", "[broker] [cache]"),
            ("dir = 'run'", "dir = 'other'", "`dir` of [files]"),
            ("dir = 'run'", "dir = 'run'\nowner = 'root'", "`owner` or `group` of [files]"),
            ("dir = 'run'", "dir = 'run'\ngroup = 'root'", "`owner` or `group` of [files]"),
            ("socket = 's'", "socket = 'z'", "where and how [endpoint] listens"),
            ("127.0.0.1:1", "127.0.0.1:2", "where and how [endpoint] listens"),
            ("socket = 'h'", "socket = 'z'", "[health]"),
            ("file = 'c'", "file = 'd'", "[cache]"),
            ("[cache]", "[log]\nlevel = 'debug'\n[cache]", "[log]"),
            ("[cache]\nfile = 'c'\n", "", "[cache]"),
            // These are taken over.
            ("path = 'prod/db'", "path = 'prod/other'", ""),
            ("dir = 'run'", "dir = 'run'\nmode = '0440'\nexpired = 'remove'", ""),
            ("allow = ['root']", "allow = []", ""),
            ("token_file = 't'", "token_file = 'u'", ""),
            ("[health]", "[[on_change]]\nunit = 'a.service'\n[health]", ""),
        ] {
            assert!(TEXT.contains(from), "{from}");
            assert_eq!(needs_start(&before, &parse(&TEXT.replace(from, to))).join(" "), expected, "{to}");
        }
    }

    #[test]
    fn what_is_told_is_one_line() {
        assert_eq!(one_line("a:1:1: x\n    y\nb"), "a:1:1: x; y; b");
    }
}
