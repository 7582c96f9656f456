//! `leasehold`: the command line of operators, and of workloads that are scripts.
//!
//! It asks the broker over gRPC, reads audit journals and policies that are on this machine, and shows a newcomer
//! around (`quickstart`). It decides nothing: what is allowed is for the broker to say.

mod args;
mod audit;
mod clock;
mod confirm;
mod connection;
mod duration;
mod exit;
mod hold;
mod lease;
mod orphan;
mod output;
mod policy;
mod provider;
mod quickstart;
mod revocation;
mod rotation;
mod secret;
mod shell;
mod status;
mod value;

use std::{alloc::System, io::Write, process::ExitCode};

use clap::Parser;
use zeroizing_alloc::ZeroAlloc;

use crate::{
    args::{Cli, Command},
    exit::{Exit, Failure},
    output::Output,
};

/// What held a value is wiped when it is freed.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { exit, message }) => {
            if exit != Exit::Unread {
                // When nobody reads standard error either, the code has to do.
                let _ = writeln!(std::io::stderr(), "leasehold: {message}");
            }
            exit.into()
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(cli: Cli) -> Result<(), Failure> {
    let mut output = Output::new(cli.output);
    match cli.command {
        Command::Quickstart(arguments) => quickstart::run(arguments, &mut output).await,
        Command::Lease { command } => lease::run(command, &cli.connection, &mut output).await,
        Command::Secret { command } => secret::run(command, &cli.connection, &mut output).await,
        Command::Audit { command } => audit::run(command, &cli.connection, &mut output).await,
        Command::Status => status::run(&cli.connection, &mut output).await,
        Command::Revocation { command } => revocation::run(command, &cli.connection, &mut output).await,
        Command::Rotation { command } => rotation::run(command, &cli.connection, &mut output).await,
        Command::Hold { command } => hold::run(command, &cli.connection, &mut output).await,
        Command::Orphan { command } => orphan::run(command, &cli.connection, &mut output).await,
        Command::Provider { command } => provider::run(command, &cli.connection, &mut output).await,
        Command::Policy { command } => policy::run(command, &mut output),
        Command::Completions { shell } => shell::completions(shell, &mut output),
        Command::Man { dir } => shell::man(dir.as_deref(), &mut output),
    }
}
