//! Operators' programs as targets of rotations: whatever the broker has no rotator for.
//!
//! A program is started for each step. It gets the step with the values as JSON on its standard input and nothing by its
//! arguments or its environment, ends within its time, and says by its exit code how it went: `docs/rotation.md` is its
//! contract. What it writes to its standard error goes to the log, with the values masked.

mod message;
mod run;

use std::sync::Arc;

use async_trait::async_trait;
use leasehold_core::{
    SecretValue,
    ports::{Programs, Target},
    provider::{ErrorClass, Finding, ProviderError, Trial, Turn},
    rotation::Program,
};
use leasehold_programs::{Ended, Mask};
use tokio::sync::Semaphore;

use self::{
    message::{Step, message},
    run::run,
};

/// Runs programs as this process's children, so many at once.
pub(crate) struct Children {
    turns: Arc<Semaphore>,
}

/// So many programs run at once.
const AT_ONCE: usize = 8;

/// What a program says by its exit code.
mod exit {
    /// It is done; of a test: the value is accepted.
    pub(super) const DONE: i32 = 0;
    /// The target will never take the new value.
    pub(super) const REJECTED: i32 = 10;
    /// Of a test: the value is not accepted.
    pub(super) const REFUSED: i32 = 11;
    /// The program may not do this; nothing has changed.
    pub(super) const DENIED: i32 = 12;
    /// It does not know the step (sysexits: `EX_USAGE`); nothing has changed.
    pub(super) const UNKNOWN_STEP: i32 = 64;
    /// Nothing has changed, and it may work later (sysexits: `EX_TEMPFAIL`).
    pub(super) const TRY_LATER: i32 = 75;
}

impl Children {
    pub(crate) fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Programs for Children {
    fn target(&self, program: &Program) -> Arc<dyn Target> {
        Arc::new(Child { program: program.clone(), turns: self.turns.clone() })
    }
}

struct Child {
    program: Program,
    turns: Arc<Semaphore>,
}

impl Child {
    fn name(&self) -> &str {
        self.program.command.first().map(|file| &**file).unwrap_or_default()
    }

    async fn step(&self, step: Step<'_>, turn: Turn<'_>) -> Result<i32, ProviderError> {
        let _turn = self.turns.acquire().await;
        let mask = Mask::of(turn.old.into_iter().chain([turn.new]));
        let ended = run(&self.program, step.name(), message(step, turn)?, mask).await?;
        match ended {
            Ended::Code(code) => Ok(code),
            Ended::Killed => Err(self.unknown(step, "was ended by a signal")),
            Ended::TooSlow => {
                Err(self.unknown(step, &format!("took longer than {:?} and was ended", self.program.timeout)))
            }
        }
    }

    /// Nobody knows what it has done.
    fn unknown(&self, step: Step<'_>, how: &str) -> ProviderError {
        self.error(ErrorClass::Transient, step, how)
    }

    fn error(&self, class: ErrorClass, step: Step<'_>, how: &str) -> ProviderError {
        ProviderError::new(class, format!("`{}` {how} at the step `{}`", self.name(), step.name()))
    }

    /// An exit code that says no more than that it did not work.
    fn failed(&self, step: Step<'_>, code: i32) -> ProviderError {
        let (class, how) = match code {
            exit::DENIED => (ErrorClass::Denied, "may not do it".to_owned()),
            exit::UNKNOWN_STEP => (ErrorClass::Permanent, "does not know what to do".to_owned()),
            exit::TRY_LATER => (ErrorClass::Throttled, "wants to be asked later".to_owned()),
            code => (ErrorClass::Transient, format!("ended with the exit code {code}")),
        };
        self.error(class, step, &how)
    }
}

#[async_trait]
impl Target for Child {
    async fn apply(&self, turn: Turn<'_>) -> Result<(), ProviderError> {
        match self.step(Step::Apply, turn).await? {
            exit::DONE => Ok(()),
            exit::REJECTED => {
                Err(self.error(ErrorClass::Invalid, Step::Apply, "says that the value will never be taken"))
            }
            code => Err(self.failed(Step::Apply, code)),
        }
    }

    async fn test(&self, turn: Turn<'_>, value: &SecretValue) -> Result<Trial, ProviderError> {
        match self.step(Step::Test(value), turn).await? {
            exit::DONE => Ok(Trial::Accepted),
            exit::REFUSED => Ok(Trial::Refused),
            code => Err(self.failed(Step::Test(value), code)),
        }
    }

    async fn retire(&self, turn: Turn<'_>) -> Result<(), ProviderError> {
        match self.step(Step::Retire, turn).await? {
            exit::DONE => Ok(()),
            code => Err(self.failed(Step::Retire, code)),
        }
    }

    async fn check(&self, turn: Turn<'_>) -> Vec<Finding> {
        let what = format!("run `{}`", self.name());
        let remedy = "see \"Writing a command\" in docs/rotation.md";
        let finding = match self.step(Step::Check, turn).await {
            Ok(exit::DONE) => Finding::passed(what, ""),
            Ok(exit::UNKNOWN_STEP) => Finding::not_tried(what, "the program has no step `check`"),
            Ok(code) => Finding::failed(what, self.failed(Step::Check, code).to_string(), remedy),
            Err(problem) => Finding::failed(what, problem.to_string(), remedy),
        };
        vec![finding]
    }
}

#[cfg(test)]
mod tests;
