#![expect(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::time::Duration;

use leasehold_client::{
    Lease, LeaseState,
    proto::{self, CircuitState, LedgerHealth, RotationState},
};
use ratatui::{Terminal, backend::TestBackend, crossterm::event::KeyCode};

use super::*;
use crate::{
    rotation::RotationView,
    top::{
        news::{Listing, News, Outcome, Record},
        page::tests::at,
    },
};

const NOW: i64 = 1_000_000;

fn proto_time(second: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: second, nanos: 0 })
}

fn lease(n: u8, state: LeaseState, secret: &str) -> Lease {
    Lease {
        id: leasehold_core::LeaseId::from_bits([n; 16]),
        holder: "spiffe://example.org/prod/payments/api".parse().unwrap(),
        secret: secret.parse().unwrap(),
        version: Some("v1".parse().unwrap()),
        provider: "local".parse().unwrap(),
        dynamic: false,
        fields: Vec::new(),
        state,
        issued_at: at(NOW - 60),
        expires_at: at(NOW + 600 - i64::from(n)),
        max_expires_at: at(NOW + 3600),
        renewals: 0,
        stale_since: None,
        ended_at: None,
        end_cause: None,
        irrevocable_until: None,
        verification: None,
        ending: None,
    }
}

fn status(second: i64) -> News {
    let provider = |name: &str, calls, why: &str| proto::ProviderStatus {
        name: name.into(),
        circuit: CircuitState::Closed.into(),
        call_count: calls,
        failure_count: i64::from(!why.is_empty()),
        unavailable_reason: why.into(),
        ..Default::default()
    };
    News::Status(Ok(Box::new(proto::BrokerStatus {
        version: "0.1.0".into(),
        node: "a".into(),
        trust_domain: "example.org".into(),
        start_time: proto_time(NOW - 7_200),
        current_time: proto_time(second),
        live_lease_count: 3,
        quarantined_lease_count: 1,
        secret_count: 4,
        providers: vec![
            provider("local", 100 + (second - NOW) * 3, ""),
            provider("vault-main", 7, "is given a rest until 08:00:10"),
        ],
        ledger: Some(proto::LedgerStatus {
            health: LedgerHealth::Ok.into(),
            commit_count: 50 + (second - NOW) * 12,
            ..Default::default()
        }),
        policies: Some(proto::PolicyStatus { policy_count: 5, ..Default::default() }),
        ..Default::default()
    })))
}

fn record(sequence: i64, kind: &str, outcome: Outcome, words: &str) -> Record {
    Record {
        sequence,
        time: at(NOW - 40 + sequence),
        kind: kind.into(),
        outcome,
        secret: "prod/payments/db".into(),
        actor: "spiffe://example.org/prod/payments/api".into(),
        words: words.into(),
    }
}

fn empty() -> Page {
    Page::new(Duration::from_secs(2), String::new(), None)
}

/// A page with something in every list, and its time.
pub(in super::super) fn whole() -> (Page, Timestamp) {
    let mut page = empty();
    page.take(status(NOW - 2), at(NOW - 2));
    page.take(status(NOW), at(NOW));
    let leases = vec![
        lease(1, LeaseState::Active, "prod/payments/db"),
        lease(2, LeaseState::Active, "prod/payments/a-name-that-is-long"),
        lease(3, LeaseState::Quarantined, "prod/payments/ca"),
    ];
    let leases = News::Leases(Ok(Listing { items: leases, more: false }));
    page.take(leases, at(NOW));
    let rotation = RotationView::of(&proto::Rotation {
        secret: "prod/payments/db".into(),
        state: RotationState::Draining.into(),
        next_time: proto_time(NOW + 90),
        old_version_lease_count: 2,
        course: Some(proto::RotationCourse {
            old_version: "v1".into(),
            old_version_lease_count: 2,
            drain_deadline: proto_time(NOW + 3_600),
            ..Default::default()
        }),
        ..Default::default()
    });
    page.take(News::Rotations(Ok(Listing { items: vec![rotation], more: false })), at(NOW));
    page.take(News::Tail(Ok(())), at(NOW));
    let records = vec![
        record(1, "lease.issued", Outcome::Ok, "by payments.lease; lease-aeaqcaibaeaqcaibaeaqcaibae"),
        record(2, "lease.issued", Outcome::Denied, "call=call-a"),
        record(30, "rotation.promoted", Outcome::Ok, "a\u{1b}[2Jb"),
        record(39, "lease.issued", Outcome::Failed, "PROVIDER_THROTTLED"),
    ];
    page.take(News::Records(records), at(NOW));
    (page, at(NOW))
}

fn drawn(page: &Page, now: Timestamp, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let frame = terminal.draw(|frame| draw(page, now, true, frame.area(), frame.buffer_mut())).unwrap();
    let rows = frame.buffer.content.chunks(usize::from(width));
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()).collect()
}

fn at_80_by_24(page: &Page, now: Timestamp) -> String {
    drawn(page, now, 80, 24).join("\n")
}

#[test]
fn everything_is_on_a_screen_of_80_by_24() {
    let (page, now) = whole();
    assert_eq!(at_80_by_24(&page, now), include_str!("80x24.txt").trim_end());
}

#[test]
fn what_is_not_allowed_says_so_in_its_place() {
    let mut page = empty();
    for refused in [
        News::Status(Err(Trouble::NotAllowed)),
        News::Leases(Ok(Listing { items: Vec::new(), more: false })),
        News::Rotations(Ok(Listing { items: Vec::new(), more: false })),
        News::Tail(Err(Trouble::NotAllowed)),
    ] {
        page.take(refused, at(0));
    }
    let shown = at_80_by_24(&page, at(1));
    for says in [
        "every 2s",
        "broker   not allowed: no policy grants you ReadStatus",
        "a second not allowed (ReadAudit)",
        "no leases that you may see",
        "not allowed: no policy grants you ReadAudit",
    ] {
        assert!(shown.contains(says), "{says}:\n{shown}");
    }
    assert!(!shown.contains("STALE") && !shown.contains("problem"), "it is no fault:\n{shown}");
}

