//! Draws the page: a function of what is known and of the time, and of nothing else.

use leasehold_core::Timestamp;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
};

use super::{
    keys,
    news::Trouble,
    page::{Page, Standing},
    pane::{Contents, Pane},
    rates::{self, Counts, WINDOW, bars, shown},
};
use crate::{
    duration,
    look::Tone,
    output::printable,
    status,
    table::{fit, padded, shorten},
};

/// Less than this shows nothing.
const LEAST: (u16, u16) = (40, 8);
/// A pane that has less than its title, its columns and a row is none.
const LEAST_PANE: u16 = 3;

/// Draws it, in colours or without.
pub(super) fn draw(page: &Page, now: Timestamp, color: bool, area: Rect, buffer: &mut Buffer) {
    let pen = Pen { color };
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let small = format!("at least {}x{} is needed; q ends", LEAST.0, LEAST.1);
        write(buffer, area, &[Line::from(small)]);
        return;
    }
    let mut top = header(page, now, pen, usize::from(area.width));
    top.push(Line::default());
    let (head, rest) = cut(area, u16::try_from(top.len()).unwrap_or(u16::MAX));
    write(buffer, head, &top);
    let (body, foot) = cut(rest, rest.height.saturating_sub(1));
    write(buffer, foot, &[footer(page, pen)]);
    if page.view.help {
        write(buffer, body, &help(pen));
        return;
    }
    let all: Vec<_> = Pane::ALL.iter().map(|pane| (*pane, pane.contents(page, now))).collect();
    let focus = page.view.focus;
    let room = LEAST_PANE.saturating_mul(4);
    if page.view.zoomed || body.height < room {
        if let Some((pane, contents)) = all.iter().find(|(pane, _)| *pane == focus) {
            write(buffer, body, &pane_lines(page, *pane, contents, pen, body));
        }
        return;
    }
    let wants: Vec<_> = all.iter().map(|(_, contents)| wanted(contents)).collect();
    let mut left = body;
    for ((pane, contents), height) in all.iter().zip(share(body.height, &wants, focus.index())) {
        let (place, below) = cut(left, height);
        write(buffer, place, &pane_lines(page, *pane, contents, pen, place));
        left = below;
    }
}

/// How high the page is when everything in its lists is on it, up to so many rows of each.
pub(super) fn whole_height(page: &Page, now: Timestamp, width: u16, most: u16) -> u16 {
    let head = header(page, now, Pen { color: false }, usize::from(width)).len();
    let panes = Pane::ALL.iter().map(|pane| wanted(&pane.contents(page, now)).min(most));
    let head = u16::try_from(head).unwrap_or(u16::MAX);
    panes.fold(head.saturating_add(2), u16::saturating_add)
}

/// What paints, or does not.
#[derive(Clone, Copy)]
struct Pen {
    color: bool,
}

impl Pen {
    fn style(self, tone: Tone) -> Style {
        let style = Style::new();
        match tone {
            _ if !self.color => style,
            Tone::Plain => style,
            Tone::Head => style.add_modifier(Modifier::BOLD),
            Tone::Good => style.fg(Color::Green),
            Tone::Busy => style.fg(Color::Yellow),
            Tone::Bad => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Faint => style.add_modifier(Modifier::DIM),
        }
    }

    fn paint(self, tone: Tone, text: impl Into<String>) -> Span<'static> {
        Span::styled(text.into(), self.style(tone))
    }

    /// Parts of a line with their names before them.
    fn facts(self, name: &str, facts: Vec<(String, Tone)>) -> Line<'static> {
        let mut spans = vec![self.paint(Tone::Faint, format!("{name:9}"))];
        for (n, (text, tone)) in facts.into_iter().enumerate() {
            spans.push(Span::raw(if n == 0 { "" } else { "   " }));
            spans.push(self.paint(tone, text));
        }
        Line::from(spans)
    }
}

fn header(page: &Page, now: Timestamp, pen: Pen, width: usize) -> Vec<Line<'static>> {
    let (state, tone, problem) = standing(page, now);
    let mut name = "leasehold top".to_owned();
    if let Some(status) = page.shown().status.value.as_deref() {
        name.push_str(&printable(&format!("  {} {}  {}", status.node, status.version, status.trust_domain)));
        let span = status.start_time.zip(status.current_time);
        if let Some(seconds) = span.and_then(|(start, now)| now.seconds.checked_sub(start.seconds)) {
            let up = std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
            name.push_str(&format!("  up {}", duration::show(up)));
        }
    }
    let room = width.saturating_sub(state.chars().count()).saturating_sub(1);
    let name: String = name.chars().take(room).collect();
    let first = vec![pen.paint(Tone::Head, format!("{name:room$} ")), pen.paint(tone, state)];
    let mut lines = vec![Line::from(first), broker(page, pen), happening(page, now, pen)];
    lines.push(course(page, now, pen, width));
    if let Some(problem) = problem {
        let room = width.saturating_sub(9);
        let problem: String = printable(&problem).chars().take(room).collect();
        lines.push(pen.facts("problem", vec![(problem, Tone::Bad)]));
    }
    lines
}

