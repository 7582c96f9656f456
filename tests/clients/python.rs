//! The Python package: looked over, then as a wheel in a fresh environment against the real daemon, its pools of
//! connections on a real PostgreSQL, and a client that somebody generated from the protos alone.

mod pool;

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use leasehold_client::Write;
use leasehold_core::SecretValue;
use leasehold_provider_conformance::peers::{self, or_skip};
use leasehold_tests::{
    authority::Leaf,
    daemon::{self, Daemon},
    rotations,
    site::{Plan, SECRET, Site, WORKLOAD},
};

/// The value before any rotation.
const FIRST: &str = "canary-of-python-41d7c0";

/// How often the certificate is changed while calls go on.
const CERTIFICATES: usize = 25;
/// For how many seconds each is good.
const LIFE: i64 = 6;

/// The interpreter that the peers were installed with, which has the tools and what the package needs.
fn python() -> Option<PathBuf> {
    let tool = or_skip(peers::find("pytest")).unwrap()?;
    Some(tool.with_file_name("python3"))
}

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/python").canonicalize().unwrap()
}

/// Runs a command to its end, which is to be a good one.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}:\n{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A tool in Python, on the package.
fn tool(python: &Path, module: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-B", "-m", module]).current_dir(package());
    command
}

/// The environment that `Client.from_env` reads, for the site's workload.
fn as_workload<'c>(command: &'c mut Command, site: &Site) -> &'c mut Command {
    for (name, value) in site.leasehold("workload").get_envs() {
        command.env(name, value.unwrap_or(OsStr::new("")));
    }
    command
}

