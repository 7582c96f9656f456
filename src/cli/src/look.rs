//! What the terminal is like: how wide it is, and whether it takes colours.
//!
//! Colours mark what is told in words as well; nothing is told by colour alone.

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal},
};

use clap::{ColorChoice, ValueEnum};
use serde::Deserialize;

/// When colours are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    #[default]
    Auto,
    /// Also into files and pipes.
    Always,
    /// Not at all.
    Never,
}

/// What a stream takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    /// How many characters fit in a line; absent when nobody looks at lines, as in a file.
    pub(crate) width: Option<usize>,
    pub(crate) color: bool,
}

/// What a piece of text means, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Head,
    Good,
    Busy,
    Bad,
    Faint,
}

/// Words of an item's parts that need a person.
const ALARMS: [&str; 12] = [
    "ON HOLD",
    "QUARANTINED",
    "CREDENTIALS WITHOUT A LEASE",
    "REFUSED",
    "FULL",
    "UNAVAILABLE",
    "POISONED",
    "STILL VALID",
    "STILL WORKS",
    "ENDED",
    "NOT RENEWED",
    "NOT COMPARED",
];

/// Columns whose cells are one word of a known set.
const STATES: [&str; 7] = ["STATE", "OUTCOME", "RESULT", "CHANGE", "EVENT", "CURRENT", "VERDICT"];

impl ColorWhen {
    /// What the command line says, before it is understood: its own faults are told in colours, too.
    pub(crate) fn said(words: impl Iterator<Item = OsString>) -> Self {
        let words: Vec<_> = words.collect();
        let next = words.iter().skip(1).map(Some).chain([None]);
        let said = words.iter().zip(next).find_map(|(word, next)| match word.to_str()? {
            "--color" => next?.to_str(),
            word => word.strip_prefix("--color="),
        });
        said.and_then(|word| Self::from_str(word, true).ok()).unwrap_or_default()
    }

    /// Whether so, on a stream that is a terminal or none.
    fn on(self, terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
                terminal && !set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

impl From<ColorWhen> for ColorChoice {
    fn from(when: ColorWhen) -> Self {
        match when {
            ColorWhen::Auto => Self::Auto,
            ColorWhen::Always => Self::Always,
            ColorWhen::Never => Self::Never,
        }
    }
}

impl Look {
    /// Of standard output.
    pub(crate) fn of_stdout(when: ColorWhen) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let width = terminal.then(|| terminal_size::terminal_size_of(&stdout)).flatten();
        Self {
            width: width.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0),
            color: when.on(terminal),
        }
    }

    /// Of standard error.
    pub(crate) fn of_stderr(when: ColorWhen) -> Self {
        let stderr = io::stderr();
        let terminal = stderr.is_terminal();
        let width = terminal.then(|| terminal_size::terminal_size_of(&stderr)).flatten();
        Self {
            width: width.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0),
            color: when.on(terminal),
        }
    }

    /// The text in the colour of what it means (ECMA-48, SGR).
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.color || text.trim().is_empty() => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Head => "1",
            Tone::Good => "32",
            Tone::Busy => "33",
            Tone::Bad => "1;31",
            Tone::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// What a cell of a table means.
pub(crate) fn of_cell(column: &str, cell: &str) -> Tone {
    if !STATES.contains(&column) {
        return Tone::Plain;
    }
    match cell {
        "active" | "ok" | "enabled" | "finished" | "issued" | "renewed" | "moved" | "yes" => Tone::Good,
        "pending" | "revoking" | "draining" | "creating" | "created" | "applied" | "tested" | "retiring"
        | "closing" | "running" | "rotated" | "expiring-soon" | "in-grace" | "disabled" => Tone::Busy,
        "quarantined" | "denied" | "failed" | "FAILED" | "discarding" | "reverting" | "left" => Tone::Bad,
        "revoked" | "expired" | "forgotten" | "retired" | "idle" | "deleted" | "destroyed" | "not tried" => {
            Tone::Faint
        }
        _ => Tone::Plain,
    }
}

/// What a part of an item means.
pub(crate) fn of_part(text: &str) -> Tone {
    if ALARMS.iter().any(|alarm| text.contains(alarm)) { Tone::Bad } else { Tone::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_asked_before_it_is_understood() {
        let said = |line: &str| ColorWhen::said(line.split(' ').map(OsString::from));
        assert_eq!(said("leasehold --color never lease"), ColorWhen::Never);
        assert_eq!(said("leasehold lease --color=always"), ColorWhen::Always);
        assert_eq!((said("leasehold lease"), said("leasehold --color")), (ColorWhen::Auto, ColorWhen::Auto));
    }

    #[test]
    fn what_is_said_goes_before_what_is_found() {
        assert!(ColorWhen::Always.on(false) && !ColorWhen::Never.on(true) && !ColorWhen::Auto.on(false));
    }

    #[test]
    fn colours_are_written_only_where_they_are_wanted() {
        let (plain, bright) = (Look::default(), Look { width: None, color: true });
        assert_eq!(plain.paint(Tone::Bad, "FULL"), "FULL");
        assert_eq!(bright.paint(Tone::Bad, "FULL"), "\x1b[1;31mFULL\x1b[0m");
        assert_eq!(bright.paint(Tone::Good, ""), "");
        assert_eq!((of_cell("STATE", "active"), of_cell("NOTE", "active")), (Tone::Good, Tone::Plain));
        assert_eq!((of_part("embedded, FULL: no room"), of_part("embedded, ok")), (Tone::Bad, Tone::Plain));
    }
}
