//! A broker with an example's configuration, whose log tells all that it can, and what people do with it.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use leasehold_tests::{
    binaries,
    canary::Canary,
    daemon::Daemon,
    site::{Plan, Site},
};
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, sleep},
};

use crate::examples::Example;

/// The broker's place, and what must leave no trace there.
pub(crate) struct Scene {
    pub(crate) site: Site,
    environment: Vec<(String, String)>,
    canaries: Vec<Canary>,
    said: Vec<String>,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A lease that was taken, with its value.
pub(crate) struct Taken {
    pub(crate) id: String,
    pub(crate) lease: Value,
    pub(crate) fields: Value,
}

/// Everything, also of the libraries.
const FILTER: &str = "trace,leaseholdd=trace,aws_smithy_runtime=trace,hyper=trace,h2=trace,rustls=trace";

/// What a back end answers beside what must be kept secret.
const PUBLIC: [&str; 10] = [
    "access_key_id",
    "ca_chain",
    "certificate",
    "expiration",
    "issuing_ca",
    "private_key_type",
    "serial_number",
    "token_type",
    "username",
    "expires_at",
];

impl Scene {
    /// A site with this configuration, and nothing running.
    pub(crate) fn of(example: Example) -> Self {
        let site = Site::new(Plan { more: String::new(), ..Plan::default() });
        example.install(&site);
        Self { site, environment: Vec::new(), canaries: Vec::new(), said: Vec::new() }
    }

    /// With a variable in the daemon's environment.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// From now on this must not show anywhere; it is given back.
    pub(crate) fn guard(&mut self, name: &str, value: impl Into<String>) -> String {
        let value = value.into();
        self.canaries.push(Canary::of(name, value.clone()));
        value
    }

    /// A value that occurs nowhere else, and must not show anywhere.
    pub(crate) fn canary(&mut self, name: &str) -> String {
        self.guard(name, Canary::new(name).value())
    }

    /// Starts the daemon and waits until it serves.
    pub(crate) async fn start(&self) -> Daemon {
        let mut program = Command::new(binaries::leaseholdd());
        program.env("LEASEHOLD_LOG", FILTER).env("RUST_BACKTRACE", "full");
        program.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut daemon = Daemon::spawn(&self.site, program);
        daemon.ready(&self.site).await;
        daemon
    }

    /// Runs the command line with this on its standard input.
    pub(crate) async fn run(&mut self, name: &str, line: &str, input: &str) -> Ran {
        let mut command = self.site.leasehold(name);
        command.args(line.split(' '));
        let ran = run(command, input).await;
        self.said.push(ran.err.clone());
        // Its value is what was asked for.
        if !line.starts_with("lease get") {
            self.said.push(ran.out.clone());
        }
        ran
    }

    /// Runs the command line as the operator; it succeeds and answers in JSON.
    pub(crate) async fn operator(&mut self, line: &str) -> Value {
        let ran = self.run("operator", &format!("{line} -o json"), "").await;
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran.json()
    }

    /// Does as the operator what is refused; what is said then.
    pub(crate) async fn refused(&mut self, name: &str, line: &str) -> String {
        let ran = self.run(name, line, "").await;
        assert_ne!(ran.code, 0, "{line}: {ran:?}");
        ran.err
    }

    /// Writes a new version of a secret as the operator: the version.
    pub(crate) async fn put(&mut self, secret: &str, value: &str) -> String {
        let ran = self.run("operator", &format!("secret put {secret} -o json"), value).await;
        assert_eq!(ran.code, 0, "{secret}: {ran:?}");
        ran.json()["version"].as_str().unwrap().to_owned()
    }

    /// Takes a lease as the workload. Its value is guarded from then on.
    pub(crate) async fn lease(&mut self, secret: &str) -> Taken {
        self.lease_for(secret, "").await
    }

    /// Takes one with more options, such as `--ttl 2s`.
    pub(crate) async fn lease_for(&mut self, secret: &str, options: &str) -> Taken {
        let line = format!("lease get {secret} -o json {options}");
        let ran = self.run("workload", line.trim_end(), "").await;
        assert_eq!(ran.code, 0, "{line}: {}", ran.err);
        let mut answer = ran.json();
        let (lease, fields) = (answer["lease"].take(), answer["value"]["fields"].take());
        for (field, value) in fields.as_object().unwrap() {
            if !PUBLIC.contains(&field.as_str()) {
                self.guard(&format!("the field {field} of {secret}"), value.as_str().unwrap());
            }
        }
        Taken { id: lease["id"].as_str().unwrap().to_owned(), lease, fields }
    }

