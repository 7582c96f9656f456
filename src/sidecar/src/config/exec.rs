//! `[exec]`: how a program is run with the secrets.

use std::time::Duration;

use leasehold_config::{
    Element, Found, Section,
    element::{Wrong, text},
    fault::Place,
    section::proposal,
};
use leasehold_core::secret::FieldName;
use leasehold_programs::{Pace, SignalName, is_variable};

use super::{
    Secret,
    on_change::{Named, Timing, known_secrets, read_settle, read_timing},
};
use crate::name::Name;

/// How a program is run by `leasehold-sidecar exec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// Variables that it gets, and what is in them.
    pub environment: Vec<(String, Part)>,
    /// The secrets that it reads from a descriptor; empty for no descriptor.
    pub fd: Vec<Name>,
    /// The variables of the sidecar itself that it gets all the same.
    pub inherit: Vec<String>,
    /// As whom it runs: a user's name; the sidecar's own user when absent.
    pub user: Option<String>,
    /// What is done when something that it has, or a file, has changed.
    pub on_change: OnProgramChange,
    /// When that is done.
    pub timing: Timing,
    /// What tells it to end.
    pub stop_signal: SignalName,
    /// It has this long to end before it is killed.
    pub grace: Duration,
    /// How fast it may be restarted.
    pub pace: Pace,
    /// What becomes of it when a lease has ended and there is no other.
    pub expired: ProgramExpired,
    /// How long the first secrets may take; for ever when absent.
    pub start_timeout: Option<Duration>,
}

/// What of a secret goes somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The secret's name.
    pub secret: Name,
    /// Its field as it is; all fields as JSON when absent.
    pub field: Option<FieldName>,
}

/// What is done with the program when something has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnProgramChange {
    /// It is ended and started again.
    Restart,
    /// It gets a signal, and reads its files again; it has switched when so much time has passed.
    Signal(SignalName, Duration),
    /// Nothing: it looks by itself, or does without. What it had is kept as long as the broker lets it.
    Nothing,
}

/// What becomes of the program when a lease has ended and there is no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgramExpired {
    /// It goes on.
    #[default]
    Keep,
    /// It is told to end, and the sidecar with it.
    Stop,
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const ZERO: Duration = Duration::ZERO;
/// Container runtimes and systemd wait longer than this before they kill.
const GRACE: Duration = Duration::from_secs(9);
const RESTARTS: u32 = 10;
const START_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn read(section: Section<'_>, secrets: Option<&[Secret]>) -> Option<Exec> {
    let environment = section.try_section("environment");
    let environment = environment.map(|section| read_environment(&section, secrets)).unwrap_or_default();
    let fd = known_secrets(&section, "fd", secrets);
    let inherit = read_inherited(&section);
    let user = section.optional("user");
    let fixed = !environment.is_empty() || !fd.is_empty();
    let on_change = read_on_change(&section, fixed);
    let timing = read_timing(&section);
    let stop_signal = section.or("stop_signal", Named(SignalName::TERM)).0;
    let grace = section.within("grace", GRACE, ZERO..=HOUR);
    let restarts = section.within("restarts", RESTARTS, 1..=1000);
    let within = section.within("restart_window", Duration::from_secs(600), Duration::from_secs(1)..=DAY);
    let expired = section.or("expired", ProgramExpired::Keep);
    let start_timeout = section.or("start_timeout", START_TIMEOUT);
    let start_timeout = (!start_timeout.is_zero()).then_some(start_timeout);
    section.finish();
    let pace = Pace { most: usize::try_from(restarts).unwrap_or(usize::MAX), within };
    Some(Exec {
        environment,
        fd,
        inherit,
        user,
        on_change,
        timing,
        stop_signal,
        grace,
        pace,
        expired,
        start_timeout,
    })
}

/// `DB_PASSWORD = "db/password"`, or `DB = "db"` for all of it.
fn read_environment(section: &Section<'_>, secrets: Option<&[Secret]>) -> Vec<(String, Part)> {
    let mut variables = Vec::new();
    for (variable, Found { value, place }) in section.named_texts() {
        if !is_variable(&variable) {
            let help = "letters, digits and `_`, and no digit first";
            section.fault(place, format!("`{variable}` is no name of a variable"), help);
            continue;
        }
        let [text] = value.as_slice() else {
            section.fault(place, format!("`{variable}` has one value"), "write one text");
            continue;
        };
        if let Some(part) = read_part(section, text, place, secrets) {
            variables.push((variable, part));
        }
    }
    variables
}

fn read_part(section: &Section<'_>, text: &str, place: Place, secrets: Option<&[Secret]>) -> Option<Part> {
    let (secret, field) = match text.split_once('/') {
        Some((secret, field)) => (secret, Some(field)),
        None => (text, None),
    };
    let known = secrets?;
    let Some(found) = known.iter().find(|known| known.name.as_str() == secret) else {
        let names: Vec<_> = known.iter().map(|known| known.name.as_str()).collect();
        let message = format!("there is no [[secret]] of the name `{secret}`");
        section.fault(place, message, proposal(secret, &names));
        return None;
    };
    let field = match field.map(str::parse::<FieldName>) {
        None => None,
        Some(Ok(field)) => Some(field),
        Some(Err(error)) => {
            section.fault(
                place,
                format!("`{text}`: {error}"),
                "write `\"NAME/FIELD\"`, or `\"NAME\"` for all of it",
            );
            return None;
        }
    };
    if let Some(wanted) = &field
        && !found.fields.is_empty()
        && !found.fields.contains(wanted)
    {
        let message = format!("the field `{wanted}` of `{secret}` is not leased");
        section.fault(place, message, "name it in the `fields` of its [[secret]]");
        return None;
    }
    Some(Part { secret: found.name.clone(), field })
}