#[test]
fn a_broker_that_is_away_leaves_what_was_and_says_for_how_long() {
    let (mut page, _) = whole();
    page.take(News::Status(Err(Trouble::Away("nothing listens at\n127.0.0.1:1".into()))), at(NOW + 5));
    let shown = at_80_by_24(&page, at(NOW + 12));
    assert!(shown.contains("STALE for 12s"), "{shown}");
    assert!(shown.contains("problem  nothing listens at\\n127.0.0.1:1"), "{shown}");
    assert!(shown.contains("quarantined"), "{shown}");
    let mut page = empty();
    page.take(News::Status(Err(Trouble::Away("gone".into()))), at(5));
    let shown = at_80_by_24(&page, at(6));
    assert!(shown.contains("NO ANSWER") && shown.contains("not known"), "{shown}");
}

#[test]
fn a_pause_is_said_and_holds_the_times() {
    let (mut page, now) = whole();
    page.pause_or_go_on(now);
    let shown = at_80_by_24(&page, at(NOW + 60));
    assert!(shown.contains("PAUSED for 1m") && shown.contains("in 9m 59s"), "{shown}");
}

#[test]
fn a_filter_keeps_the_lines_that_have_it() {
    let (mut page, now) = whole();
    page.view.filter = "THROTTLED".into();
    let shown = at_80_by_24(&page, now);
    assert!(shown.contains("AUDIT  1 of 4 with \"THROTTLED\""), "{shown}");
    assert!(shown.contains("nothing that fits the filter"), "{shown}");
    assert!(shown.contains("only lines with \"THROTTLED\""), "{shown}");
    page.view.typing = true;
    assert!(at_80_by_24(&page, now).contains("/THROTTLED_"));
}

#[test]
fn one_list_can_have_the_whole_page_and_be_moved_in() {
    let (mut page, now) = whole();
    let key = |code| ratatui::crossterm::event::KeyEvent::from(code);
    page.press(key(KeyCode::Enter), now);
    let shown = at_80_by_24(&page, now);
    assert!(shown.contains("LEASES  3") && !shown.contains("AUDIT"), "{shown}");
    page.press(key(KeyCode::Tab), now);
    assert!(at_80_by_24(&page, now).contains("ROTATIONS  1"));
    let many = (10..400).map(|n| record(n, &format!("lease.n{n}"), Outcome::Ok, "")).collect();
    page.take(News::Records(many), now);
    page.view.focus = Pane::Tail;
    assert!(at_80_by_24(&page, now).contains("lease.n399"), "the newest first");
    page.press(key(KeyCode::Down), now);
    let shown = at_80_by_24(&page, now);
    assert!(!shown.contains("lease.n399") && shown.contains("lease.n398"), "{shown}");
    page.press(key(KeyCode::End), now);
    assert!(at_80_by_24(&page, now).contains("lease.issued"), "the last page is full");
    page.press(key(KeyCode::Home), now);
    assert!(at_80_by_24(&page, now).contains("lease.n399"));
}

#[test]
fn the_help_has_every_key() {
    let (mut page, now) = whole();
    page.view.help = true;
    let shown = at_80_by_24(&page, now);
    for (key, does) in keys::HELP {
        assert!(shown.contains(key) && shown.contains(does), "{key}: {does}\n{shown}");
    }
}

#[test]
fn colours_mark_what_is_said_and_are_left_out() {
    let (page, now) = whole();
    let area = Rect::new(0, 0, 80, 24);
    let [mut bright, mut plain] = [Buffer::empty(area), Buffer::empty(area)];
    draw(&page, now, true, area, &mut bright);
    draw(&page, now, false, area, &mut plain);
    let red = |buffer: &Buffer| buffer.content.iter().filter(|cell| cell.fg == Color::Red).count();
    assert!(red(&bright) >= "quarantined".len(), "{}", red(&bright));
    assert!(plain.content.iter().all(|cell| cell.fg == Color::Reset && cell.modifier.is_empty()));
    let text = |buffer: &Buffer| buffer.content.iter().map(|cell| cell.symbol()).collect::<String>();
    assert_eq!(text(&bright), text(&plain));
}

#[test]
fn it_can_be_drawn_at_any_size() {
    let (mut page, now) = whole();
    for zoomed in [false, true] {
        page.view.zoomed = zoomed;
        for width in (1..180).step_by(13) {
            for height in (1..60).step_by(2) {
                let lines = drawn(&page, now, width, height);
                assert_eq!(lines.len(), usize::from(height));
            }
        }
    }
    assert!(drawn(&page, now, 39, 24)[0].contains("at least 40x8"));
}

#[test]
fn who_is_looked_at_has_the_most_room() {
    assert_eq!(share(18, &[12, 3, 4, 40], 0), [7, 3, 4, 4]);
    assert_eq!(share(18, &[12, 3, 4, 40], 3), [4, 3, 4, 7]);
    assert_eq!(share(30, &[3, 3, 3, 3], 1), [3, 3, 3, 21]);
    assert_eq!(share(12, &[9, 9, 9, 9], 2), [3, 3, 3, 3]);
    for height in 12..80 {
        assert_eq!(share(height, &[12, 3, 4, 40], 1).iter().sum::<u16>(), height);
    }
}
