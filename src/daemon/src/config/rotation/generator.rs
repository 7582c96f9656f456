//! `generator`: how a new value is made.

use leasehold_core::rotation::{Class, Generator, KeyKind, Password, WeakRule};

use super::Told;
use crate::config::section::{Section, proposal};

/// Beside the kinds of key pairs.
const KINDS: [&str; 6] = ["password", "passphrase", "hex", "base64", "uuid", "back-end"];

/// The generator; what is made when nothing is said.
pub(super) fn read(rotation: &Section<'_>) -> Result<Generator, Told> {
    let Some(section) = rotation.try_section("generator") else {
        return if rotation.has("generator") { Err(Told) } else { Ok(Generator::default()) };
    };
    section.one_of("kind", KINDS.into_iter().chain(KeyKind::ALL.map(KeyKind::name)));
    let kind = section.required_at::<String>("kind").ok_or(Told)?;
    let number = |key, default| section.or::<u32>(key, default);
    let made = match kind.value.as_str() {
        "password" => password(&section).map(Generator::Password),
        "passphrase" => Generator::passphrase(number("words", 6), section.or("separator", "-".to_owned())),
        "hex" => Generator::hex(number("bytes", 32)),
        "base64" => Generator::base64(number("bytes", 32)),
        "uuid" => Ok(Generator::Uuid),
        "back-end" => {
            let policy = section.required::<String>("policy").map(Into::into);
            section.report_unknown();
            return Ok(Generator::BackEnd { policy: policy.ok_or(Told)? });
        }
        name => match KeyKind::ALL.into_iter().find(|kind| kind.name() == name) {
            Some(kind) => Ok(Generator::KeyPair(kind)),
            None => {
                let known: Vec<_> = KINDS.into_iter().chain(KeyKind::ALL.map(KeyKind::name)).collect();
                let message = format!("there is no generator `{name}`");
                section.fault(kind.place, message, proposal(name, &known));
                return Err(Told);
            }
        },
    };
    section.report_unknown();
    made.map_err(|why| {
        section.fault(
            kind.place,
            format!("the generator `{}` makes no good values", kind.value),
            why.to_string(),
        );
        Told
    })
}

/// The classes that are named, each with its least number; letters and digits when none is.
fn password(section: &Section<'_>) -> Result<Password, WeakRule> {
    let symbols = section.optional::<String>("symbol_characters");
    let of = |key, characters: &str| {
        let minimum = section.optional::<u32>(key)?;
        Some(Class { characters: characters.into(), minimum })
    };
    let classes = [
        of("lower", Password::LOWER),
        of("upper", Password::UPPER),
        of("digits", Password::DIGITS),
        of("symbols", symbols.as_deref().unwrap_or(Password::SYMBOLS)),
    ];
    let classes: Vec<_> = classes.into_iter().flatten().collect();
    let default = Password::default();
    let length = section.or("length", default.length());
    Password::new(length, if classes.is_empty() { default.classes().to_vec() } else { classes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    fn generator(section: Section<'_>) -> Option<Generator> {
        let read = read(&section).ok();
        section.finish();
        read
    }

    #[test]
    fn every_kind_can_be_written() {
        let class = |characters: &str, minimum| Class { characters: characters.into(), minimum };
        let odd = Password::new(20, vec![class(Password::DIGITS, 2), class("!?", 0)]).unwrap();
        let cases = [
            ("", Generator::default()),
            ("generator = { kind = 'password' }", Generator::default()),
            (
                "generator = { kind = 'password', length = 20, digits = 2, symbols = 0, symbol_characters = '!?' }",
                Generator::Password(odd),
            ),
            (
                "generator = { kind = 'passphrase', words = 8, separator = '.' }",
                Generator::passphrase(8, ".").unwrap(),
            ),
            ("generator = { kind = 'hex', bytes = 16 }", Generator::hex(16).unwrap()),
            ("generator = { kind = 'base64' }", Generator::base64(32).unwrap()),
            ("generator = { kind = 'uuid' }", Generator::Uuid),
            ("generator = { kind = 'ec-p256' }", Generator::KeyPair(KeyKind::P256)),
            ("generator = { kind = 'back-end', policy = 'p' }", Generator::BackEnd { policy: "p".into() }),
        ];
        for (toml, expected) in cases {
            assert_eq!(read_section(toml, generator).unwrap(), expected, "{toml}");
        }
    }

    #[test]
    fn what_makes_no_good_value_is_refused() {
        let cases = [
            ("generator = {}", "`kind` is missing"),
            ("generator = 'hex'", "`generator` is a table"),
            ("generator = { kind = 'hax' }", "there is no generator `hax`\n    did you mean `hex`?"),
            ("generator = { kind = 'hex', bites = 3 }", "did you mean `bytes`?"),
            ("generator = { kind = 'hex', bytes = 7 }", "such a value has 56 bits of randomness"),
            ("generator = { kind = 'password', length = 4 }", "a password has 8 to 1024 characters"),
            ("generator = { kind = 'back-end' }", "`policy` is missing"),
            ("generator = { kind = 'ec-p25' }", "did you mean `ec-p256`?"),
        ];
        for (toml, expected) in cases {
            let faults = faults_of(toml, generator);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
