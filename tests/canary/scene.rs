//! Where the canaries fly: a site with a daemon that logs all that it can, and everything that anybody said.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use leasehold_tests::{
    binaries,
    canary::Canary,
    daemon::Daemon,
    raw::Raw,
    site::{Plan, Site},
};
use tonic::Status;

/// The site, its daemon, and what was said.
pub(crate) struct Scene {
    pub(crate) site: Site,
    /// Outside the site, for what people keep in files of their own.
    pub(crate) desk: tempfile::TempDir,
    said: Vec<(String, Vec<u8>)>,
}

/// Everything, also of the libraries.
const FILTER: &str = "trace,leaseholdd=trace,aws_smithy_runtime=trace,hyper=trace,h2=trace,rustls=trace";

impl Scene {
    /// A site with these secrets.
    pub(crate) fn new(more: String) -> Self {
        // Small segments, so that there are several.
        let plan = Plan { ledger: "segment_size = \"1MiB\"".into(), more, ..Plan::default() };
        Self { site: Site::new(plan), desk: tempfile::tempdir().unwrap(), said: Vec::new() }
    }

    /// With a folder that was made before, whose files the site's configuration names.
    pub(crate) fn with_desk(self, desk: tempfile::TempDir) -> Self {
        Self { desk, ..self }
    }

    /// Starts the daemon.
    pub(crate) async fn start(&self) -> Daemon {
        let mut program = Command::new(binaries::leaseholdd());
        program.env("LEASEHOLD_LOG", FILTER).env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace");
        let mut daemon = Daemon::spawn(&self.site, program);
        daemon.ready(&self.site).await;
        daemon
    }

    /// A raw connection as this SPIFFE ID.
    pub(crate) async fn connect(&self, id: &str) -> Raw {
        Raw::open(self.site.address, self.site.tls(Some(&self.site.identity(id)))).await.unwrap()
    }

    /// Writes a file that is somebody's own.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.desk.path().join(name);
        leasehold_tests::site::write_private(&path, text);
        path
    }

    /// Keeps something that was said, to be looked through at the end.
    pub(crate) fn heard(&mut self, by: &str, what: impl Into<Vec<u8>>) {
        self.said.push((by.to_owned(), what.into()));
    }

    /// Keeps how a call was refused; one that was not is a failure.
    pub(crate) fn refused<T>(&mut self, what: &str, answer: Result<T, Status>) {
        match answer {
            Ok(_) => panic!("{what} was taken"),
            Err(status) => self.heard(what, format!("{status:?} {}", status.message())),
        }
    }

    /// Runs the command line, and keeps all that it says.
    pub(crate) fn leasehold(&mut self, name: &str, line: &str) -> (i32, String) {
        let words: Vec<&str> = line.split(' ').collect();
        let (code, out) = self.run(name, &words, &[]);
        self.heard(&format!("standard output of `leasehold {line}`"), out.clone());
        (code, out)
    }

    /// Runs the command line with this on its standard input, and keeps what it says on standard error. What it says on
    /// standard output may be a value that was asked for.
    pub(crate) fn run(&mut self, name: &str, words: &[&str], input: &[u8]) -> (i32, String) {
        let by = format!("leasehold {}", words[..words.len().min(3)].join(" "));
        let mut command = self.site.leasehold(name);
        command.env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace").args(words);
        let spawn = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawn.unwrap();
        let process = self.look_at(child.id());
        if !input.is_empty() {
            // It waits for its input, so it is there.
            assert!(process > 0, "nothing was seen of `{by}`");
        }
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        self.heard(&format!("standard error of `{by}`"), output.stderr);
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    /// Keeps what others can see of a process; says how many bytes that were.
    pub(crate) fn look_at(&mut self, process: u32) -> usize {
        let mut seen = 0;
        for file in ["environ", "cmdline", "comm", "status"] {
            let path = format!("/proc/{process}/{file}");
            match fs::read(&path) {
                Ok(bytes) => {
                    seen += bytes.len();
                    self.heard(&path, bytes);
                }
                // Nobody else can, then.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                Err(error) => panic!("{path}: {error}"),
            }
        }
        seen
    }

    /// Looks for the canaries in all that was said, and in every file of the site: logs, journal, index, secrets.
    pub(crate) fn search(&self, canaries: &[&Canary]) {
        let files = files(self.site.dir.path());
        for part in ["daemon.log", "/state/journal/", "/state/index", "/state/lock"] {
            assert!(files.iter().any(|(place, _)| place.contains(part)), "{part} is not looked at");
        }
        let log = fs::read_to_string(self.site.path("daemon.log")).unwrap();
        assert!(log.contains("\"level\":\"TRACE\""), "the log does not tell all that it could");
        assert_eq!(self.traces(&files, canaries), Vec::<String>::new(), "left behind");
    }

    fn traces(&self, files: &[(String, Vec<u8>)], canaries: &[&Canary]) -> Vec<String> {
        let mut traces = Vec::new();
        let mut look = |place: &str, bytes: &[u8]| {
            for canary in canaries {
                let found = canary.found_in(bytes);
                traces.extend(found.into_iter().map(|found| format!("{found}: {place}")));
            }
        };
        for (place, bytes) in self.said.iter().chain(files) {
            look(place, bytes);
        }
        traces
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_anywhere_is_found() {
        let canary = Canary::new("it");
        let mut scene = Scene::new(String::new());
        let found = |scene: &Scene| scene.traces(&files(scene.site.dir.path()), &[&canary]).len();
        assert_eq!(found(&scene), 0);
        fs::create_dir(scene.site.state().join("deep")).unwrap();
        fs::write(scene.site.state().join("deep/file"), format!("a {} b", canary.value())).unwrap();
        assert_eq!(found(&scene), 1);
        scene.heard("somebody", canary.value());
        assert_eq!(found(&scene), 2);
        let (code, _) = scene.run("workload", &["lease", "get", canary.value()], &[]);
        assert_eq!(code, 2, "it is no path");
        assert!(found(&scene) > 2, "neither a command line nor standard error is looked at");
    }
}
