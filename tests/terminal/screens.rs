//! The command line's own screens: tables that fit, colours, pages that are shown again, contexts, and what the shell
//! completes.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use leasehold_client::Issue;
use leasehold_provider_conformance::peers::{PeerError, or_skip};
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site, WORKLOAD},
    wait::until,
};

use crate::screen::Screen;

/// A broker with one lease of the workload's, and a shell of the operator's.
async fn scene(columns: u16) -> Option<(Site, Daemon, String, Screen)> {
    let found = Command::new("tmux").arg("-V").output();
    or_skip(found.map_err(|_| PeerError::NotInstalled("tmux"))).unwrap()?;
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let lease =
        site.leasehold("workload").args(["lease", "get", SECRET, "-o", "json", "--ttl", "5m"]).output();
    let lease: serde_json::Value = serde_json::from_slice(&lease.unwrap().stdout).unwrap();
    let lease = lease["lease"]["id"].as_str().unwrap().to_owned();
    let screen = Screen::open(&site, "operator", columns, 40).await;
    Some((site, daemon, lease, screen))
}

#[tokio::test]
async fn a_table_fits_the_terminal_is_coloured_there_and_plain_and_whole_elsewhere() {
    let Some((_site, _daemon, lease, screen)) = scene(112).await else { return };
    let shown = screen.run("leasehold lease list --all").await;
    let rows: Vec<_> = shown.lines().collect();
    assert_eq!(rows.len(), 2, "one line a lease: {shown}");
    assert!(rows[1].starts_with(&lease) && rows[1].contains(SECRET), "ids are whole: {shown}");
    assert!(!rows[1].contains(WORKLOAD) && rows[1].contains("…"), "the holder is cut: {shown}");
    assert!(rows[1].contains("/payments/api  "), "to what tells it apart: {shown}");
    let green = "\u{1b}[32mactive";
    assert!(screen.colours().contains(green), "{}", screen.colours());
    for plain in ["NO_COLOR=1 leasehold", "TERM=dumb leasehold", "leasehold --color never"] {
        screen.run(&format!("{plain} lease list --all")).await;
        let shown = screen.colours();
        assert!(shown.contains("active") && !shown.contains(green), "{plain}: {shown}");
    }
    screen.run("leasehold lease list --all > whole.txt").await;
    screen.run("leasehold lease list --all --color always > bright.txt").await;
    let whole = fs::read_to_string(screen.home().join("whole.txt")).unwrap();
    assert!(whole.contains(WORKLOAD) && !whole.contains(['…', '\u{1b}']), "{whole:?}");
    let bright = fs::read_to_string(screen.home().join("bright.txt")).unwrap();
    assert!(bright.contains(green), "{bright:?}");
}

#[tokio::test]
async fn every_listing_fits_a_terminal_of_eighty_columns_and_no_id_is_cut() {
    let Some((_site, _daemon, lease, screen)) = scene(80).await else { return };
    let head = |shown: &str| shown.lines().next().unwrap_or_default().to_owned();
    let shown = screen.run("leasehold lease list --all").await;
    let rows: Vec<_> = shown.lines().collect();
    assert_eq!(rows.len(), 2, "one line a lease: {shown}");
    assert!(rows[1].starts_with(&lease) && rows[1].contains(SECRET), "{shown}");
    assert!(rows[1].contains("active") && rows[1].contains(" in 4m"), "{shown}");
    assert!(!rows[0].contains("VERSION"), "the least telling column is left out: {shown}");
    for command in ["secret list", "secret versions prod/payments/db", "rotation list", "provider list"] {
        screen.run(&format!("leasehold {command} > whole.txt")).await;
        let shown = screen.run(&format!("leasehold {command}")).await;
        let whole = fs::read_to_string(screen.home().join("whole.txt")).unwrap();
        assert_eq!(shown.lines().count(), whole.lines().count(), "{command}: {shown}");
        let columns = |head: String| head.split("  ").filter(|name| !name.is_empty()).count();
        assert!(columns(head(&shown)) <= columns(head(&whole)), "{command}: {shown}");
    }
    let shown = screen.run("leasehold audit tail -n 5").await;
    assert_eq!(shown.lines().count(), 6, "one line a record: {shown}");
    assert!(head(&shown).starts_with("TIME") && head(&shown).ends_with("ACTOR"), "{shown}");
    let whole = screen.run("leasehold audit tail -n 5 | cat | head -n 1").await;
    assert!(whole.starts_with("SEQ ") && whole.ends_with("DETAILS"), "a pipe has every column: {whole}");
}

