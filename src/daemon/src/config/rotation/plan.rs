//! `rotation` of a `[[secret]]` or a `[[mount]]`: how it is rotated.

use std::{path::PathBuf, time::Duration};

use leasehold_core::{
    provider::ProviderName,
    rotation::{Generator, Plan, Program, Retire, Rhythm, Strategy, TargetName},
    secret::FieldName,
};
use toml::de::DeValue;

use super::{
    generator,
    schedule::{self, LONGEST, SHORTEST},
};
use crate::config::{
    element::{Element, Wrong, text},
    fault::{Place, Sink},
    provider::{Provider, Unreadable},
    section::{Found, Section, proposal},
};

/// A plan, with where the things stand that must fit other parts of the configuration.
pub(in crate::config) struct Rotated {
    pub(in crate::config) plan: Plan,
    /// Where the strategy stands.
    pub(in crate::config) place: Place,
    target: Option<Found<ProviderName>>,
}

/// What is wrong has been told.
#[derive(Debug)]
pub(in crate::config) struct Told;

const STRATEGIES: [&str; 5] = ["generate", "single", "alternating", "provider-native", "command"];

/// How long after a rotation the revocation of a lease starts none.
const COOL_DOWN: Duration = Duration::from_secs(600);

/// The keys that only some strategies have, with those.
const OF_SOME: [(&str, &[&str]); 10] = [
    ("target", &["single", "alternating"]),
    ("users", &["alternating"]),
    ("command", &["alternating", "command"]),
    ("timeout", &["alternating", "command"]),
    ("user", &["alternating", "command"]),
    ("dir", &["alternating", "command"]),
    ("user_field", &["single", "alternating", "command"]),
    ("field", &["generate", "single", "alternating", "command"]),
    ("public_field", &["generate", "single", "alternating", "command"]),
    ("generator", &["generate", "single", "alternating", "command"]),
];

/// How a secret is rotated; `None` when it is not.
///
/// # Errors
/// When something is wrong, which has been told.
pub(in crate::config) fn read(entry: &Section<'_>) -> Result<Option<Rotated>, Told> {
    let Some(section) = entry.try_section("rotation") else {
        return if entry.has("rotation") { Err(Told) } else { Ok(None) };
    };
    let rotated = read_keys(&section);
    section.report_unknown();
    let rotated = rotated?;
    if entry.has("role") {
        let help = "each lease on it has a credential of its own, which ends with it: leave `rotation` away";
        section.fault(section.place(), "a secret with a `role` is not rotated", help);
        return Err(Told);
    }
    Ok(Some(rotated))
}

/// INVARIANT: every key is asked for before the first `?`, so that every fault is told.
fn read_keys(section: &Section<'_>) -> Result<Rotated, Told> {
    let name = section.required_at::<String>("strategy");
    let target = section.take::<ProviderName>("target");
    let users = section.take::<Vec<String>>("users");
    let program = read_program(section);
    let generator = generator::read(section);
    let schedule = schedule::read(section);
    let field = section.take::<FieldName>("field");
    let public_field = section.take::<FieldName>("public_field");
    let user_field = section.take::<FieldName>("user_field");
    let drain = section.bounded("drain_deadline", Duration::ZERO..=LONGEST);
    let retire = section.take::<Retire>("retire");
    let on_revoke = read_on_revoke(section);
    let max_age = section.bounded("max_age", SHORTEST..=LONGEST);
    say_defaults(section);
    let name = name.ok_or(Told)?;
    if !STRATEGIES.contains(&name.value.as_str()) {
        let message = format!("there is no strategy `{}`", name.value);
        section.fault(name.place, message, proposal(&name.value, &STRATEGIES));
        return Err(Told);
    }
    let strategy = strategy(section, &name, &target, users, program);
    for (key, of) in OF_SOME {
        if section.has(key) && !of.contains(&name.value.as_str()) {
            let message = format!("`{key}` says nothing with `strategy = \"{}\"`", name.value);
            section.fault(section.place_of(key), message, format!("it belongs to `{}`", of.join("`, `")));
        }
    }
    let mut plan = Plan::new(strategy?);
    section.otherwise("field", &plan.field);
    plan.generator = generator?;
    plan.schedule = schedule?;
    plan.on_revoke = on_revoke?;
    if let (Some(max_age), Some(schedule)) = (&max_age, &plan.schedule)
        && let Rhythm::Every(every) = schedule.rhythm
        && max_age.value <= every
    {
        let message = format!("`max_age` is no longer than `every = \"{}\"`", every.show());
        let help = "health would be bad before each rotation: write a longer one";
        section.fault(max_age.place.clone(), message, help);
        return Err(Told);
    }
    if let Some(field) = field {
        plan.field = field.value;
    }
    if let Some(field) = public_field {
        plan.public_field = field.value;
    }
    if let Some(field) = user_field {
        plan.user_field = field.value;
    }
    if let Some(drain) = drain {
        plan.drain = drain.value;
    }
    if let Some(retire) = retire {
        plan.retire = retire.value;
    }
    plan.max_age = max_age.map(|age| age.value);
    distinct(section, &plan)?;
    Ok(Rotated { plan, place: name.place, target })
}

