//! `[[on_change]]`: who is told of a change, and how.

use std::{path::PathBuf, time::Duration};

use leasehold_config::{
    Element, Found, Section,
    element::{Wrong, text},
    section::proposal,
};
use leasehold_programs::SignalName;

use super::Secret;
use crate::name::Name;

/// One thing to do when something has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnChange {
    /// Only when one of these secrets or files has changed; empty means on any change.
    pub only_for: Vec<Name>,
    /// What is done.
    pub deed: Deed,
    /// When it is done.
    pub timing: Timing,
    /// So much later those who were told are taken to use what is new.
    pub settle: Duration,
    /// It may take so long.
    pub timeout: Duration,
    /// How often it is tried again when it fails.
    pub retries: u32,
    /// Whether it is done for what there is at the start, too.
    pub on_start: bool,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A process gets a signal.
    Signal {
        /// The file that its id is in.
        pid_file: PathBuf,
        /// The signal.
        signal: SignalName,
    },
    /// A unit of systemd is told.
    Unit {
        /// The unit.
        unit: UnitName,
        /// What it is told.
        order: UnitOrder,
    },
    /// A program is run.
    Command {
        /// The program's absolute path, and its arguments.
        command: Vec<String>,
        /// As whom: a user's name; the sidecar's own user when absent.
        user: Option<String>,
        /// Where; `/` when absent.
        dir: Option<PathBuf>,
        /// The secrets that it gets on its standard input.
        input: Vec<Name>,
    },
}

/// A unit's name (systemd.unit(5)): 1 to 255 characters of `A-Z a-z 0-9 : _ . \ @ -`, of which a dot and its kind are the
/// last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitName(Box<str>);

/// What a unit is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitOrder {
    /// To read its configuration again.
    Reload,
    /// To restart, when it runs.
    Restart,
    /// This signal, for its main process.
    Signal(SignalName),
}

/// When something is done after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// When nothing else has changed for so long,
    pub debounce: Duration,
    /// and then at some moment of this time, so that a fleet does not do it at once.
    pub splay: Duration,
}

const HOUR: Duration = Duration::from_secs(3600);
const ZERO: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);

/// `known` are the names of all secrets and files; `None` when they could not be read.
pub(super) fn read_all(
    sections: Vec<Section<'_>>,
    known: &Option<Vec<&str>>,
    secrets: Option<&[Secret]>,
) -> Option<Vec<OnChange>> {
    let read: Vec<_> = sections.into_iter().map(|section| read(section, known.as_deref(), secrets)).collect();
    read.into_iter().collect()
}

fn read(section: Section<'_>, known: Option<&[&str]>, secrets: Option<&[Secret]>) -> Option<OnChange> {
    let only_for = names(&section, "only_for", known);
    let deed = read_deed(&section, secrets);
    let timing = read_timing(&section);
    let settle = read_settle(&section, !section.has("command"));
    let timeout = section.within("timeout", Duration::from_secs(60), SECOND..=HOUR);
    let retries = section.within("retries", 3, 0..=100);
    let on_start = section.or("on_start", false);
    section.finish();
    Some(OnChange { only_for, deed: deed?, timing, settle, timeout, retries, on_start })
}

pub(super) fn read_timing(section: &Section<'_>) -> Timing {
    Timing {
        debounce: section.within("debounce", SECOND, ZERO..=HOUR),
        splay: section.within("splay", ZERO, ZERO..=HOUR.saturating_mul(24)),
    }
}

/// Who gets a signal needs a moment; who was waited for needs none.
pub(super) fn read_settle(section: &Section<'_>, takes_time: bool) -> Duration {
    let default = if takes_time { SECOND.saturating_mul(5) } else { ZERO };
    section.within("settle", default, ZERO..=HOUR)
}

/// Names of secrets that there are.
pub(super) fn known_secrets(
    section: &Section<'_>,
    key: &'static str,
    secrets: Option<&[Secret]>,
) -> Vec<Name> {
    let known = secrets.map(|secrets| secrets.iter().map(|secret| secret.name.as_str()).collect::<Vec<_>>());
    names(section, key, known.as_deref())
}

fn names(section: &Section<'_>, key: &'static str, known: Option<&[&str]>) -> Vec<Name> {
    let Some(Found { value, place }) = section.take::<Vec<Name>>(key) else { return Vec::new() };
    if let Some(known) = known {
        for name in value.iter().filter(|name| !known.contains(&name.as_str())) {
            let message = format!("`{key}` names `{name}`, which is not there");
            section.fault(place.clone(), message, proposal(name.as_str(), known));
        }
    }
    value
}