fn read_inherited(section: &Section<'_>) -> Vec<String> {
    let Some(Found { value, place }) = section.take::<Vec<String>>("inherit") else { return Vec::new() };
    for name in value.iter().filter(|name| !is_variable(name)) {
        section.fault(place.clone(), format!("`{name}` is no name of a variable"), "");
    }
    value
}

/// `fixed`: it has something that does not change as long as it runs.
fn read_on_change(section: &Section<'_>, fixed: bool) -> OnProgramChange {
    section.otherwise("signal", &Named(SignalName::HUP));
    section.otherwise("on_change", &Kind::Restart);
    let signal = section.take::<Named>("signal");
    let settle = read_settle(section, true);
    let kind = section.take::<Kind>("on_change");
    match kind.as_ref().map(|found| found.value) {
        Some(Kind::Signal) => {
            if let (true, Some(kind)) = (fixed, kind) {
                let message =
                    "a signal brings a program no other environment, and nothing else on a descriptor";
                let help = "write `on_change = \"restart\"`, or give it the secrets in files";
                section.fault(kind.place, message, help);
            }
            OnProgramChange::Signal(signal.map_or(SignalName::HUP, |found| found.value.0), settle)
        }
        other => {
            if let Some(signal) = signal {
                section.fault(
                    signal.place,
                    "`signal` goes with `on_change = \"signal\"`",
                    "leave it away; what tells the program to end is `stop_signal`",
                );
            }
            match other {
                Some(Kind::Nothing) => OnProgramChange::Nothing,
                _ => OnProgramChange::Restart,
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Restart,
    Signal,
    Nothing,
}

impl Element for Kind {
    const SHAPE: &'static str = "`\"restart\"`, `\"signal\"` or `\"nothing\"`";

    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Wrong> {
        match text::<Self>(value)? {
            "restart" => Ok(Self::Restart),
            "signal" => Ok(Self::Signal),
            "nothing" => Ok(Self::Nothing),
            _ => Err(Wrong::shape::<Self>()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Restart => "restart",
            Self::Signal => "signal",
            Self::Nothing => "nothing",
        }
        .to_owned()
    }
}

impl Element for ProgramExpired {
    const SHAPE: &'static str = "`\"keep\"` or `\"stop\"`";

    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Wrong> {
        match text::<Self>(value)? {
            "keep" => Ok(Self::Keep),
            "stop" => Ok(Self::Stop),
            _ => Err(Wrong::shape::<Self>()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Keep => "keep",
            Self::Stop => "stop",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    const SECRETS: &str = "[[secret]]\nname = 'db'\npath = 'prod/db'\nfields = ['user', 'password']\n\n\
                           [[secret]]\nname = 'key.pem'\npath = 'prod/key'\n\n[exec]\n";

    fn exec(toml: &str) -> Exec {
        config(&format!("{SECRETS}{toml}")).unwrap().exec
    }

    #[test]
    fn without_a_word_it_is_restarted_and_has_nine_seconds_for_it() {
        let exec = exec("");
        assert_eq!((exec.on_change, exec.grace), (OnProgramChange::Restart, GRACE));
        assert_eq!((exec.expired, exec.stop_signal), (ProgramExpired::Keep, SignalName::TERM));
        assert_eq!(exec.start_timeout, Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_program_is_given_what_is_named() {
        let exec = exec(
            "fd = 'db'\nuser = 'app'\nstop_signal = 'QUIT'\nstart_timeout = '0s'\nrestarts = 3\n\
             [exec.environment]\nPW = 'db/password'\nKEY = 'key.pem'\n",
        );
        let part = |secret: &str, field: Option<&str>| Part {
            secret: secret.parse().unwrap(),
            field: field.map(|field| field.parse().unwrap()),
        };
        let expected =
            [("KEY".to_owned(), part("key.pem", None)), ("PW".to_owned(), part("db", Some("password")))];
        let mut given = exec.environment.clone();
        given.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(given, expected);
        assert_eq!((exec.fd.len(), exec.start_timeout, exec.pace.most), (1, None, 3));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let cases = [
            ("on_change = 'signal'\nfd = 'db'", "a signal brings a program no other environment"),
            ("signal = 'HUP'", "goes with `on_change = \"signal\"`"),
            ("on_change = 'signal'\nsignal = 'KILL'", "a signal is one of"),
            ("on_change = 'reload'", "`\"restart\"`, `\"signal\"` or `\"nothing\"`"),
            ("fd = 'bd'", "did you mean `db`?"),
            ("inherit = 'A B'", "no name of a variable"),
            ("[exec.environment]\n'A-B' = 'db'", "no name of a variable"),
            ("[exec.environment]\nA = 'nobody/x'", "no [[secret]] of the name `nobody`"),
            ("[exec.environment]\nA = 'db/other'", "is not leased"),
            ("[exec.environment]\nA = 'db/a/b'", "a field name is"),
            ("expired = 'remove'", "`\"keep\"` or `\"stop\"`"),
            ("grace = '2h'", "between"),
        ];
        for (toml, expected) in cases {
            let faults = config(&format!("{SECRETS}{toml}\n")).unwrap_err().to_string();
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
