//! Signals: by their names, and on their way through to a program.

use std::{fmt, future::poll_fn, io, str::FromStr, task::Poll};

use rustix::process::Signal;
use thiserror::Error;
use tokio::signal::unix::{self, SignalKind, signal};

/// A signal that programs are sent, read from its name with or without `SIG`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignalName(Signal);

/// No signal that programs are sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a signal is one of HUP, INT, QUIT, USR1, USR2, ALRM, TERM, CONT, WINCH")]
pub struct UnknownSignal;

/// All of them. Those that a program is stopped by without being asked, and those that tell of its own faults, are not
/// among them.
const NAMED: [(&str, Signal); 9] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("ALRM", Signal::ALARM),
    ("TERM", Signal::TERM),
    ("CONT", Signal::CONT),
    ("WINCH", Signal::WINCH),
];

/// What a terminal sends to everybody in its foreground by itself.
pub(crate) const TYPED: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::WINCH];

impl SignalName {
    /// `SIGTERM`.
    pub const TERM: Self = Self(Signal::TERM);
    /// `SIGHUP`.
    pub const HUP: Self = Self(Signal::HUP);

    /// The signal.
    pub fn signal(self) -> Signal {
        self.0
    }
}

impl FromStr for SignalName {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        let name = text.strip_prefix("SIG").unwrap_or(text);
        let found = NAMED.iter().find(|(known, _)| *known == name);
        found.map(|(_, signal)| Self(*signal)).ok_or(UnknownSignal)
    }
}

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = NAMED.iter().find(|(_, signal)| *signal == self.0);
        write!(f, "SIG{}", found.map(|(name, _)| *name).unwrap_or_default())
    }
}

impl fmt::Debug for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The signals that this process gets and that are meant for the program for which it stands.
pub(crate) struct Forwarded(Vec<(Signal, unix::Signal)>);

impl Forwarded {
    /// From now on none of them ends this process.
    pub(crate) fn listen() -> io::Result<Self> {
        let listened =
            NAMED.iter().map(|(_, each)| Ok((*each, signal(SignalKind::from_raw(each.as_raw()))?)));
        listened.collect::<io::Result<_>>().map(Self)
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.0 {
                if let Poll::Ready(Some(())) = stream.poll_recv(context) {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_known_by_both_its_names() {
        assert_eq!("HUP".parse(), Ok(SignalName::HUP));
        assert_eq!("SIGTERM".parse(), Ok(SignalName::TERM));
        assert_eq!("SIGUSR1".parse::<SignalName>().unwrap().to_string(), "SIGUSR1");
        for bad in ["", "KILL", "9", "hup", "SIGSIGHUP"] {
            assert_eq!(bad.parse::<SignalName>(), Err(UnknownSignal), "{bad}");
        }
    }
}