/// A program that is talked with by lines.
struct Conversation {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Conversation {
    fn begin(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        // It ends by itself, in any case: all its waits have deadlines.
        let read = tokio::task::block_in_place(|| self.output.read_line(&mut line)).unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends its input, and has the rest of what it says, and whether it ended well.
    fn end(mut self) -> (Vec<String>, bool) {
        self.input = None;
        let rest = std::iter::from_fn(|| self.line()).collect();
        (rest, self.child.wait().unwrap().success())
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_package_is_typed_and_tidy_and_its_own_tests_pass() {
    let Some(python) = python() else { return };
    let cache = tempfile::tempdir().unwrap();
    run(tool(&python, "pytest").args(["-p", "no:cacheprovider"]));
    run(tool(&python, "ruff").args(["check", "--no-cache", "."]));
    run(tool(&python, "ruff").args(["format", "--no-cache", "--check", "."]));
    run(tool(&python, "mypy").arg("--cache-dir").arg(cache.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wheel_holds_a_secret_through_rotations_new_certificates_and_a_broker_that_is_away() {
    let Some(python) = python() else { return };
    let site = Site::new(Plan {
        more: format!(
            "[[secret]]\npath = \"{SECRET}\"\nprovider = \"local\"\nref = \"payments-db\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n\
             rotation = {{ strategy = \"generate\", field = \"password\", drain_deadline = \"30m\" }}\n"
        ),
        ..Plan::default()
    });
    site.write("policies/20-rotation.cedar", rotations::POLICY);
    let mut broker = Some(Daemon::start(&site).await);
    let operator = daemon::operator(&site).await.operator();
    let value = SecretValue {
        fields: [("password".parse().unwrap(), FIRST.to_owned().into())].into(),
        content_type: SecretValue::TEXT.into(),
    };
    let write = Write { secret: SECRET.parse().unwrap(), value, expected: None, request_id: None };
    operator.write_secret(write).await.unwrap();

    let (wheel, fresh) = fresh_environment(&python, site.dir.path());
    is_typed(&python, &wheel, &fresh);
    let example = run(as_workload(Command::new(&fresh).arg(package().join("examples/borrow.py")), &site));
    assert!(example.contains("password: [redacted; 23 bytes]") && !example.contains(FIRST), "{example}");

    let mut guards = Command::new(&fresh);
    guards.arg("-B").arg(package().join("tests/broker/guards.py")).env("SECRET", SECRET).env("FIRST", FIRST);
    let mut guards = Conversation::begin(as_workload(&mut guards, &site));
    let mut said = Vec::new();
    while let Some(line) = guards.line() {
        match line.as_str() {
            "! rotate" => drop(rotations::rotate(&operator, &SECRET.parse().unwrap()).await),
            "! change certificates" => change_certificates(&site).await,
            "! stop the broker" => drop(broker.take().unwrap().stop().await),
            "! start the broker" => broker = Some(Daemon::start(&site).await),
            _ => {
                said.push(line);
                continue;
            }
        }
        guards.say("done");
    }
    assert!(guards.end().1 && said == ["well"], "{said:?}");
    assert!(!broker.unwrap().log().contains(FIRST));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let Some(python) = python() else { return };
    let limits = "requests_per_principal = 2\nrequest_burst = 4".to_owned();
    let site = Site::new(Plan { limits, ..Plan::default() });
    let broker = Daemon::start(&site).await;
    daemon::put(&site, SECRET, FIRST).await;
    assert_eq!(script(&python, "throttled.py", &site), "well\n");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_brokers_is_enough() {
    let Some(python) = python() else { return };
    let site = Site::new(Plan::default());
    let broker = Daemon::start(&site).await;
    daemon::put(&site, SECRET, FIRST).await;
    assert_eq!(script(&python, "addresses.py", &site), "well\n");
    broker.stop().await;
}

/// Runs one of the package's tests that need a broker, from the sources.
fn script(python: &Path, name: &str, site: &Site) -> String {
    let mut script = Command::new(python);
    script.arg("-B").arg(package().join("tests/broker").join(name));
    script.env("PYTHONPATH", package().join("src")).env("SECRET", SECRET);
    run(as_workload(&mut script, site))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_for_any_language_says_makes_a_client_that_works() {
    let Some(python) = python() else { return };
    let site = Site::new(Plan::default());
    let broker = Daemon::start(&site).await;
    daemon::put(&site, SECRET, FIRST).await;
    let page = fs::read_to_string(package().join("../../docs/clients.md")).unwrap();
    let (generate, client) = (block(&page, "sh"), block(&page, "python"));
    let folder = site.path("elsewhere");
    fs::create_dir(&folder).unwrap();
    // As the page has it, from the root of a checkout; with what is installed here for what it installs there.
    let bin = python.parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-euc", &generate]).env("OUT", &folder).env("PATH", path);
    run(shell.current_dir(package().join("../..")));
    fs::write(folder.join("client.py"), client).unwrap();
    let mut client = Command::new(&python);
    client.args(["-B", "client.py"]).current_dir(&folder);
    let said = run(as_workload(&mut client, &site));
    assert!(said.contains("leased prod/payments/db") && said.contains("renewed"), "{said}");
    assert!(said.contains("refused: DENIED_OR_NOT_FOUND") && said.contains("given back"), "{said}");
    assert!(!said.contains(FIRST), "{said}");
    broker.stop().await;
}

/// The first block of code in this language.
fn block(page: &str, language: &str) -> String {
    let (_, from) = page.split_once(&format!("\n```{language}\n")).unwrap();
    from.split_once("\n```\n").unwrap().0.to_owned()
}

/// Builds the wheel and installs it, with nothing but what it asks for, where nothing else is. The wheel, and the
/// interpreter there.
fn fresh_environment(python: &Path, folder: &Path) -> (PathBuf, PathBuf) {
    let (wheels, fresh) = (folder.join("wheels"), folder.join("venv"));
    run(tool(python, "hatchling").args(["build", "-t", "wheel", "-d"]).arg(&wheels));
    let wheel = fs::read_dir(&wheels).unwrap().next().unwrap().unwrap().path();
    run(Command::new(python).args(["-m", "venv"]).arg(&fresh));
    let fresh = fresh.join("bin/python3");
    let quiet = ["--quiet", "--disable-pip-version-check", "--no-input"];
    run(Command::new(&fresh).args(["-m", "pip", "install"]).args(quiet).arg(&wheel));
    (wheel, fresh)
}

/// A program that uses the package as it is installed has its types checked, and so has the package itself, by the strictest
/// rules: what the wheel holds is what was checked in the sources.
fn is_typed(python: &Path, wheel: &Path, fresh: &Path) {
    let folder = wheel.parent().unwrap();
    let mypy = |name: &str| {
        let mut mypy = Command::new(python);
        mypy.args(["-B", "-m", "mypy", "--strict", "--config-file"]).current_dir(folder);
        fs::write(folder.join(name), "[mypy]\n[mypy-leasehold.v1.*]\nignore_errors = true\n[mypy-google.rpc.*]\nignore_missing_imports = true\n").unwrap();
        mypy.arg(name).arg("--cache-dir").arg(folder.join("mypy"));
        mypy
    };
    let program = "import leasehold\n\n\
        def password(lease: leasehold.Leased) -> str:\n    return lease[\"password\"].expose()\n\n\
        def wrong(lease: leasehold.Leased) -> str:\n    return lease[\"password\"]\n";
    fs::write(folder.join("program.py"), program).unwrap();
    let output = mypy("user.ini").arg("--python-executable").arg(fresh).arg("program.py").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // Without `py.typed`, and without types of its own, there would be another error, or none.
    assert!(said.contains("program.py:7: error: Incompatible return value type (got \"Secret\""), "{said}");
    assert!(said.contains("Found 1 error in 1 file"), "{said}");
    let unpacked = folder.join("unpacked");
    let quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--target"];
    run(Command::new(python).args(["-m", "pip", "install"]).args(quiet).arg(&unpacked).arg(wheel));
    assert!(unpacked.join("leasehold/py.typed").is_file());
    run(mypy("package.ini").env("MYPYPATH", &unpacked).args(["-p", "leasehold"]));
}

/// Puts a new certificate of the workload in place again and again, the key a little later. Each is good for a few seconds,
/// but the last: whoever did not take the next one would fail soon.
async fn change_certificates(site: &Site) {
    for left in (0..CERTIFICATES).rev() {
        let lasting = Leaf::client(WORKLOAD);
        let leaf = if left == 0 { lasting } else { Leaf { until: LIFE, ..lasting } };
        let identity = site.authority.sign(&leaf);
        site.write("tls/workload.pem", &identity.certificate);
        tokio::time::sleep(Duration::from_millis(20)).await;
        site.write("tls/workload.key", &identity.key);
        tokio::time::sleep(Duration::from_millis(380)).await;
    }
}
