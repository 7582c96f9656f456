//! A command that is run: argv, no shell, and values only on its standard input where that is asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use leasehold_programs::{Ended, Fields, Mask, Run, User, trusted};
use serde::Serialize;
use tokio::process::Command;
use zeroize::Zeroizing;

use super::{ActError, News};
use crate::{name::Name, snapshot::Snapshot};

pub(super) struct Order<'a> {
    pub(super) command: &'a [String],
    pub(super) user: Option<&'a str>,
    pub(super) dir: Option<&'a Path>,
    pub(super) input: &'a [Name],
    pub(super) timeout: Duration,
}

/// The names of what has changed, with a space between them.
const CHANGED: &str = "LEASEHOLD_CHANGED";
/// The number of what is published.
const GENERATION: &str = "LEASEHOLD_GENERATION";

/// One line of JSON on its standard input.
#[derive(Serialize)]
struct Message<'a> {
    changed: BTreeSet<&'a str>,
    secrets: BTreeMap<&'a str, Fields<'a>>,
}

impl Order<'_> {
    pub(super) async fn run(&self, news: &News) -> Result<(), ActError> {
        let program = self.command.first().map(String::as_str).unwrap_or_default();
        trusted(Path::new(program))?;
        let changed: Vec<_> = news.changed.iter().map(Name::as_str).collect();
        let mut command = Command::new(program);
        command
            .args(self.command.iter().skip(1))
            .env_clear()
            .env(CHANGED, changed.join(" "))
            .env(GENERATION, news.snapshot.generation.to_string())
            .current_dir(self.dir.unwrap_or(Path::new("/")));
        if let Some(user) = self.user {
            let user = User::named(user)?;
            user.run(&mut command);
            if let (None, Some(home)) = (self.dir, user.home()) {
                command.current_dir(home);
            }
        }
        run(command, program, message(self.input, news)?, self.timeout, mask(&news.snapshot)).await
    }
}

fn message(input: &[Name], news: &News) -> Result<Zeroizing<Vec<u8>>, ActError> {
    if input.is_empty() {
        return Ok(Zeroizing::default());
    }
    let mut secrets = BTreeMap::new();
    for name in input {
        let loan = news.snapshot.secrets.get(name).ok_or_else(|| ActError::NotHeld(name.clone()))?;
        secrets.insert(name.as_str(), Fields(loan.value()));
    }
    let mut line = Zeroizing::new(Vec::new());
    let changed = news.changed.iter().map(Name::as_str).collect();
    // Writing text to memory cannot fail.
    let _ = serde_json::to_writer(&mut *line, &Message { changed, secrets });
    line.push(b'\n');
    Ok(line)
}

/// What is held is not to be seen in what programs say.
pub(super) fn mask(snapshot: &Snapshot) -> Mask {
    Mask::of(snapshot.secrets.values().map(|loan| loan.value()))
}

/// Runs it, and takes every exit code but 0 for a failure.
pub(super) async fn run(
    command: Command,
    program: &str,
    input: Zeroizing<Vec<u8>>,
    timeout: Duration,
    mask: Mask,
) -> Result<(), ActError> {
    let run = Run { command, input, timeout, mask, name: program, step: "on change" };
    let program = program.to_owned();
    match leasehold_programs::run(run).await {
        Ok(Ended::Code(0)) => Ok(()),
        Ok(Ended::Code(code)) => Err(ActError::Failed { program, code }),
        Ok(Ended::Killed) => Err(ActError::Killed { program }),
        Ok(Ended::TooSlow) => Err(ActError::TooSlow { program, limit: timeout }),
        Err(error) => Err(ActError::NotRun { program, error }),
    }
}