/// What a plan has where nothing is said.
fn say_defaults(section: &Section<'_>) {
    let plan = Plan::new(Strategy::Generate);
    section.one_of("strategy", STRATEGIES);
    section.otherwise("public_field", &plan.public_field);
    section.otherwise("user_field", &plan.user_field);
    section.otherwise("drain_deadline", &plan.drain);
    section.otherwise("retire", &plan.retire);
    section.otherwise("on_revoke", &OnRevoke::Keep);
    section.otherwise("cool_down", &COOL_DOWN);
}

/// The fields of one value have different names.
fn distinct(section: &Section<'_>, plan: &Plan) -> Result<(), Told> {
    let alike = [
        ("user_field", plan.strategy.target().is_some() && plan.user_field == plan.field),
        ("public_field", plan.public_field == plan.field),
    ];
    for (key, alike) in alike {
        if alike {
            let message = format!("`field` and `{key}` are both `{}`", plan.field);
            section.fault(section.place_of(key), message, "give each a name of its own");
            return Err(Told);
        }
    }
    Ok(())
}

fn strategy(
    section: &Section<'_>,
    name: &Found<String>,
    target: &Option<Found<ProviderName>>,
    users: Option<Found<Vec<String>>>,
    program: Result<Option<Program>, Told>,
) -> Result<Strategy, Told> {
    let program = program?;
    let missing = |key: &str, help: &str| {
        // A value of the wrong type has been told.
        section.fault(name.place.clone(), format!("`strategy = \"{}\"` needs `{key}`", name.value), help);
        Told
    };
    const TARGET: &str = "name the provider that accepts the new password, such as one of kind `postgres`";
    let provider = target.as_ref().map(|found| TargetName::Provider(found.value.clone()));
    match name.value.as_str() {
        "generate" => Ok(Strategy::Generate),
        "provider-native" => Ok(Strategy::Native),
        "single" => match provider {
            Some(target) => Ok(Strategy::Single { target }),
            None if section.has("target") => Err(Told),
            None => Err(missing("target", TARGET)),
        },
        "command" => match program {
            Some(program) => Ok(Strategy::Single { target: TargetName::Program(program) }),
            None => Err(missing("command", "name the program that tells whoever accepts the new value")),
        },
        _ => {
            let target = match (provider, program) {
                (Some(_), Some(_)) => {
                    let help = "one of them has the two users: keep that";
                    let message = "`target` and `command` exclude each other";
                    section.fault(section.place_of("command"), message, help);
                    Err(Told)
                }
                (Some(target), None) => Ok(target),
                (None, Some(program)) => Ok(TargetName::Program(program)),
                (None, None) if section.has("target") => Err(Told),
                (None, None) => Err(missing("target", TARGET)),
            };
            let users = read_users(section, users, &missing);
            Ok(Strategy::Alternating { target: target?, users: users? })
        }
    }
}

fn read_users(
    section: &Section<'_>,
    users: Option<Found<Vec<String>>>,
    missing: &dyn Fn(&str, &str) -> Told,
) -> Result<[Box<str>; 2], Told> {
    const USERS: &str = "name two users that exist there, such as `users = [\"app_a\", \"app_b\"]`";
    let Some(users) = users else {
        return Err(if section.has("users") { Told } else { missing("users", USERS) });
    };
    match users.value.as_slice() {
        [one, other] if one != other => Ok([one.as_str().into(), other.as_str().into()]),
        _ => {
            section.fault(users.place, "`users` are two different names", USERS);
            Err(Told)
        }
    }
}

