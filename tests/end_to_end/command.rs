//! The rotation of what the broker has no rotator for, by an operator's program.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use leasehold_client::{Write, proto::RotationState};
use leasehold_core::SecretValue;
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
    wait::until,
};

use crate::kit::{lease, leasehold, records};

const POLICIES: &str = r#"
@id("test.rotate")
permit (principal is Operator, action in [Action::"RotateSecret", Action::"WriteSecret"], resource);
@id("test.schedule")
permit (principal is Scheduler, action == Action::"RotateSecret", resource);
"#;

const FIRST: &str = "the-first-password";

/// A site whose secret is rotated by a program with these arguments.
fn site(program: &Path, arguments: &[&str]) -> Site {
    let mut command = vec![program.to_str().unwrap()];
    command.extend(arguments);
    let more = format!(
        "[[secret]]\npath = \"{SECRET}\"\nprovider = \"local\"\nref = \"{SECRET}\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n\
         rotation = {{ strategy = \"command\", command = {command:?}, timeout = \"20s\" }}\n"
    );
    let site = Site::new(Plan { more, ..Plan::default() });
    site.write("policies/20-rotation.cedar", POLICIES);
    site
}

/// The program that ships as an example, where nobody else may write to it.
fn example(folder: &Path) -> PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../config/examples/rotation-command/rotate-passwords-file");
    let program = folder.join("rotate-passwords-file");
    fs::copy(shipped, &program).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    program
}

/// What the file accepts, as the program itself would say: `test` with this password.
fn accepts(program: &Path, passwords: &Path, password: &str) -> bool {
    let value = serde_json::json!({"username": "app", "password": password});
    let message = serde_json::json!({"version": 1, "step": "test", "new": value, "value": value});
    let mut child = Command::new(program).arg(passwords).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(message.to_string().as_bytes()).unwrap();
    match child.wait().unwrap().code() {
        Some(0) => true,
        Some(11) => false,
        other => panic!("{other:?}"),
    }
}

async fn put(site: &Site) {
    let field = |name: &str, text: &str| (name.parse().unwrap(), text.to_owned().into());
    let write = Write {
        secret: SECRET.parse().unwrap(),
        value: SecretValue {
            fields: [field("username", "app"), field("password", FIRST)].into(),
            content_type: SecretValue::TEXT.into(),
        },
        expected: None,
        request_id: None,
    };
    daemon::operator(site).await.operator().write_secret(write).await.unwrap();
}

fn password(value: &SecretValue) -> String {
    let password = value.fields.iter().find(|(name, _)| name.as_str() == "password").unwrap().1;
    String::from_utf8(password.expose().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_that_ships_rotates_and_what_it_rejects_is_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("passwords");
    fs::write(&passwords, "app::\nother:00:00\n").unwrap();
    let program = example(folder.path());
    let site = site(&program, &[passwords.to_str().unwrap()]);
    let daemon = Daemon::start(&site).await;
    put(&site).await;

    let previewed = leasehold(&site, "operator", &format!("secret rotate {SECRET} --dry-run"));
    assert!(previewed.code == 0 && previewed.out.contains("run `"), "{previewed:?}");
    let before = fs::read(&passwords).unwrap();
    let rotated = leasehold(&site, "operator", &format!("secret rotate {SECRET} --wait"));
    assert_eq!(rotated.code, 0, "{rotated:?}");
    assert_ne!(fs::read(&passwords).unwrap(), before, "a preview changes nothing, and a rotation does");
    let client = daemon::workload(&site).await;
    let second = password(&lease(&client).await.value);
    assert!(accepts(&program, &passwords, &second));
    assert!(!accepts(&program, &passwords, FIRST));
    assert!(fs::read_to_string(&passwords).unwrap().contains("other:00:00"), "nobody else is touched");
    let verified = records(&site, "rotation.verified").await;
    assert_eq!(verified[0].details["verification"], "verified");
    assert!(!daemon.log().contains(&second), "a value in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_says_is_told_without_the_values_and_its_failure_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (program, works) = (folder.path().join("leaky"), folder.path().join("works"));
    // It prints what it gets in several forms, and fails until a file is there.
    let body = format!(
        "#!/bin/sh\nin=$(/bin/cat)\necho \"got $in\" >&2\n\
         printf %s \"$in\" | /usr/bin/sed 's/.*\"new\":{{\"password\":\"\\([^\"]*\\)\".*/\\1/' | /usr/bin/base64 >&2\n\
         echo \"the server does not answer\" >&2\n[ -e {works} ] || exit 75\ncase \"$in\" in\n\
         *'\"step\":\"test\"'*'\"value\":{{\"password\":\"{FIRST}\"'*) exit 11 ;;\nesac\nexit 0\n",
        works = works.display(),
    );
    fs::write(&program, body).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
    let site = site(&program, &[]);
    let daemon = Daemon::start(&site).await;
    put(&site).await;
    let wanted = leasehold(&site, "operator", &format!("secret rotate {SECRET}"));
    assert_eq!(wanted.code, 0, "{wanted:?}");
    let path = SECRET.parse().unwrap();
    let operator = daemon::operator(&site).await.operator();
    let failure = async || operator.rotation(&path).await.unwrap().course.and_then(|course| course.failure);
    until("its failure is told", async || failure().await.is_some()).await;
    let failure = failure().await.unwrap();
    assert!(failure.message.contains("wants to be asked later at the step"), "{failure:?}");
    daemon.says("the server does not answer").await;
    fs::write(works, "").unwrap();
    until("it is tried again", async || {
        let rotation = operator.rotation(&path).await.unwrap();
        rotation.state() == RotationState::Idle && rotation.serial == 1
    })
    .await;
    let client = daemon::workload(&site).await;
    let second = password(&lease(&client).await.value);
    assert_ne!(second, FIRST);
    let log = daemon.log();
    for value in [FIRST, second.as_str()] {
        let encoded = data_encoding::BASE64.encode(value.as_bytes());
        let form = |text: &str| log.contains(text);
        assert!(!form(value) && !form(encoded.trim_end_matches('=')), "a value in the log");
    }
    assert!(log.contains("[masked]"), "{log}");
}