#[tokio::test]
async fn a_page_that_is_shown_again_follows_the_broker_and_ends_with_ctrl_c() {
    let Some((site, _daemon, _, screen)) = scene(100).await else { return };
    screen.write("leasehold status --watch=1s\n").await;
    screen.shows("every 1s: leasehold status").await;
    screen.shows("1 live").await;
    let taken = site.leasehold("workload").args(["lease", "get", SECRET, "-o", "json"]).output().unwrap();
    assert!(taken.status.success());
    screen.shows("2 live").await;
    let page = screen.text();
    assert_eq!(page.matches("trust domain").count() + page.matches("broker ").count(), 1, "one page: {page}");
    screen.clear().await;
    // A revocation of many asks first, and only `yes` is yes.
    screen.write(&format!("leasehold lease revoke --secret {SECRET} --reason gone\n")).await;
    screen.shows("to revoke 2 leases").await;
    screen.write("no\n").await;
    screen.shows("nothing was done").await;
    screen.clear().await;
    screen.write(&format!("leasehold lease revoke --secret {SECRET} --reason gone\n")).await;
    screen.shows("Type `yes`").await;
    screen.write("yes\n").await;
    screen.shows("finished").await;
}

/// The shell, as a peer of these tests.
fn is_there(shell: &'static str) -> bool {
    let found = Command::new(shell).arg("--version").output();
    or_skip(found.map_err(|_| PeerError::NotInstalled(shell))).unwrap().is_some()
}

async fn complete_what_the_broker_has(screen: &Screen, lease: &str) {
    let words = [
        ("leasehold lea", "leasehold lease".to_owned()),
        ("leasehold lease get prod/p", format!("leasehold lease get {SECRET}")),
        ("leasehold lease show lease-", format!("leasehold lease show {lease}")),
        ("leasehold status --outp", "leasehold status --output".to_owned()),
    ];
    for (typed, whole) in words {
        screen.clear().await;
        screen.write(typed).await;
        screen.key("Tab");
        screen.shows(&format!("ready> {whole}")).await;
    }
}

/// As the Debian package installs it.
#[tokio::test]
async fn zsh_completes_what_the_broker_has_from_the_first_time_on() {
    if !is_there("zsh") {
        return;
    }
    let Some((_site, _daemon, lease, screen)) = scene(120).await else { return };
    screen.run("mkdir functions && leasehold completions zsh > functions/_leasehold").await;
    let start =
        "PS1='ready> '\nfpath=(~/functions $fpath)\nautoload -U compinit\ncompinit -u\nprint is-here\n";
    fs::write(screen.home().join(".zshrc"), start).unwrap();
    screen.write("exec zsh\n").await;
    screen.shows("is-here\nready>").await;
    complete_what_the_broker_has(&screen, &lease).await;
}

#[tokio::test]
async fn fish_completes_what_the_broker_has() {
    if !is_there("fish") {
        return;
    }
    let Some((_site, _daemon, lease, screen)) = scene(120).await else { return };
    let folder = ".config/fish/completions";
    screen.run(&format!("mkdir -p {folder} && leasehold completions fish > {folder}/leasehold.fish")).await;
    let start = "function fish_prompt; echo -n 'ready> '; end\nset -g fish_greeting is-here\n\
                 set -g fish_autosuggestion_enabled 0\n";
    fs::write(screen.home().join(".config/fish/config.fish"), start).unwrap();
    screen.write("exec fish\n").await;
    screen.shows("is-here\nready>").await;
    complete_what_the_broker_has(&screen, &lease).await;
}

#[tokio::test]
async fn the_check_of_a_journal_says_how_far_it_has_come_on_a_terminal_only() {
    let Some((site, daemon, _, screen)) = scene(120).await else { return };
    drop(daemon);
    // In the place of the journal's first segment something that nobody writes into: the check waits for it.
    let segment = site.state().join("journal/00000000000000000001.log");
    let kept = segment.with_extension("kept");
    fs::rename(&segment, &kept).unwrap();
    assert!(Command::new("mkfifo").arg(&segment).status().unwrap().success());
    screen.write(&format!("leasehold audit verify {}\n", site.state().display())).await;
    screen.shows("[........................] segment 1 of 1, 0 good records").await;
    screen.clear().await;
    fs::rename(&kept, &segment).unwrap();
    let found = screen.run(&format!("leasehold audit verify {} 2> told.txt", site.state().display())).await;
    assert!(found.contains("good: every record") && !found.contains("1 of 1"), "{found}");
    assert_eq!(fs::read_to_string(screen.home().join("told.txt")).unwrap(), "", "a file watches nothing");
}