fn read_program(section: &Section<'_>) -> Result<Option<Program>, Told> {
    const LONGEST: Duration = Duration::from_secs(3600);
    let command = section.take::<Vec<String>>("command");
    let timeout = section.within("timeout", Duration::from_secs(30), Duration::from_millis(100)..=LONGEST);
    let user = section.optional::<String>("user");
    let dir = section.optional::<PathBuf>("dir");
    let Some(command) = command else {
        return if section.has("command") { Err(Told) } else { Ok(None) };
    };
    let file = command.value.first().map(String::as_str).unwrap_or_default();
    if !file.starts_with('/') {
        let help = "it runs without an environment, so there is no PATH to look it up in";
        section.fault(
            command.place,
            format!("`command` begins with `{file}`, which is no absolute path"),
            help,
        );
        return Err(Told);
    }
    if let Some(dir) = &dir
        && !dir.is_absolute()
    {
        section.fault(section.place_of("dir"), "`dir` is no absolute path", "write it from `/` on");
        return Err(Told);
    }
    let command = command.value.into_iter().map(Into::into).collect();
    Ok(Some(Program { command, timeout, user: user.map(Into::into), dir }))
}

/// After how long at the soonest the revocation of a lease rotates the secret again, if it does.
fn read_on_revoke(section: &Section<'_>) -> Result<Option<Duration>, Told> {
    let on_revoke = section.take::<OnRevoke>("on_revoke");
    let cool_down = section.bounded("cool_down", Duration::ZERO..=LONGEST);
    match (on_revoke, cool_down) {
        (Some(Found { value: OnRevoke::Rotate, .. }), cool_down) => {
            Ok(Some(cool_down.map_or(COOL_DOWN, |found| found.value)))
        }
        (_, None) => Ok(None),
        (_, Some(cool_down)) => {
            let help = "write `on_revoke = \"rotate\"`, or leave it away";
            section.fault(cool_down.place, "`cool_down` without `on_revoke = \"rotate\"`", help);
            Err(Told)
        }
    }
}

/// What the revocation of a lease does to its secret.
#[derive(Clone, Copy)]
enum OnRevoke {
    Rotate,
    Keep,
}

impl Element for OnRevoke {
    const SHAPE: &'static str = "`\"rotate\"` or `\"keep\"`";

    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        match text::<Self>(value)? {
            "rotate" => Ok(Self::Rotate),
            "keep" => Ok(Self::Keep),
            _ => Err(Wrong::shape::<Self>()),
        }
    }

    fn show(&self) -> String {
        let name = match self {
            Self::Rotate => "rotate",
            Self::Keep => "keep",
        };
        name.to_owned()
    }
}

/// Says what in a plan does not fit the providers.
pub(in crate::config) fn check(
    rotated: &Rotated,
    home: &Provider,
    providers: &[Provider],
    unreadable: &Unreadable,
    sink: &Sink,
) {
    let name = &home.name;
    if rotated.plan.strategy == Strategy::Native && !home.kind.rotates_by_itself() {
        sink.put(
            rotated.place.clone(),
            format!("the back end behind `{name}` rotates nothing by itself"),
            "`provider-native` is for providers of kind `aws` and `vault`: choose another strategy",
        );
    }
    if matches!(rotated.plan.generator, Generator::BackEnd { .. }) && !home.kind.makes_values() {
        sink.put(
            rotated.place.clone(),
            format!("the back end behind `{name}` makes no values by rules of its own"),
            "choose another `generator`",
        );
    }
    let Some(target) = rotated.target.as_ref().filter(|target| !unreadable.has_provider(&target.value))
    else {
        return;
    };
    match providers.iter().find(|provider| provider.name == target.value) {
        Some(provider) if provider.kind.is_target() => {}
        Some(_) => sink.put(
            target.place.clone(),
            format!("`{}` has no users whose passwords could be set", target.value),
            "a target is a provider of kind `postgres`; for anything else, write a `command`",
        ),
        None => {
            let known: Vec<_> = providers.iter().map(|provider| provider.name.as_str()).collect();
            let message = format!("there is no provider `{}`", target.value);
            sink.put(target.place.clone(), message, proposal(target.value.as_str(), &known));
        }
    }
}

#[cfg(feature = "local")]
#[cfg(test)]
mod tests;
