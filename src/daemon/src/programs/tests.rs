//! Small programs that are run.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use leasehold_core::{SecretPath, secret::FieldName};
use tempfile::TempDir;

use super::*;

struct Site {
    folder: TempDir,
    secret: SecretPath,
    old: SecretValue,
    new: SecretValue,
    user_field: FieldName,
    field: FieldName,
}

impl Site {
    fn new() -> Self {
        let value = |password: &str| {
            let mut value = SecretValue::plain(password.to_owned());
            value.fields.insert(FieldName::username(), "app".to_owned().into());
            value
        };
        Self {
            folder: TempDir::new().unwrap(),
            secret: "prod/payments/db".parse().unwrap(),
            old: value("0ld-p4ssw0rd"),
            new: value("n3w-p4ssw0rd"),
            user_field: FieldName::username(),
            field: FieldName::value(),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, body: &str) -> PathBuf {
        let file = self.file("rotate");
        fs::write(&file, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o700)).unwrap();
        file
    }

    fn target(&self, body: &str) -> Arc<dyn Target> {
        self.target_within(body, Duration::from_secs(20))
    }

    fn target_within(&self, body: &str, timeout: Duration) -> Arc<dyn Target> {
        let command = vec![self.script(body).to_str().unwrap().into(), "argument one".into()];
        Children::new().target(&Program { command, timeout, user: None, dir: None })
    }

    fn turn(&self) -> Turn<'_> {
        Turn {
            secret: &self.secret,
            token: "prod.payments.db-7",
            user_field: &self.user_field,
            field: &self.field,
            old: Some(&self.old),
            new: &self.new,
        }
    }
}

fn class<T: std::fmt::Debug>(result: Result<T, ProviderError>) -> ErrorClass {
    result.unwrap_err().class
}