    /// The leases in a state, as the operator lists them.
    pub(crate) async fn listed(&mut self, state: &str) -> Vec<String> {
        let listed = self.operator(&format!("lease list --all --state {state}")).await;
        let id = |lease: &Value| lease["id"].as_str().unwrap().to_owned();
        listed.as_array().unwrap().iter().map(id).collect()
    }

    /// The journal's records of one kind about a lease or a secret, such as `--lease ID`.
    pub(crate) async fn records(&mut self, kind: &str, about: &str) -> Vec<Value> {
        let records = self.operator(&format!("audit query --kind {kind} {about}")).await;
        records.as_array().unwrap().clone()
    }

    /// What came of trying a back end: its findings, none of which failed.
    pub(crate) async fn checked(&mut self, provider: &str) -> Vec<Value> {
        let ran = self.run("operator", &format!("provider check {provider} -o json"), "").await;
        assert_eq!(ran.code, 0, "{provider}: {} {}", ran.out, ran.err);
        ran.json().as_array().unwrap().clone()
    }

    /// `leaseholdd check-config --live`.
    pub(crate) async fn check_live(&mut self) -> Ran {
        let mut command = Command::new(binaries::leaseholdd());
        command.args(["check-config", "--live", "--config"]).arg(self.site.path("leasehold.toml"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let ran = run(command, "").await;
        self.said.extend([ran.out.clone(), ran.err.clone()]);
        ran
    }

    /// Ends the broker in order, proves its journal, and looks for what must not be there.
    pub(crate) async fn close(mut self, daemon: Daemon) {
        assert!(daemon.stop().await.success());
        self.verify().await;
        self.search();
    }

    /// Proves the journal.
    pub(crate) async fn verify(&mut self) {
        let state = self.site.state().display().to_string();
        let verified = self.run("operator", &format!("audit verify {state}"), "").await;
        assert_eq!(verified.code, 0, "{verified:?}");
    }

    /// Looks for all canaries in the log, in every file of the state, and in what the command line said.
    fn search(&self) {
        assert!(!self.canaries.is_empty());
        let log = fs::read(self.site.path("daemon.log")).unwrap();
        let told = memchr::memmem::find(&log, br#""level":"TRACE""#);
        assert!(told.is_some(), "the log does not tell all that it could");
        let mut places = vec![("daemon.log".to_owned(), log)];
        places.extend(files(&self.site.state()));
        assert!(places.len() > 3, "the state is not looked at");
        places.extend(self.said.iter().map(|said| ("leasehold said".to_owned(), said.clone().into_bytes())));
        let mut traces = Vec::new();
        for (place, bytes) in &places {
            for canary in &self.canaries {
                traces.extend(canary.found_in(bytes).into_iter().map(|found| format!("{found}: {place}")));
            }
        }
        assert_eq!(traces, Vec::<String>::new(), "left behind");
    }
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Taken {
    /// One field, which is text.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields[name].as_str().unwrap_or_else(|| panic!("there is no field {name}"))
    }

    /// The version that is held.
    pub(crate) fn version(&self) -> &str {
        self.lease["version"].as_str().unwrap()
    }

    /// Until when nothing can end it, if so.
    pub(crate) fn irrevocable_until(&self) -> Option<&str> {
        self.lease["irrevocable_until"].as_str()
    }
}

/// Runs a program to its end, without holding up the servers that the test plays.
pub(crate) async fn run(command: Command, input: &str) -> Ran {
    let mut command = tokio::process::Command::from(command);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // What does not read its input is not to blame for that.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// Waits for what may take a broker more than one of its periods.
pub(crate) async fn patiently(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds().await {
        assert!(Instant::now() < deadline, "it does not come to pass that {what}");
        sleep(Duration::from_millis(200)).await;
    }
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            // The name as well: a path is easily made of a value.
            found.push((path.display().to_string(), path.display().to_string().into_bytes()));
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found
}
