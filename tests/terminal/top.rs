//! `leasehold top` on a real terminal: what it shows as it happens, its keys, and that the terminal is as it was afterwards.

use std::{fs, process::Command};

use leasehold_provider_conformance::peers::{PeerError, or_skip};
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
    wait::until,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::screen::Screen;

const POLICIES: &str = r#"
@id("test.rotate")
permit (principal is Operator, action in [Action::"RotateSecret", Action::"ChangeSecret"], resource);
"#;
/// What must be on no screen.
const VALUE: &str = "canary-of-the-page";

/// A broker whose secret is rotated, and a shell of `name`'s.
async fn scene(name: &str, columns: u16, rows: u16) -> Option<(Site, Daemon, Screen)> {
    let found = Command::new("tmux").arg("-V").output();
    or_skip(found.map_err(|_| PeerError::NotInstalled("tmux"))).unwrap()?;
    let more = format!(
        "[[secret]]\npath = \"{SECRET}\"\nprovider = \"local\"\nref = \"payments-db\"\nttl = \"10m\"\nmax_ttl = \"1h\"\n\
         rotation = {{ strategy = \"generate\", drain_deadline = \"1h\" }}\n"
    );
    let site = Site::new(Plan { more, ..Plan::default() });
    site.write("policies/20-rotation.cedar", POLICIES);
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, VALUE).await;
    let screen = Screen::open(&site, name, columns, rows).await;
    Some((site, daemon, screen))
}

/// A lease of the workload's, by its id.
fn taken(site: &Site) -> String {
    let command = format!("lease get {SECRET} -o json");
    let output = site.leasehold("workload").args(command.split(' ')).output().unwrap();
    let lease: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    lease["lease"]["id"].as_str().unwrap().to_owned()
}

/// The line of the screen that begins so.
fn line(screen: &Screen, begins: &str) -> String {
    screen.text().lines().find(|line| line.trim_start().starts_with(begins)).unwrap_or_default().to_owned()
}

/// Waits until the page is gone, and the shell's terminal is as it was.
async fn is_as_it_was(screen: &Screen) {
    screen.shows("ended-").await;
    assert!(!screen.text().contains("AUDIT"), "the page is gone: {}", screen.text());
    assert!(screen.text().contains("before"), "what was there is there again: {}", screen.text());
    let settings = screen.run("stty -a").await;
    let words: Vec<_> = settings.split([' ', '\n', ';']).collect();
    for on in ["echo", "icanon", "isig", "opost"] {
        assert!(words.contains(&on), "{on} is on: {settings}");
    }
    assert!(screen.cursor_is_shown());
}

#[tokio::test]
async fn the_page_shows_what_happens_as_it_happens_and_leaves_the_terminal_as_it_was() {
    let Some((site, _daemon, screen)) = scene("operator", 80, 24).await else { return };
    screen.write("echo before\nleasehold top --interval 1s; echo ended-$?\n").await;
    for part in ["every 1s", "LEASES  0", "ROTATIONS  1", "PROVIDERS  1", "AUDIT  "] {
        screen.shows(part).await;
    }
    screen.shows("ledger ok").await;
    let lease = taken(&site);
    screen.shows(&lease).await;
    screen.shows("LEASES  1").await;
    screen.shows("leases 1 ").await;
    assert!(!line(&screen, "a second").contains("issued 0 "), "{}", screen.text());
    let row = screen.text().lines().find(|line| line.ends_with(&lease)).unwrap_or_default().to_owned();
    assert!(row.contains("active") && row.contains("in 9m") && row.contains("ments/api"), "{row}");

    // What goes wrong.
    assert!(line(&screen, "minute").contains("0 denied"), "{}", screen.text());
    let denied = site.leasehold("stranger").args(["lease", "get", SECRET]).output().unwrap();
    assert_eq!(denied.status.code(), Some(3));
    until("the denial is counted", async || line(&screen, "minute").contains("1 denied")).await;
    assert!(line(&screen, "minute").contains("errors"), "{}", screen.text());
    screen.shows("denied   ").await;

    // A rotation with its holder.
    let rotated = site.leasehold("operator").args(["secret", "rotate", SECRET, "--wait=current"]).output();
    assert!(rotated.unwrap().status.success());
    screen.shows("draining").await;
    screen.shows("1 lease on ").await;
    screen.shows("rotation.promoted").await;
    until("the rotation is counted", async || !line(&screen, "a second").contains("rotated 0 ")).await;

    assert!(!screen.text().contains("status.read"), "its own looks are not shown: {}", screen.text());
    assert!(!screen.text().contains(VALUE), "{}", screen.text());
    screen.write("q").await;
    is_as_it_was(&screen).await;
    // Everything was in the journal, its own looks too.
    let looks = screen.run("leasehold audit query --kind status.read | tail -n 3").await;
    assert!(looks.contains("status.read"), "{looks}");
}

