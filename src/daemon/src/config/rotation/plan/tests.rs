//! What `rotation` may say, and what it may not.

use super::*;
use crate::config::{Config, Faults, tests::main_with};

#[cfg(feature = "postgres")]
const PROVIDERS: &str = "[[provider]]\nname = 'pg'\nkind = 'postgres'\naddress = 'db.example.org:5432'\n\
                         administrator = { secret = 'prod/admin' }\n\
                         [[secret]]\npath = 'prod/admin'\nprovider = 'main'\nref = 'admin'\n";

fn load(rotation: &str, more: &str) -> Result<Config, Faults> {
    let secret = format!(
        "[[secret]]\npath = 'prod/a'\nprovider = 'main'\nref = 'a'\n[secret.rotation]\n{rotation}\n{more}"
    );
    Config::parse(&main_with(&secret), &[])
}

fn plan(rotation: &str) -> Plan {
    let config = load(rotation, "").unwrap_or_else(|faults| panic!("{rotation:?} gave\n{faults}"));
    let entry = config.catalog.resolve(&"prod/a".parse().unwrap()).unwrap().entry;
    entry.rotation.as_deref().unwrap().clone()
}

#[test]
fn a_strategy_is_enough() {
    assert_eq!(plan("strategy = 'generate'"), Plan::new(Strategy::Generate));
    let inline = "[[secret]]\npath = 'prod/a'\nprovider = 'main'\nref = 'a'\nrotation = { strategy = 'generate' }\n\
                  [[mount]]\nprefix = 'dev/'\nprovider = 'main'\nref = 'x/{rest}'\nrotation = { strategy = 'generate' }";
    let config = Config::parse(&main_with(inline), &[]).unwrap();
    for path in ["prod/a", "dev/b/c"] {
        assert!(config.catalog.resolve(&path.parse().unwrap()).unwrap().entry.rotation.is_some(), "{path}");
    }
}

#[test]
fn every_key_arrives() {
    let plan = plan(
        "strategy = 'command'\ncommand = ['/usr/local/bin/rotate', '--now']\ntimeout = '5s'\nuser = 'nobody'\n\
         dir = '/var/empty'\nfield = 'key'\npublic_field = 'pub'\nuser_field = 'login'\n\
         generator = { kind = 'hex', bytes = 16 }\ndrain_deadline = '2d'\nretire = 'destroy'\non_revoke = 'rotate'\n\
         cool_down = '1h'\nmax_age = '60d'\ncron = '0 3 * * SUN'\ntime_zone = 'Europe/Paris'\nwindow = '2h'\n\
         jitter = '30m'\nnot_during = ['Mon 18:00 .. Tue 02:00', '2026-12-20 .. 2027-01-02']",
    );
    let program = Program {
        command: vec!["/usr/local/bin/rotate".into(), "--now".into()],
        timeout: Duration::from_secs(5),
        user: Some("nobody".into()),
        dir: Some("/var/empty".into()),
    };
    assert_eq!(plan.strategy, Strategy::Single { target: TargetName::Program(program) });
    assert_eq!(plan.strategy.name(), "command");
    let fields = [&plan.field, &plan.public_field, &plan.user_field].map(FieldName::as_str);
    assert_eq!(fields, ["key", "pub", "login"]);
    assert_eq!(plan.generator, Generator::Hex { bytes: 16 });
    assert_eq!(plan.drain, Duration::from_secs(2 * 86_400));
    assert_eq!(plan.retire, Retire::Destroy);
    assert_eq!(plan.on_revoke, Some(Duration::from_secs(3600)));
    assert_eq!(plan.max_age, Some(Duration::from_secs(60 * 86_400)));
    assert_eq!(
        plan.schedule.unwrap().to_string(),
        "cron 0 3 * * SUN, time_zone Europe/Paris, window 2h, jitter 30m, \
         not_during Mon 18:00 .. Tue 02:00, not_during 2026-12-20 .. 2027-01-02"
    );
}

#[cfg(feature = "postgres")]
#[test]
fn users_are_at_a_target() {
    let both = "strategy = 'alternating'\ntarget = 'pg'\nusers = ['app_a', 'app_b']\nevery = '7d'";
    let config = load(both, PROVIDERS).unwrap();
    let entry = config.catalog.resolve(&"prod/a".parse().unwrap()).unwrap().entry;
    let plan = entry.rotation.as_deref().unwrap();
    let target = TargetName::Provider("pg".parse().unwrap());
    let users = ["app_a".into(), "app_b".into()];
    assert_eq!(plan.strategy, Strategy::Alternating { target, users });
    assert_eq!(plan.field, FieldName::password());
    assert_eq!(
        plan.schedule,
        Some(leasehold_core::rotation::Schedule::every(Duration::from_secs(7 * 86_400)))
    );
    let wrong = load("strategy = 'single'\ntarget = 'gp'", PROVIDERS).unwrap_err().to_string();
    assert!(wrong.contains("there is no provider `gp`\n    did you mean `pg`?"), "{wrong}");
}

