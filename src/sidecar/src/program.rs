//! The program: what each command does, and how it ends.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

use crate::{
    args::{Cli, Command, ConfigFile, ExecArgs, Exit, GetArgs},
    config::Config,
    hardening, health, log, run,
};

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    match Cli::parse().into_command() {
        Command::Run(file) => keep(&file, Vec::new()),
        Command::Exec(ExecArgs { config, program }) => keep(&config, program),
        Command::Check(arguments) => health::check(&arguments).into(),
        Command::CheckConfig(file) => check_config(&file).into(),
        Command::Get(arguments) => get(&arguments).into(),
    }
}

/// `run`, and `exec` with a program.
fn keep(file: &ConfigFile, program: Vec<std::ffi::OsString>) -> ExitCode {
    // Before any thread is started, and before anything secret is read.
    let measures = hardening::harden();
    let config = match Config::load(&file.config) {
        Ok(config) => config,
        Err(faults) => {
            say(&faults);
            return Exit::Config.into();
        }
    };
    if let Err(error) = log::start(&config.log) {
        say(&error);
        return Exit::Config.into();
    }
    for measure in &measures {
        if let Err(why) = &measure.outcome {
            tracing::warn!("{} cannot be had: {why}", measure.name);
        }
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&error);
            return Exit::Failed.into();
        }
    };
    ExitCode::from(runtime.block_on(run::run(config, program)))
}

fn check_config(file: &ConfigFile) -> Exit {
    match Config::load(&file.config) {
        Ok(_) => Exit::Ok,
        Err(faults) => {
            say(&faults);
            Exit::Config
        }
    }
}

fn get(arguments: &GetArgs) -> Exit {
    let _ = arguments;
    Exit::Failed
}

/// For people, on standard error; when nobody reads it, the code has to do.
fn say(message: &dyn Display) {
    let _ = writeln!(io::stderr(), "leasehold-sidecar: {message}");
}
