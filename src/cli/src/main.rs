//! `leasehold`: the command line of operators, and of workloads that are scripts.
//!
//! It asks the broker over gRPC, reads audit journals and policies that are on this machine, and shows a newcomer
//! around (`quickstart`). It decides nothing: what is allowed is for the broker to say.

mod again;
mod args;
mod audit;
mod clock;
mod complete;
mod config;
mod confirm;
mod connection;
mod context;
mod duration;
mod examples;
mod exit;
mod hold;
mod lease;
mod look;
mod orphan;
mod output;
mod policy;
mod progress;
mod provider;
mod quickstart;
#[cfg(test)]
mod reference;
mod revocation;
mod rotation;
mod secret;
mod settings;
mod shell;
#[cfg(test)]
mod snapshot;
mod status;
mod table;
mod told;
mod top;
mod value;
mod why;

use std::{alloc::System, env, io::Write, process::ExitCode};

use clap::FromArgMatches;
use clap_complete::CompleteEnv;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use zeroizing_alloc::ZeroAlloc;

use crate::{
    args::{Cli, Command},
    exit::{Exit, Failure},
    look::{ColorWhen, Look, Tone},
    output::Output,
    settings::Settings,
};

/// What held a value is wiped when it is freed.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    // No value goes into a core dump. A program that is run with a secret is as dumpable as it would be without.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // A shell that asks for completions sets `COMPLETE`; then this does not return.
    CompleteEnv::with_factory(args::command).complete();
    let color = ColorWhen::said(env::args_os());
    let matches = args::command().color(color.into()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|why| why.exit());
    let settings = Settings::resolve(&cli.options, &matches);
    let color = settings.as_ref().map_or(color, |settings| settings.color.value);
    let done = match (cli.command, settings) {
        // They are about the program itself, so nothing that is configured can stand in their way.
        (Command::Completions { shell }, _) => shell::completions(shell, &mut Output::plain()),
        (Command::Man { dir }, _) => shell::man(dir.as_deref(), &mut Output::plain()),
        (command, settings) => settings.and_then(|settings| run(command, &settings)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { exit, message }) => {
            if exit != Exit::Unread {
                let name = Look::of_stderr(color).paint(Tone::Bad, "leasehold:");
                // When nobody reads standard error either, the code has to do.
                let _ = writeln!(std::io::stderr(), "{name} {message}");
            }
            exit.into()
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(command: Command, settings: &Settings) -> Result<(), Failure> {
    let mut output = Output::new(settings.output.value, Look::of_stdout(settings.color.value));
    let (connection, output) = (settings.connection(), &mut output);
    match command {
        Command::Quickstart(arguments) => quickstart::run(arguments, output).await,
        Command::Lease { command } => lease::run(command, &connection, output).await,
        Command::Secret { command } => secret::run(command, &connection, output).await,
        Command::Audit { command } => audit::run(command, &connection, output).await,
        Command::Status { again } => status::run(again, &connection, output).await,
        Command::Top(arguments) => {
            top::run(arguments, &connection, Look::of_stdout(settings.color.value), output).await
        }
        Command::Revocation { command } => revocation::run(command, &connection, output).await,
        Command::Rotation { command } => rotation::run(command, &connection, output).await,
        Command::Hold { command } => hold::run(command, &connection, output).await,
        Command::Orphan { command } => orphan::run(command, &connection, output).await,
        Command::Provider { command } => provider::run(command, &connection, output).await,
        Command::Policy { command } => policy::run(command, output),
        Command::Config { command } => config::run(&command, settings, output),
        Command::Context { command } => context::run(command, settings, output),
        Command::Completions { shell } => shell::completions(shell, output),
        Command::Man { dir } => shell::man(dir.as_deref(), output),
    }
}