#[tokio::test]
async fn keys_and_sizes_change_the_page_and_a_signal_ends_it() {
    let Some((site, _daemon, screen)) = scene("operator", 100, 30).await else { return };
    let lease = taken(&site);
    screen.write("echo before\nleasehold top --interval 1s; echo ended-$?\n").await;
    screen.shows(&lease).await;
    screen.shows("▸ LEASES").await;
    screen.key("Tab");
    screen.shows("▸ ROTATIONS").await;
    screen.key("BTab");
    screen.key("Left");
    screen.shows("▸ AUDIT").await;
    screen.key("Enter");
    until("one list has the page", async || !screen.text().contains("LEASES")).await;
    screen.key("Escape");
    screen.shows("LEASES  1").await;
    screen.write("?").await;
    screen.shows("Ctrl-C").await;
    screen.write("?").await;
    screen.shows("LEASES  1").await;
    screen.write("/broker.started\n").await;
    screen.shows("with \"broker.started\"").await;
    screen.shows("nothing that fits the filter").await;
    screen.key("Escape");
    screen.shows(&lease).await;

    // While it is paused nothing changes, and nothing is lost.
    screen.write("p").await;
    screen.shows("PAUSED").await;
    let other = taken(&site);
    screen.shows("PAUSED for 2s").await;
    assert!(!screen.text().contains(&other), "{}", screen.text());
    screen.write("p").await;
    screen.shows(&other).await;

    screen.resize(80, 24);
    until("it fits", async || screen.text().lines().count() <= 24 && screen.text().contains("q end")).await;
    screen.shows(&lease).await;
    screen.resize(30, 6);
    screen.shows("at least 40x8").await;
    screen.resize(100, 30);
    screen.shows(&other).await;

    kill_process(Pid::from_raw(screen.program()).unwrap(), Signal::TERM).unwrap();
    is_as_it_was(&screen).await;
}

#[tokio::test]
async fn a_broker_that_is_away_is_waited_for() {
    let Some((site, daemon, screen)) = scene("operator", 100, 30).await else { return };
    let lease = taken(&site);
    screen.write("leasehold top --interval 1s; echo ended-$?\n").await;
    screen.shows(&lease).await;
    assert!(daemon.stop().await.success());
    screen.shows("STALE for").await;
    screen.shows("problem  ").await;
    assert!(screen.text().contains(&lease), "what was known stays: {}", screen.text());
    let _daemon = Daemon::start(&site).await;
    screen.shows("every 1s").await;
    let other = taken(&site);
    screen.shows(&other).await;
    screen.shows("broker.started").await;
    screen.key("C-c");
    screen.shows("ended-0").await;
}

#[tokio::test]
async fn what_is_not_allowed_is_said_and_one_page_can_be_had_as_text() {
    let Some((site, _daemon, screen)) = scene("workload", 100, 40).await else { return };
    taken(&site);
    let shown = screen.run("leasehold top --once").await;
    assert!(shown.contains("not allowed: no policy grants you ReadStatus"), "{shown}");
    assert!(shown.contains("not allowed: no policy grants you ReadAudit"), "{shown}");
    assert!(!shown.contains("q end") && !shown.contains("problem"), "{shown}");
    screen.write("leasehold top\n").await;
    screen.shows("a second not allowed").await;
    screen.shows("every 2s").await;
    screen.write("q").await;
    screen.clear().await;
    screen.write("leasehold top | cat; echo ended-${PIPESTATUS[0]}\n").await;
    screen.shows("standard output is no terminal").await;
    screen.shows("ended-2").await;
    screen.clear().await;
    screen.write("TERM=dumb leasehold top; echo ended-$?\n").await;
    screen.shows("ended-2").await;
    screen.run("leasehold top --once --color always > page.txt").await;
    let page = fs::read_to_string(screen.home().join("page.txt")).unwrap();
    assert!(page.starts_with("leasehold top") && !page.contains('\u{1b}'), "{page:?}");
    let operators = site.leasehold("operator").args(["top", "--once"]).output().unwrap();
    let page = String::from_utf8(operators.stdout).unwrap();
    assert!(page.contains("LEASES  1") && page.contains("lease.issued") && !page.contains(VALUE), "{page}");
}

#[tokio::test]
async fn colours_are_on_the_page_unless_they_are_not_wanted() {
    let Some((site, _daemon, screen)) = scene("operator", 80, 24).await else { return };
    let lease = taken(&site);
    // Green, by its number.
    let coloured = "\u{1b}[38;5;2mactive";
    screen.write("leasehold top --interval 1s\n").await;
    screen.shows(&lease).await;
    assert!(screen.colours().contains(coloured), "{}", screen.colours());
    screen.write("q").await;
    for plain in ["NO_COLOR=1 leasehold top", "leasehold top --color never"] {
        screen.clear().await;
        screen.write(&format!("{plain} --interval 1s\n")).await;
        screen.shows(&lease).await;
        let shown = screen.colours();
        assert!(shown.contains("active") && !shown.contains('\u{1b}'), "{plain}: {shown:?}");
        screen.write("q").await;
    }
}
