//! A terminal of a known size with a shell in it, whose screen can be read.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use leasehold_tests::{binaries, site::Site, wait::until};
use tempfile::TempDir;

/// A shell on a screen; both end when this is dropped.
pub(crate) struct Screen {
    socket: PathBuf,
    _home: TempDir,
}

impl Screen {
    /// A shell in which `leasehold` is whoever `name` is at the site.
    pub(crate) async fn open(site: &Site, name: &str, columns: u16, rows: u16) -> Self {
        let home = tempfile::tempdir().unwrap();
        let screen = Self { socket: home.path().join("tmux"), _home: home };
        let home = screen.home();
        let programs = binaries::leasehold();
        let path = format!("{}:{}", programs.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let file = |end: &str| site.path(&format!("tls/{name}.{end}")).display().to_string();
        let variables = [
            ("HOME", home.display().to_string()),
            ("PATH", path),
            ("PS1", "ready> ".to_owned()),
            ("LEASEHOLD_ADDR", site.address.to_string()),
            ("LEASEHOLD_CERT", file("pem")),
            ("LEASEHOLD_KEY", file("key")),
            ("LEASEHOLD_CA", site.path("tls/clients.pem").display().to_string()),
        ];
        let mut session = screen.tmux();
        session.args(["-f", "/dev/null", "new-session", "-d"]);
        session.args([
            "-x",
            &columns.to_string(),
            "-y",
            &rows.to_string(),
            "-c",
            &home.display().to_string(),
        ]);
        // Nothing of this process's own settings reaches the shell, but what is said here.
        session.args(["env", "-i", "TERM=screen-256color", "LANG=C.UTF-8"]);
        session.args(variables.map(|(name, value)| format!("{name}={value}")));
        session.args(["bash", "--noprofile", "--norc", "-i"]);
        assert!(session.env("LANG", "C.UTF-8").status().unwrap().success(), "tmux does not start");
        screen.shows("ready>").await;
        screen
    }

    /// The shell's home.
    pub(crate) fn home(&self) -> &Path {
        self.socket.parent().unwrap()
    }

    /// Types a line, and waits until the shell is ready again.
    pub(crate) async fn run(&self, line: &str) -> String {
        self.clear().await;
        self.write(&format!("{line}; echo done-$?\n")).await;
        let is_done = |text: &str| text.lines().any(|line| line.starts_with("done-"));
        until(&format!("`{line}` ends"), async || is_done(&self.text())).await;
        let text = self.text();
        let lines = text.lines().skip(1).take_while(|line| !line.starts_with("done-"));
        let lines: Vec<_> = lines.map(str::to_owned).collect();
        assert!(text.contains("done-0"), "{line}: {text}");
        lines.join("\n")
    }

    /// Types, as it is.
    pub(crate) async fn write(&self, text: &str) {
        for (n, part) in text.split('\n').enumerate() {
            if n > 0 {
                self.key("Enter");
            }
            if !part.is_empty() {
                assert!(self.tmux().args(["send-keys", "-l", "--", part]).status().unwrap().success());
            }
        }
    }

    /// Presses a key by its name.
    pub(crate) fn key(&self, name: &str) {
        assert!(self.tmux().args(["send-keys", name]).status().unwrap().success());
    }

    /// An empty screen with the prompt.
    pub(crate) async fn clear(&self) {
        let is_ready = async || self.text().lines().rfind(|line| !line.is_empty()) == Some("ready>");
        let mut looks = 0_u32;
        until("the shell is ready", async || {
            let ready = is_ready().await;
            // A shell that is busy with a completion may not hear the first one.
            if !ready && looks.is_multiple_of(100) {
                self.key("C-c");
            }
            looks = looks.saturating_add(1);
            ready
        })
        .await;
        self.key("C-l");
        until("the screen is empty", async || self.text().trim() == "ready>").await;
    }

    /// What is on the screen.
    pub(crate) fn text(&self) -> String {
        self.captured(&[])
    }

    /// The same with its colours.
    pub(crate) fn colours(&self) -> String {
        self.captured(&["-e"])
    }

    /// Gives the terminal another size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let resized = self.tmux().args(["resize-window", "-x", &columns, "-y", &rows]).status().unwrap();
        assert!(resized.success());
    }

    /// Keeps everything that is written to the terminal from now on, also what is soon written over, in a file.
    pub(crate) fn record(&self) -> PathBuf {
        let file = self.home().join("written");
        let into = format!("cat >> {}", file.display());
        assert!(self.tmux().args(["pipe-pane", &into]).status().unwrap().success());
        file
    }

    /// The process that the shell waits for.
    pub(crate) fn program(&self) -> i32 {
        let shell = self.told("#{pane_pid}");
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        children.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Whether one sees where one types.
    pub(crate) fn cursor_is_shown(&self) -> bool {
        self.told("#{cursor_flag}") == "1"
    }

    /// Waits until this is on the screen.
    pub(crate) async fn shows(&self, what: &str) {
        until(&format!("the screen shows {what:?}"), async || self.text().contains(what)).await;
    }

    fn told(&self, what: &str) -> String {
        let output = self.tmux().args(["display-message", "-p", what]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn captured(&self, how: &[&str]) -> String {
        let output = self.tmux().args(["capture-pane", "-p"]).args(how).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(&self.socket);
        command
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}
