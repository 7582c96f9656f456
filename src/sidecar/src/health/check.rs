//! `leasehold-sidecar check`: asks a running sidecar how it is, for people and for orchestrators.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{LIVE, Report, STATUS};
use crate::{
    args::{CheckArgs, Exit},
    config::Config,
};

/// Nobody waits longer than this for each piece of an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than any report.
const LONGEST: u64 = 4 * 1024 * 1024;

/// Asks the sidecar of this configuration, and says what it says: [`Exit::Ok`] when it is ready, [`Exit::Unwell`] when it
/// runs and is not, [`Exit::Failed`] when it does not answer.
pub fn check(arguments: &CheckArgs) -> Exit {
    let socket = match &arguments.socket {
        Some(socket) => socket.clone(),
        None => match configured(arguments) {
            Ok(socket) => socket,
            Err(exit) => return exit,
        },
    };
    let socket = socket.as_path();
    if arguments.live {
        return match ask(socket, LIVE) {
            Ok(_) => Exit::Ok,
            Err(error) => complain(Exit::Failed, &unanswered(socket, &error)),
        };
    }
    let body = match ask(socket, STATUS) {
        Ok(body) => body,
        Err(error) => return complain(Exit::Failed, &unanswered(socket, &error)),
    };
    let Ok(report) = serde_json::from_slice::<Report>(&body) else {
        return complain(Exit::Failed, &format!("what answers at {} is no sidecar", socket.display()));
    };
    let text = if arguments.json { format!("{}\n", String::from_utf8_lossy(&body)) } else { shown(&report) };
    // When nobody reads it, the code has to do.
    let _ = io::stdout().write_all(text.as_bytes());
    if report.ready { Exit::Ok } else { Exit::Unwell }
}

/// Where the configuration says that the sidecar answers.
fn configured(arguments: &CheckArgs) -> Result<PathBuf, Exit> {
    let config = Config::load(&arguments.config.config).map_err(|faults| complain(Exit::Config, &faults))?;
    let health = config.health.ok_or_else(|| {
        let why = "the configuration has no [health]: add it with a `socket`, and start the sidecar anew";
        complain(Exit::Config, &why)
    })?;
    Ok(health.socket.path)
}

/// The report for people: a line for all, and one for each secret that is not as it should be.
fn shown(report: &Report) -> String {
    let mut text = format!("{report}\n");
    for secret in
        report.secrets.iter().filter(|secret| secret.standing != "fresh" || secret.trouble.is_some())
    {
        text.push_str(&format!("  {}: {}", secret.name, secret.standing));
        if let Some(end) = secret.expires_at {
            text.push_str(&format!(", lease until {end}"));
        }
        if let Some(trouble) = &secret.trouble {
            text.push_str(&format!(": {trouble}"));
        }
        text.push('\n');
    }
    text
}

/// The body of the answer to one request; HTTP/1.1 as far as our own server speaks it.
pub(super) fn ask(socket: &Path, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    body_of(&answer)
        .map(<[u8]>::to_vec)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no answer"))
}

fn body_of(answer: &[u8]) -> Option<&[u8]> {
    const END: &[u8] = b"\r\n\r\n";
    let head = answer.windows(END.len()).position(|window| window == END)?;
    let (head, body) = answer.split_at_checked(head.checked_add(END.len())?)?;
    (head.starts_with(b"HTTP/1.1 200 ")).then_some(body)
}

fn unanswered(socket: &Path, error: &io::Error) -> String {
    format!("no sidecar answers at {}: {error}", socket.display())
}

fn complain(exit: Exit, why: &dyn std::fmt::Display) -> Exit {
    let _ = writeln!(io::stderr(), "leasehold-sidecar: {why}");
    exit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_body() {
        assert_eq!(body_of(b"HTTP/1.1 200 OK\r\na: b\r\n\r\n{}"), Some(&b"{}"[..]));
        for other in ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 503 No\r\n\r\n{}", "", "\r\n\r\n"] {
            assert_eq!(body_of(other.as_bytes()), None, "{other:?}");
        }
    }
}
