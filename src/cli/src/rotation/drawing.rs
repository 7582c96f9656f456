//! The machine of a rotation that is under way, drawn: a line a step, with its time, and the holders where it waits for
//! them.

use std::time::Duration;

use leasehold_core::Timestamp;

use super::view::{CourseView, RotationView, StepView};
use crate::{clock, duration, output::printable};

/// The steps that lie ahead, by strategy.
const AHEAD: [&str; 8] =
    ["creating", "created", "applied", "tested", "draining", "retiring", "closing", "retired"];

/// The drawing, a line each.
pub(super) fn draw(view: &RotationView, course: &CourseView) -> Vec<String> {
    let now = clock::now();
    let back = if course.rolled_back { ", the way back" } else { "" };
    let mut lines =
        vec![String::new(), format!("rotation {}, {}{back}", view.rotations, printable(&course.why()))];
    let mut steps = course.steps.iter().peekable();
    while let Some(step) = steps.next() {
        let next = steps.peek().copied();
        lines.push(reached(step, next, course, now));
        if next.is_none() {
            lines.extend(what_it_waits_for(step, course, now));
        }
    }
    let here = course.steps.last().map_or("", |step| step.state);
    lines.extend(ahead(here, view.strategy).map(|state| format!("  [ ] {state}")));
    lines
}

fn reached(step: &StepView, next: Option<&StepView>, course: &CourseView, now: Timestamp) -> String {
    let mark = match (next, &course.failure) {
        (Some(_), _) => 'x',
        (None, Some(_)) => '!',
        (None, None) => '>',
    };
    let at = step.reached_at.map(|at| format!("{at:.0}")).unwrap_or_default();
    let long = step.reached_at.zip(next.map_or(Some(now), |next| next.reached_at));
    let long = long.map(|(from, to)| took(from, to)).unwrap_or_default();
    let note = match step.state {
        "created" => format!("{} is written", printable(&course.new_version)),
        "applied" => "the target accepts it".to_owned(),
        "tested" => "it was tried and works".to_owned(),
        "draining" => format!("{} is current", printable(&course.new_version)),
        _ => String::new(),
    };
    format!("  [{mark}] {:<10}  {at:<20}  {long:>9}  {note}", step.state).trim_end().to_owned()
}

/// What keeps it where it is.
fn what_it_waits_for(step: &StepView, course: &CourseView, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |line: String| lines.push(format!("        {}", printable(&line)));
    if let Some(failure) = &course.failure {
        say(failure.in_words(now));
    }
    if step.state == "draining" {
        if let Some(deadline) = course.drain_deadline {
            let left = duration::relative(deadline, now);
            say(format!("{}, which is retired at the latest {deadline:.0} ({left})", course.holding()));
        }
        for holder in &course.holders {
            let ends = holder.expires_at.map(|at| duration::relative(at, now)).unwrap_or_default();
            say(format!("{}  {}  ends {ends}", holder.holder, holder.lease));
        }
        let named = i64::try_from(course.holders.len()).unwrap_or(i64::MAX);
        let more = course.old_version_leases.saturating_sub(named);
        if more > 0 {
            say(format!("and {more} more"));
        }
    }
    lines
}

/// What follows when nothing goes wrong.
fn ahead(here: &str, strategy: Option<&str>) -> impl Iterator<Item = &'static str> {
    let behind = match here {
        // The way back begins with the old version current, and drains the new one.
        "reverting" => "tested",
        "discarding" => "closing",
        other => other,
    };
    let has_target = !matches!(strategy, Some("generate" | "provider-native"));
    let is_native = strategy == Some("provider-native");
    let left_out = move |state: &str| {
        (state == "applied" && !has_target) || (is_native && matches!(state, "created" | "tested"))
    };
    let given_up = here == "discarding";
    AHEAD
        .into_iter()
        .skip_while(move |state| *state != behind)
        .skip(1)
        .filter(move |state| !left_out(state))
        .map(move |state| if given_up { "discarded" } else { state })
}

/// How long a step took: below a second more closely.
fn took(from: Timestamp, to: Timestamp) -> String {
    let time = Duration::try_from(to.duration_since(from)).unwrap_or_default();
    if time < Duration::from_secs(1) { format!("{} ms", time.as_millis()) } else { duration::show(time) }
}

#[cfg(test)]
mod tests {
    use leasehold_client::proto;

    use super::{super::view::tests::rotation, *};

    fn drawn(rotation: &proto::Rotation) -> Vec<String> {
        let view = RotationView::of(rotation);
        draw(&view, view.course.as_ref().unwrap())
    }

    #[test]
    fn the_steps_that_were_done_the_one_that_waits_and_those_ahead() {
        let lines = drawn(&rotation());
        assert_eq!(lines[1], "rotation 4, by schedule");
        assert!(lines[2].starts_with("  [x] creating    1970-01-01T00:00:00Z"), "{lines:?}");
        assert!(lines[3].contains("[x] created") && lines[3].ends_with("v2 is written"), "{lines:?}");
        assert!(lines[5].contains("[>] draining") && lines[6].contains("1 lease on v1"), "{lines:?}");
        assert!(lines[7].contains("prod/payments/api  lease-a  ends"), "{lines:?}");
        assert_eq!(lines[8..], ["  [ ] retiring", "  [ ] closing", "  [ ] retired"]);
    }

    #[test]
    fn what_is_given_up_ends_soon_and_what_fails_says_why() {
        let mut given_up = rotation();
        let course = given_up.course.as_mut().unwrap();
        course.steps.truncate(2);
        course.steps.push(proto::RotationStep {
            state: proto::RotationState::Discarding.into(),
            reach_time: super::super::view::tests::time(5),
        });
        course.failure =
            Some(proto::RotationFailure { message: "not\nnow".into(), attempt_count: 2, next_time: None });
        let lines = drawn(&given_up);
        assert!(lines[4].contains("[!] discarding"), "{lines:?}");
        assert_eq!(lines[5..], ["        tried 2 times: not\\nnow", "  [ ] discarded"]);
    }

    #[test]
    fn each_strategy_has_its_steps() {
        let of = |strategy| ahead("creating", Some(strategy)).collect::<Vec<_>>();
        assert_eq!(of("provider-native"), ["draining", "retiring", "closing", "retired"]);
        assert_eq!(of("generate")[..3], ["created", "tested", "draining"]);
        assert_eq!(of("alternating")[..4], ["created", "applied", "tested", "draining"]);
        assert_eq!(ahead("reverting", Some("single")).next(), Some("draining"));
    }
}