/// The state in a word or two, and the sentence that goes with it.
fn standing(page: &Page, now: Timestamp) -> (String, Tone, Option<String>) {
    let ago = |since: Timestamp| duration::show(now.duration_since(since).unsigned_abs());
    match page.standing(now) {
        Standing::Asking => ("asking".to_owned(), Tone::Busy, None),
        Standing::Live => (format!("every {}", duration::show(page.interval)), Tone::Faint, None),
        Standing::Paused { since } => (format!("PAUSED for {}", ago(since)), Tone::Busy, None),
        Standing::Stale { since: Some(since), why } => {
            (format!("STALE for {}", ago(since)), Tone::Bad, Some(why))
        }
        Standing::Stale { since: None, why } => ("NO ANSWER".to_owned(), Tone::Bad, Some(why)),
    }
}

fn broker(page: &Page, pen: Pen) -> Line<'static> {
    let part = &page.shown().status;
    let Some(status) = part.value.as_deref() else {
        let why = match part.trouble {
            Some(Trouble::NotAllowed) => "not allowed: no policy grants you ReadStatus",
            Some(Trouble::Away(_)) => "not known",
            None => "asking ...",
        };
        return pen.facts("broker", vec![(why.to_owned(), Tone::Plain)]);
    };
    let mut facts = vec![(format!("leases {}", status.live_lease_count), Tone::Plain)];
    if status.quarantined_lease_count > 0 {
        facts.push((format!("{} QUARANTINED", status.quarantined_lease_count), Tone::Bad));
    }
    if status.orphan_count > 0 {
        facts.push((format!("{} ORPHANS", status.orphan_count), Tone::Bad));
    }
    if status.on_hold {
        facts.push(("ON HOLD".to_owned(), Tone::Bad));
    }
    let ledger = status.ledger.clone().unwrap_or_default();
    let tone =
        if ledger.health() == leasehold_client::proto::LedgerHealth::Ok { Tone::Plain } else { Tone::Bad };
    facts.push((format!("ledger {}", status::health(ledger.health())), tone));
    if status.last_reload.as_ref().is_some_and(|reload| !reload.rejection.is_empty()) {
        facts.push(("RELOAD REFUSED".to_owned(), Tone::Bad));
    }
    facts.push((format!("secrets {}", status.secret_count), Tone::Plain));
    facts.push((
        format!("policies {}", status.policies.as_ref().map_or(0, |all| all.policy_count)),
        Tone::Plain,
    ));
    pen.facts("broker", facts)
}

/// Rates of the last minute.
fn happening(page: &Page, now: Timestamp, pen: Pen) -> Line<'static> {
    let seen = page.shown();
    let mut facts = Vec::new();
    if seen.tail.trouble == Some(Trouble::NotAllowed) {
        facts.push(("not allowed (ReadAudit)".to_owned(), Tone::Plain));
    } else {
        let minute = seen.rates.minute(page.time_there(now));
        let Counts { issued, renewed, ended, rotated, .. } = minute;
        for (name, count) in
            [("issued", issued), ("renewed", renewed), ("ended", ended), ("rotated", rotated)]
        {
            let rate = f64::from(count) / f64::from(u16::try_from(WINDOW).unwrap_or(1));
            facts.push((format!("{name} {}", shown(rate)), Tone::Plain));
        }
    }
    if let Some(rate) = seen.commits.rate() {
        facts.push((format!("commits {}", rates::shown(rate)), Tone::Plain));
    }
    pen.facts("a second", facts)
}

/// What the last minute was like.
fn course(page: &Page, now: Timestamp, pen: Pen, width: usize) -> Line<'static> {
    let seen = page.shown();
    if seen.tail.trouble == Some(Trouble::NotAllowed) {
        return pen.facts("minute", vec![("-".to_owned(), Tone::Plain)]);
    }
    let there = page.time_there(now);
    let minute = seen.rates.minute(there);
    let mut facts = vec![(format!("{} records", minute.all), Tone::Plain)];
    let tone = |count: u32| if count > 0 { Tone::Bad } else { Tone::Plain };
    facts.push((format!("{} denied", minute.denied), tone(minute.denied)));
    facts.push((format!("{} failed", minute.failed), tone(minute.failed)));
    if let Some(errors) = minute.errors() {
        let tone = tone(minute.denied.saturating_add(minute.failed));
        facts.push((format!("errors {} %", shown(errors)), tone));
    }
    let used: usize = facts.iter().map(|(text, _)| text.chars().count().saturating_add(3)).sum();
    let room = width.saturating_sub(used).saturating_sub(9).min(60);
    facts.push((bars(&seen.rates.course(there, room)), Tone::Good));
    pen.facts("minute", facts)
}