#[test]
fn what_contradicts_itself_is_named() {
    let cases = [
        ("every = '1d'", "`strategy` is missing"),
        ("strategy = 'generat'", "there is no strategy `generat`\n    did you mean `generate`?"),
        ("strategy = 'single'", "`strategy = \"single\"` needs `target`"),
        ("strategy = 'single'\ntarget = 'main'", "`main` has no users whose passwords could be set"),
        ("strategy = 'single'\ntarget = 'mian'", "there is no provider `mian`\n    did you mean `main`?"),
        ("strategy = 'alternating'\ntarget = 'main'", "needs `users`"),
        ("strategy = 'alternating'\nusers = ['a', 'b']", "needs `target`"),
        ("strategy = 'alternating'\ntarget = 'main'\nusers = ['a']", "`users` are two different names"),
        ("strategy = 'alternating'\ntarget = 'main'\nusers = ['a', 'a']", "`users` are two different names"),
        (
            "strategy = 'alternating'\ntarget = 'main'\ncommand = '/x'\nusers = ['a', 'b']",
            "`target` and `command` exclude each other",
        ),
        ("strategy = 'command'", "`strategy = \"command\"` needs `command`"),
        (
            "strategy = 'command'\ncommand = 'rotate'",
            "`command` begins with `rotate`, which is no absolute path",
        ),
        ("strategy = 'command'\ncommand = '/x'\ndir = 'y'", "`dir` is no absolute path"),
        ("strategy = 'command'\ncommand = '/x'\ntimeout = '2h'", "it must be between 100ms and 1h"),
        ("strategy = 'provider-native'", "`main` rotates nothing by itself"),
        (
            "strategy = 'provider-native'\nfield = 'x'",
            "`field` says nothing with `strategy = \"provider-native\"`",
        ),
        ("strategy = 'generate'\nusers = ['a', 'b']", "`users` says nothing with `strategy = \"generate\"`"),
        ("strategy = 'generate'\ntarget = 'main'", "it belongs to `single`, `alternating`"),
        (
            "strategy = 'generate'\ngenerator = { kind = 'hax' }",
            "there is no generator `hax`\n    did you mean `hex`?",
        ),
        ("strategy = 'generate'\ngenerator = { kind = 'hex', bites = 3 }", "did you mean `bytes`?"),
        (
            "strategy = 'generate'\ngenerator = { kind = 'back-end', policy = 'p' }",
            "`main` makes no values by rules of its own",
        ),
        ("strategy = 'generate'\nfield = 'public_key'", "`field` and `public_field` are both `public_key`"),
        ("strategy = 'generate'\nevery = '1d'\ncron = '0 3 * * *'", "`every` and `cron` exclude each other"),
        ("strategy = 'generate'\nevery = '1d'\nwindow = '1h'", "`window` without `cron`"),
        ("strategy = 'generate'\nwindow = '1h'", "`window` without `cron`"),
        ("strategy = 'generate'\njitter = '1h'", "`jitter` without `every` or `cron`"),
        ("strategy = 'generate'\nnot_during = 'Sat .. Sun'", "`not_during` without `every` or `cron`"),
        ("strategy = 'generate'\ntime_zone = 'UTC'", "`time_zone` without `every` or `cron`"),
        (
            "strategy = 'generate'\nevery = '0s'",
            "`every` in [rotation] is 0s\n    it must be between 1s and 3650d",
        ),
        ("strategy = 'generate'\ncron = '0 3 * *'", "is not a cron pattern: a pattern has five parts"),
        ("strategy = 'generate'\ncron = '0 3 30 2 *'", "no date fits the pattern"),
        (
            "strategy = 'generate'\ncron = '0 3 * * SUN'\nwindow = '1h'\njitter = '1h'",
            "`jitter` is as long as the window of 1h, or longer",
        ),
        (
            "strategy = 'generate'\ncron = '0 3 * * *'\ntime_zone = 'Europe/Atlantis'",
            "there is no time zone `Europe/Atlantis`",
        ),
        (
            "strategy = 'generate'\nevery = '1d'\nnot_during = 'Fri 18:00 - Mon 06:00'",
            "write `FROM .. TO`, such as",
        ),
        (
            "strategy = 'generate'\nevery = '1d'\nnot_during = ['Mon .. Thu', 'Fri .. Sun']",
            "leaves no time in which it could be rotated",
        ),
        (
            "strategy = 'generate'\ncron = '0 3 * * SUN'\nwindow = '1h'\nnot_during = ['Sat .. Sun']",
            "leaves no time in which it could be rotated",
        ),
        (
            "strategy = 'generate'\nevery = '30d'\nmax_age = '30d'",
            "`max_age` is no longer than `every = \"30d\"`",
        ),
        ("strategy = 'generate'\nretire = 'drop'", "must be `\"keep\"`, `\"disable\"` or `\"destroy\"`"),
        ("strategy = 'generate'\non_revoke = 'rotat'", "must be `\"rotate\"` or `\"keep\"`"),
        ("strategy = 'generate'\ncool_down = '1h'", "`cool_down` without `on_revoke = \"rotate\"`"),
        ("strategy = 'generate'\nevry = '1d'", "unknown key `evry` in [rotation]\n    did you mean `every`?"),
    ];
    for (rotation, expected) in cases {
        match load(rotation, "") {
            Err(faults) => assert!(faults.to_string().contains(expected), "{rotation:?} gave\n{faults}"),
            Ok(_) => panic!("{rotation:?} was taken"),
        }
    }
}

#[test]
fn every_fault_is_told_at_once() {
    let faults =
        load("strategy = 'single'\nevery = 'x'\nwindow = '1h'\nretire = 'drop'\nevry = 1", "").unwrap_err();
    assert_eq!(faults.iter().count(), 5, "{faults}");
}

#[test]
fn what_is_made_for_each_lease_is_not_rotated() {
    let toml =
        "[[secret]]\npath = 'prod/a'\nprovider = 'main'\nrole = 'r'\nrotation = { strategy = 'generate' }";
    let faults = Config::parse(&main_with(toml), &[]).unwrap_err().to_string();
    assert!(faults.contains("a secret with a `role` is not rotated"), "{faults}");
}