#[tokio::test]
async fn long_work_shows_how_far_it_has_come_in_one_line_that_goes_away() {
    let Some((site, _daemon, _, screen)) = scene(80).await else { return };
    let client = daemon::workload(&site).await;
    let take = async || {
        let issue =
            Issue { secret: SECRET.parse().unwrap(), ttl: None, fields: Vec::new(), request_id: None };
        client.issue_lease(issue).await.unwrap();
    };
    for _ in 0..60 {
        take().await;
    }
    let written = screen.record();
    let revoke = format!("leasehold lease revoke --secret {SECRET} --reason gone --yes");
    let shown = screen.run(&revoke).await;
    assert!(shown.contains("finished") && shown.contains("61"), "{shown}");
    assert!(!shown.contains("[#") && !shown.contains("[."), "the line is gone: {shown}");
    let bar = async || {
        let written = fs::read_to_string(&written).unwrap_or_default();
        let bars: Vec<_> = written.split("\r\u{1b}[K").filter(|line| line.starts_with('[')).collect();
        bars.last().is_some_and(|bar| bar.starts_with(&format!("[{}]", "#".repeat(24))))
    };
    until("the last line of progress is a full bar", bar).await;
    take().await;
    screen.run(&format!("{revoke} > told.txt 2>&1")).await;
    let told = fs::read_to_string(screen.home().join("told.txt")).unwrap();
    assert!(!told.contains('\r'), "in a file there is no line that changes: {told:?}");
}

#[tokio::test]
async fn bash_completes_what_the_broker_has_and_is_not_held_up_when_it_is_away() {
    let Some((_site, daemon, lease, screen)) = scene(120).await else { return };
    screen.run("source <(leasehold completions bash)").await;
    let completed = async |typed: &str, whole: &str| {
        screen.clear().await;
        screen.write(typed).await;
        screen.key("Tab");
        screen.shows(&format!("ready> {whole}")).await;
    };
    completed("leasehold lea", "leasehold lease").await;
    completed("leasehold lease get prod/p", &format!("leasehold lease get {SECRET}")).await;
    completed("leasehold lease show lease-", &format!("leasehold lease show {lease}")).await;
    completed("leasehold secret versions pr", &format!("leasehold secret versions {SECRET}")).await;
    completed("leasehold provider check lo", "leasehold provider check local").await;
    completed("leasehold status --outp", "leasehold status --output").await;
    drop(daemon);
    screen.clear().await;
    screen.write("leasehold lease get prod/p").await;
    screen.key("Tab");
    screen.write("x").await;
    screen.shows("ready> leasehold lease get prod/px").await;
    assert!(!screen.text().contains("leasehold:"), "a shell is no place for messages: {}", screen.text());
}

#[tokio::test]
async fn brokers_have_names_and_a_file_that_others_can_write_is_refused() {
    let Some((site, _daemon, lease, screen)) = scene(220).await else { return };
    let reach = format!(
        "--addr {} --cert {} --key {} --ca {}",
        site.address,
        site.path("tls/operator.pem").display(),
        site.path("tls/operator.key").display(),
        site.path("tls/clients.pem").display()
    );
    screen.run("unset LEASEHOLD_ADDR LEASEHOLD_CERT LEASEHOLD_KEY LEASEHOLD_CA").await;
    screen.run(&format!("leasehold context add here {reach} > /dev/null")).await;
    let gone = reach.replace(&site.address.to_string(), "127.0.0.1:1");
    screen.run(&format!("leasehold context add gone {gone} > /dev/null")).await;
    let listed = screen.run("leasehold context list").await;
    assert!(listed.lines().any(|line| line.starts_with("here") && line.contains("yes")), "{listed}");
    assert!(screen.run("leasehold lease list --all").await.contains(&lease), "the first one is current");
    let shown = screen.run("leasehold config show").await;
    assert!(shown.lines().any(|line| line.starts_with("addr") && line.ends_with("context here")), "{shown}");
    screen.run("leasehold context use gone > /dev/null").await;
    screen.write("leasehold status\n").await;
    screen.shows("nothing listens at 127.0.0.1:1").await;
    assert!(screen.run("leasehold status --context here").await.contains("1 live"));
    let file = screen.home().join(".config/leasehold/config.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    screen.clear().await;
    screen.write("leasehold status --context here\n").await;
    screen.shows("others can write it").await;
    screen.shows("chmod go-w").await;
}