fn footer(page: &Page, pen: Pen) -> Line<'static> {
    let view = &page.view;
    let filter = printable(&view.filter);
    if view.typing {
        let end = pen.paint(Tone::Faint, "   enter keeps it, esc drops it");
        return Line::from(vec![Span::raw(format!("/{filter}_")), end]);
    }
    if !filter.is_empty() {
        let end = pen.paint(Tone::Faint, "   esc drops it   ? help");
        return Line::from(vec![Span::raw(format!("only lines with \"{filter}\"")), end]);
    }
    Line::from(pen.paint(Tone::Faint, keys::BRIEF))
}

fn help(pen: Pen) -> Vec<Line<'static>> {
    let mut lines = vec![Line::from(pen.paint(Tone::Head, "KEYS"))];
    lines.extend(keys::HELP.iter().map(|(key, does)| Line::from(format!("  {key:29}  {does}"))));
    lines.push(Line::default());
    let about = [
        "Rates are those of the last minute, from the audit tail; commits and calls are",
        "from the broker's counters. Listings are asked for when the tail tells of a",
        "change. The page's own looks are in the journal, and not on the page.",
    ];
    lines.extend(about.map(|line| Line::from(pen.paint(Tone::Faint, line))));
    lines
}

/// A pane's title, its columns and its rows.
fn pane_lines(page: &Page, pane: Pane, contents: &Contents, pen: Pen, area: Rect) -> Vec<Line<'static>> {
    let width = usize::from(area.width);
    let (mark, tone) = if page.view.focus == pane { ("▸ ", Tone::Head) } else { ("  ", Tone::Plain) };
    let title = printable(&format!("{mark}{} ", contents.title));
    let rule = "─".repeat(width.saturating_sub(title.chars().count()));
    let mut lines = vec![Line::from(vec![pen.paint(tone, title), pen.paint(Tone::Faint, rule)])];
    if contents.rows.is_empty() {
        lines.push(Line::from(format!("  {}", contents.nothing)));
        return lines;
    }
    let mut widths: Vec<_> = contents.head.iter().map(|name| name.chars().count()).collect();
    for row in &contents.rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    fit(&mut widths, contents.head, contents.cuts, width.saturating_sub(2));
    let line = |cells: Vec<(String, Tone)>| {
        let mut spans = vec![Span::raw("  ")];
        for ((cell, tone), width) in cells.into_iter().zip(&widths) {
            spans.push(pen.paint(tone, padded(&cell, *width)));
            spans.push(Span::raw("  "));
        }
        Line::from(spans)
    };
    lines.push(line(contents.head.iter().map(|name| ((*name).to_owned(), Tone::Faint)).collect()));
    let visible = usize::from(area.height).saturating_sub(2);
    let furthest = contents.rows.len().saturating_sub(visible);
    let scrolled = page.view.scrolled.get(pane.index()).copied().unwrap_or_default().min(furthest);
    for row in contents.rows.iter().skip(scrolled).take(visible) {
        let cells = row.iter().zip(contents.head).zip(&widths);
        let cells = cells
            .map(|((cell, name), width)| (shorten(cell, name, contents.cuts, *width), pane.tone(name, cell)));
        lines.push(line(cells.collect()));
    }
    lines
}

/// How many lines it would fill.
fn wanted(contents: &Contents) -> u16 {
    let rows = contents.rows.len().saturating_add(2).max(usize::from(LEAST_PANE));
    u16::try_from(rows).unwrap_or(u16::MAX)
}

/// How many lines each pane gets: each the least, the one that is looked at up to half of what is left, then the others as
/// they need it, one by one. What nobody needs is the last one's.
fn share(height: u16, wants: &[u16], focus: usize) -> Vec<u16> {
    let mut got = vec![LEAST_PANE; wants.len()];
    let mut left = height.saturating_sub(got.iter().sum());
    if let (Some(mine), Some(want)) = (got.get_mut(focus), wants.get(focus)) {
        let more = want.saturating_sub(*mine).min(left.div_ceil(2));
        *mine = mine.saturating_add(more);
        left = left.saturating_sub(more);
    }
    while left > 0 {
        let before = left;
        for (mine, want) in got.iter_mut().zip(wants) {
            if left > 0 && *mine < *want {
                *mine = mine.saturating_add(1);
                left = left.saturating_sub(1);
            }
        }
        if before == left {
            break;
        }
    }
    if let Some(last) = got.last_mut() {
        *last = last.saturating_add(left);
    }
    got
}

/// The area's first lines, and the others.
fn cut(area: Rect, height: u16) -> (Rect, Rect) {
    let height = height.min(area.height);
    let below = Rect { y: area.y.saturating_add(height), height: area.height.saturating_sub(height), ..area };
    (Rect { height, ..area }, below)
}

/// Writes as many lines as there is room for.
fn write(buffer: &mut Buffer, area: Rect, lines: &[Line<'static>]) {
    let area = area.intersection(buffer.area);
    for (row, line) in area.rows().zip(lines) {
        buffer.set_line(row.x, row.y, line, row.width);
    }
}

#[cfg(test)]
pub(super) mod tests;