#[tokio::test]
async fn a_program_gets_the_values_on_its_standard_input_and_nowhere_else() {
    let site = Site::new();
    let (input, arguments, environment) =
        (site.file("input"), site.file("arguments"), site.file("environment"));
    let body = format!(
        "/bin/cat > {}; printf '%s|' \"$@\" > {}; /usr/bin/env > {}; pwd >> {}",
        input.display(),
        arguments.display(),
        environment.display(),
        environment.display(),
    );
    site.target(&body).test(site.turn(), &site.old).await.unwrap();
    let read: serde_json::Value = serde_json::from_slice(&fs::read(input).unwrap()).unwrap();
    let expected = serde_json::json!({
        "version": 1,
        "step": "test",
        "secret": "prod/payments/db",
        "token": "prod.payments.db-7",
        "old": {"username": "app", "value": "0ld-p4ssw0rd"},
        "new": {"username": "app", "value": "n3w-p4ssw0rd"},
        "value": {"username": "app", "value": "0ld-p4ssw0rd"},
    });
    assert_eq!(read, expected);
    assert_eq!(fs::read_to_string(arguments).unwrap(), "argument one|");
    // What the shell itself sets is all there is.
    let environment = fs::read_to_string(environment).unwrap();
    let foreign: Vec<_> = environment
        .lines()
        .filter(|line| !["PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|own| line.starts_with(own)))
        .collect();
    assert_eq!(foreign, ["/"]);
}

#[tokio::test]
async fn bytes_that_are_no_text_come_in_base64() {
    let mut site = Site::new();
    site.new = SecretValue::plain(vec![0xff, 0x00]);
    let input = site.file("input");
    site.target(&format!("/bin/cat > {}", input.display())).apply(site.turn()).await.unwrap();
    let read: serde_json::Value = serde_json::from_slice(&fs::read(input).unwrap()).unwrap();
    assert_eq!(read["new"]["value"], serde_json::json!({"base64": "/wA="}));
    assert_eq!(read.get("value"), None);
}

#[tokio::test]
async fn exit_codes_are_outcomes() {
    let site = Site::new();
    let coded = |code: i32| site.target(&format!("exit {code}"));
    assert!(coded(0).apply(site.turn()).await.is_ok());
    assert_eq!(class(coded(10).apply(site.turn()).await), ErrorClass::Invalid);
    assert_eq!(class(coded(11).apply(site.turn()).await), ErrorClass::Transient);
    assert_eq!(class(coded(12).apply(site.turn()).await), ErrorClass::Denied);
    assert_eq!(class(coded(64).retire(site.turn()).await), ErrorClass::Permanent);
    assert_eq!(class(coded(75).apply(site.turn()).await), ErrorClass::Throttled);
    assert_eq!(class(coded(1).apply(site.turn()).await), ErrorClass::Transient);
    assert_eq!(class(site.target("kill -9 $$").apply(site.turn()).await), ErrorClass::Transient);
    assert_eq!(coded(0).test(site.turn(), &site.new).await.unwrap(), Trial::Accepted);
    assert_eq!(coded(11).test(site.turn(), &site.new).await.unwrap(), Trial::Refused);
    assert_eq!(class(coded(10).test(site.turn(), &site.new).await), ErrorClass::Transient);
    assert!(!coded(0).check(site.turn()).await[0].is_failed());
    assert!(!coded(64).check(site.turn()).await[0].is_failed());
    assert!(coded(12).check(site.turn()).await[0].is_failed());
}

#[tokio::test]
async fn one_that_takes_too_long_ends_with_its_children() {
    let site = Site::new();
    let pid = site.file("pid");
    let body = format!("trap '' TERM; /bin/sleep 1000 & echo $! > {}; wait; /bin/sleep 1000", pid.display());
    let target = site.target_within(&body, Duration::from_millis(500));
    let error = target.apply(site.turn()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(error.to_string().contains("took longer than 500ms"), "{error}");
    let pid: i32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    // It is gone once whoever inherited it has buried it.
    for _ in 0..100 {
        let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        if state.is_err() || state.is_ok_and(|stat| stat.contains(") Z ")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{pid:?} lives on");
}

#[tokio::test]
async fn one_that_reads_nothing_and_says_too_much_holds_nobody_up() {
    let mut site = Site::new();
    site.new = SecretValue::plain(vec![b'x'; 300_000]);
    let body = "i=0; while [ $i -lt 4000 ]; do echo 'a long line of forty characters or so .....' >&2; i=$((i+1)); done";
    site.target(body).apply(site.turn()).await.unwrap();
}

#[tokio::test]
async fn what_others_can_write_to_is_not_run() {
    let site = Site::new();
    let file = site.script("exit 0");
    let run = async |command: &str| {
        let command = vec![command.into()];
        let program = Program { command, timeout: Duration::from_secs(5), user: None, dir: None };
        Children::new().target(&program).apply(site.turn()).await
    };
    let path = file.to_str().unwrap();
    run(path).await.unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o722)).unwrap();
    let error = run(path).await.unwrap_err();
    assert!(error.to_string().contains("can be written to by others"), "{error}");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    assert!(run(path).await.unwrap_err().to_string().contains("is not a program"));
    assert!(run("rotate").await.unwrap_err().to_string().contains("not an absolute path"));
    assert!(run("/no/such").await.unwrap_err().to_string().contains("cannot be looked at"));
    fs::set_permissions(&file, PermissionsExt::from_mode(0o700)).unwrap();
    fs::set_permissions(site.folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let error = run(path).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert!(error.to_string().contains("can be written to by others"), "{error}");
}

#[tokio::test]
async fn a_user_that_is_not_there_is_named() {
    let site = Site::new();
    let command = vec![site.script("exit 0").to_str().unwrap().into()];
    let program = Program {
        command,
        timeout: Duration::from_secs(5),
        user: Some("nobody-of-that-name".into()),
        dir: None,
    };
    let error = Children::new().target(&program).apply(site.turn()).await.unwrap_err();
    assert!(error.to_string().contains("there is no user `nobody-of-that-name`"), "{error}");
}