fn read_deed(section: &Section<'_>, secrets: Option<&[Secret]>) -> Option<Deed> {
    section.otherwise("order", &Order::Reload);
    section.otherwise("signal", &Named(SignalName::HUP));
    let pid_file = section.path("pid_file");
    let unit = section.take::<UnitName>("unit");
    let order = section.take::<Order>("order");
    let signal = section.take::<Named>("signal");
    let command = section.take::<Vec<String>>("command");
    let user = section.optional("user");
    let dir = section.path("dir");
    let input = known_secrets(section, "input", secrets);
    let ways = ["pid_file", "unit", "command"].map(|key| section.has(key));
    let [by_pid_file, by_unit, by_command] = ways;
    for (key, of, goes) in [
        ("order", "unit", by_unit),
        ("signal", "pid_file` or `unit", by_pid_file || by_unit),
        ("user", "command", by_command),
        ("dir", "command", by_command),
        ("input", "command", by_command),
    ] {
        if section.has(key) && !goes {
            section.fault(section.place_of(key), format!("`{key}` goes with `{of}`"), "leave it away");
        }
    }
    match ways {
        [true, false, false] => {
            let signal = signal.map_or(SignalName::HUP, |found| found.value.0);
            Some(Deed::Signal { pid_file: pid_file?, signal })
        }
        [false, true, false] => {
            let order = match (order, signal) {
                (Some(order), Some(_)) => {
                    section.fault(order.place, "there is `order`, and there is `signal`", "leave one away");
                    return None;
                }
                (None, Some(signal)) => UnitOrder::Signal(signal.value.0),
                (Some(Found { value: Order::Restart, .. }), None) => UnitOrder::Restart,
                (_, None) => UnitOrder::Reload,
            };
            Some(Deed::Unit { unit: unit?.value, order })
        }
        [false, false, true] => {
            let Found { value: command, place } = command?;
            if command.first().is_none_or(|program| !program.starts_with('/')) {
                let help = "write `[\"/usr/bin/program\", \"argument\"]`; there is no shell";
                section.fault(place, "`command` does not begin with a program's absolute path", help);
                return None;
            }
            Some(Deed::Command { command, user, dir, input })
        }
        _ => {
            let help = "write one of `pid_file`, `unit` and `command`";
            section.fault(section.place(), "[[on_change]] does not say in one way what is to be done", help);
            None
        }
    }
}

impl UnitName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Element for UnitName {
    const SHAPE: &'static str = "a unit's name such as `nginx.service`";

    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Wrong> {
        let name = text::<Self>(value)?;
        let of_a_kind = name.rsplit_once('.').is_some_and(|(name, kind)| {
            !name.is_empty() && !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase())
        });
        let ok = name.len() <= 255
            && of_a_kind
            && !name.starts_with('-')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b":_.\\@-".contains(&b));
        if ok { Ok(Self(name.into())) } else { Err(Wrong::shape::<Self>()) }
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

#[derive(Clone, Copy)]
enum Order {
    Reload,
    Restart,
}

impl Element for Order {
    const SHAPE: &'static str = "`\"reload\"` or `\"restart\"`";

    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Wrong> {
        match text::<Self>(value)? {
            "reload" => Ok(Self::Reload),
            "restart" => Ok(Self::Restart),
            _ => Err(Wrong::shape::<Self>()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Reload => "reload",
            Self::Restart => "restart",
        }
        .to_owned()
    }
}

/// A signal as the configuration names it.
#[derive(Clone, Copy)]
pub(super) struct Named(pub(super) SignalName);

impl Element for Named {
    const SHAPE: &'static str = "a signal's name such as `HUP`";

    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Wrong> {
        let name = text::<Self>(value)?;
        name.parse().map(Self).map_err(|error| Wrong(format!("is not {}: {error}", Self::SHAPE)))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    fn on_change(toml: &str) -> Result<OnChange, String> {
        let whole = format!(
            "[[secret]]\nname = 'db'\npath = 'prod/db'\n[files]\ndir = '/run/x'\n[[file]]\nname = 'db.env'\n\
             secret = 'db'\n[[on_change]]\n{toml}\n"
        );
        config(&whole).map(|mut config| config.on_change.remove(0)).map_err(|faults| faults.to_string())
    }

    #[test]
    fn three_ways_to_tell() {
        let told = on_change("pid_file = '/run/nginx.pid'").unwrap();
        assert_eq!(told.deed, Deed::Signal { pid_file: "/run/nginx.pid".into(), signal: SignalName::HUP });
        assert_eq!((told.settle, told.timing.debounce), (Duration::from_secs(5), SECOND));
        let unit = UnitName("a@b.service".into());
        let told = on_change("unit = 'a@b.service'\nsignal = 'USR1'").unwrap();
        let order = UnitOrder::Signal("USR1".parse().unwrap());
        assert_eq!(told.deed, Deed::Unit { unit, order });
        let told = on_change("command = ['/bin/x', '-a']\ninput = 'db'\nonly_for = 'db.env'").unwrap();
        assert_eq!((told.settle, told.only_for.len()), (ZERO, 1));
        assert!(
            matches!(told.deed, Deed::Command { command, input, .. } if command.len() == 2 && input.len() == 1)
        );
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let cases = [
            ("", "does not say in one way what is to be done"),
            ("unit = 'a.service'\ncommand = '/bin/x'", "does not say in one way"),
            ("command = 'x y'", "there is no shell"),
            ("command = '/bin/x'\nsignal = 'HUP'", "`signal` goes with `pid_file` or `unit`"),
            ("unit = 'a.service'\nuser = 'x'", "`user` goes with `command`"),
            ("unit = 'a.service'\norder = 'reload'\nsignal = 'HUP'", "leave one away"),
            ("unit = 'nginx'", "a unit's name such as"),
            ("unit = '-H.service'", "a unit's name such as"),
            ("unit = 'a b.service'", "a unit's name such as"),
            ("command = '/bin/x'\nonly_for = 'bd'", "did you mean `db`?"),
            ("command = '/bin/x'\ninput = 'db.env'", "which is not there"),
            ("pid_file = '/x'\nsignal = 'STOP'", "a signal is one of"),
            ("pid_file = '/x'\ntimeout = '0s'", "between"),
        ];
        for (toml, expected) in cases {
            let faults = on_change(toml).unwrap_err();
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
