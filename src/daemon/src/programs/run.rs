//! One run of a program.

use std::{io, path::Path};

use leasehold_core::{
    provider::{ErrorClass, ProviderError},
    rotation::Program,
};
use leasehold_programs::{Ended, Mask, Run, User, trusted};
use tokio::process::Command;
use zeroize::Zeroizing;

/// Runs a program with `input` on its standard input. When it, or its children, do not end in time, they are ended.
pub(super) async fn run(
    program: &Program,
    step: &'static str,
    input: Zeroizing<Vec<u8>>,
    mask: Mask,
) -> Result<Ended, ProviderError> {
    let name = program.command.first().map(|file| &**file).unwrap_or_default();
    let command = prepare(program).map_err(|why| ProviderError::new(ErrorClass::Permanent, why))?;
    let run = Run { command, input, timeout: program.timeout, mask, name, step };
    leasehold_programs::run(run).await.map_err(|error| not_run(name, program, &error))
}

fn prepare(program: &Program) -> Result<Command, String> {
    let Some((file, arguments)) = program.command.split_first() else {
        return Err("the command is empty".to_owned());
    };
    trusted(Path::new(&**file)).map_err(|why| why.to_string())?;
    let mut command = Command::new(&**file);
    command
        .args(arguments.iter().map(|argument| &**argument))
        .env_clear()
        .current_dir(program.dir.as_deref().unwrap_or(Path::new("/")));
    if let Some(user) = &program.user {
        let user = User::named(user).map_err(|why| why.to_string())?;
        user.run(&mut command);
        if let (None, Some(home)) = (&program.dir, user.home()) {
            command.current_dir(home);
        }
    }
    Ok(command)
}

fn not_run(name: &str, program: &Program, error: &io::Error) -> ProviderError {
    let hint = match (&program.user, error.kind()) {
        (Some(user), io::ErrorKind::PermissionDenied) => {
            format!(": to run it as `{user}` the broker needs CAP_SETUID and CAP_SETGID")
        }
        _ => String::new(),
    };
    ProviderError::new(ErrorClass::Permanent, format!("`{name}` cannot be run: {error}{hint}"))
}
