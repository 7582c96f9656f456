//! Rotations: what is asked of them, and how they are shown.

use leasehold_core::{
    SecretPath, Timestamp,
    provider::{Finding, Verdict, Verification},
    record::Actor,
    rotation::{Course, Ended, Failure, Outcome, Plan, Stage, Strategy, TargetName, Why},
};
use leasehold_engine::request::{
    Holders, ListRotations, RotateAnswer, RotateSecret, RotationFilter, RotationPreview, RotationReport,
    SteerRotation, VersionHolder,
};
use leasehold_proto::v1::{self, RotationState};

use super::{
    count, responses,
    time::{duration, timestamp},
    tokens::parse_page_token,
    violations::Violations,
};
use crate::grpc::status::EdgeError;

/// A filter names at most so many states.
const MOST_STATES: usize = 16;

pub(crate) fn rotate_secret(
    actor: Actor,
    message: v1::RotateSecretRequest,
) -> Result<RotateSecret, EdgeError> {
    let v1::RotateSecretRequest { path, dry_run, reason, request_id } = message;
    let mut faults = Violations::default();
    let secret = faults.required("path", &path);
    let reason = faults.sentence("reason", reason);
    let request_id = faults.optional("request_id", &request_id);
    let made = || {
        let (secret, reason, request_id) = (secret?, reason?, request_id?);
        Some(RotateSecret { actor, secret, dry_run, reason, request_id })
    };
    faults.finish(made())
}

pub(crate) fn pause_rotation(
    actor: Actor,
    message: v1::PauseRotationRequest,
) -> Result<SteerRotation, EdgeError> {
    let v1::PauseRotationRequest { path, reason, request_id } = message;
    steer(actor, &path, reason, &request_id, false)
}

pub(crate) fn resume_rotation(
    actor: Actor,
    message: &v1::ResumeRotationRequest,
) -> Result<SteerRotation, EdgeError> {
    steer(actor, &message.path, String::new(), &message.request_id, false)
}

pub(crate) fn roll_back_rotation(
    actor: Actor,
    message: v1::RollBackRotationRequest,
) -> Result<SteerRotation, EdgeError> {
    let v1::RollBackRotationRequest { path, reason, request_id } = message;
    steer(actor, &path, reason, &request_id, true)
}

fn steer(
    actor: Actor,
    path: &str,
    reason: String,
    request_id: &str,
    needs_reason: bool,
) -> Result<SteerRotation, EdgeError> {
    let mut faults = Violations::default();
    let secret = faults.required("path", path);
    if needs_reason && reason.is_empty() {
        faults.add("reason", "is required");
    }
    let reason = faults.sentence("reason", reason);
    let request_id = faults.optional("request_id", request_id);
    let made = || {
        let (secret, reason, request_id) = (secret?, reason?, request_id?);
        Some(SteerRotation { actor, secret, reason, request_id })
    };
    faults.finish(made())
}

pub(crate) fn get_rotation(message: &v1::GetRotationRequest) -> Result<SecretPath, EdgeError> {
    let mut faults = Violations::default();
    let path = faults.required("path", &message.path);
    faults.finish(path)
}

pub(crate) fn watch_rotation(message: &v1::WatchRotationRequest) -> Result<SecretPath, EdgeError> {
    let mut faults = Violations::default();
    let path = faults.required("path", &message.path);
    faults.finish(path)
}

pub(crate) fn list_rotations(
    actor: Actor,
    message: v1::ListRotationsRequest,
) -> Result<ListRotations, EdgeError> {
    let v1::ListRotationsRequest { page_size, page_token, filter } = message;
    let v1::RotationFilter { secret_prefix, states, attention } = filter.unwrap_or_default();
    let mut faults = Violations::default();
    let page_size = faults.page_size(page_size);
    let prefix = faults.optional("filter.secret_prefix", &secret_prefix);
    let stages: Vec<_> =
        states.iter().filter_map(|state| stage(RotationState::try_from(*state).ok()?)).collect();
    if stages.len() != states.len() || states.len() > MOST_STATES {
        faults.add("filter.states", format!("is at most {MOST_STATES} known states"));
    }
    let (prefix, page_size) = faults.finish(prefix.zip(page_size))?;
    let page_token = parse_page_token(&page_token)?;
    let filter = RotationFilter { prefix, stages, attention };
    Ok(ListRotations { actor, filter, page_size, page_token })
}

/// What came of asking for a rotation.
pub(crate) fn rotate_answer(answer: &RotateAnswer) -> v1::RotateSecretResponse {
    v1::RotateSecretResponse {
        rotation: Some(rotation(&answer.rotation)),
        preview: answer.preview.as_ref().map(preview),
    }
}

/// A rotation as it is.
pub(crate) fn rotation(report: &RotationReport) -> v1::Rotation {
    let RotationReport { rotation, plan, next, late, old_leases, holders } = report;
    // One that is under way goes the way on which it was begun.
    let strategy = rotation.course.as_ref().map(|course| &course.plan).or(plan.as_deref());
    let current = rotation.current.as_ref();
    v1::Rotation {
        secret: rotation.secret.to_string(),
        state: rotation.course.as_ref().map_or(RotationState::Idle, |course| state(course.stage)).into(),
        strategy: strategy
            .map_or(v1::RotationStrategy::Unspecified, |plan| strategy_of(&plan.strategy))
            .into(),
        current_version: current.map(|current| current.version.to_string()).unwrap_or_default(),
        current_version_time: current.map(|current| timestamp(current.made_at)),
        next_time: next.map(timestamp),
        late_reason: late.clone().unwrap_or_default(),
        course: rotation.course.as_ref().map(|course| shown_course(course, holders)),
        last: rotation.last.as_ref().map(end),
        pause_time: rotation.paused.map(timestamp),
        wanted_time: rotation.wanted.as_ref().map(|wanted| timestamp(wanted.not_before)),
        schedule: plan.as_deref().and_then(schedule).unwrap_or_default(),
        old_version_lease_count: count(*old_leases),
        serial: count(rotation.serial),
    }
}

fn shown_course(course: &Course, holders: &Holders) -> v1::RotationCourse {
    let (cause, actor) = match &course.why {
        Why::Schedule => (v1::RotationCause::Schedule, String::new()),
        Why::Request { by } => (v1::RotationCause::Request, by.to_string()),
        Why::Revocation => (v1::RotationCause::Revocation, String::new()),
    };
    let step = |(stage, at): &(Stage, Timestamp)| v1::RotationStep {
        state: state(*stage).into(),
        reach_time: Some(timestamp(*at)),
    };
    v1::RotationCourse {
        old_version: course.old.as_ref().map(ToString::to_string).unwrap_or_default(),
        new_version: course.new.as_ref().map(ToString::to_string).unwrap_or_default(),
        cause: cause.into(),
        actor,
        steps: course.reached.iter().map(step).collect(),
        drain_deadline: course.drain_deadline.map(timestamp),
        holders: holders.some.iter().map(holder).collect(),
        old_version_lease_count: count(holders.total),
        failure: course.failure.as_ref().map(failure),
        verification: verification(course.verification),
        rolled_back: course.rolled_back,
    }
}

fn holder(holder: &VersionHolder) -> v1::RotationHolder {
    v1::RotationHolder {
        holder: holder.holder.to_string(),
        lease_id: holder.lease.to_string(),
        expire_time: Some(timestamp(holder.expires_at)),
    }
}

fn failure(failure: &Failure) -> v1::RotationFailure {
    v1::RotationFailure {
        message: failure.message.clone().into(),
        attempt_count: i32::try_from(failure.attempts).unwrap_or(i32::MAX),
        next_time: Some(timestamp(failure.next_try)),
    }
}

fn end(ended: &Ended) -> v1::RotationEnd {
    let outcome = match ended.outcome {
        Outcome::Retired => v1::RotationOutcome::Retired,
        Outcome::RolledBack => v1::RotationOutcome::RolledBack,
        Outcome::Discarded => v1::RotationOutcome::Discarded,
    };
    v1::RotationEnd {
        outcome: outcome.into(),
        end_time: Some(timestamp(ended.at)),
        old_version: ended.old.as_ref().map(ToString::to_string).unwrap_or_default(),
        new_version: ended.new.as_ref().map(ToString::to_string).unwrap_or_default(),
        verification: verification(ended.verification),
        problem: ended.problem.clone().map(String::from).unwrap_or_default(),
    }
}

fn preview(preview: &RotationPreview) -> v1::RotationPreview {
    v1::RotationPreview {
        steps: preview.steps.iter().map(preview_step).collect(),
        lease_count: count(preview.leases),
        drain: Some(duration(preview.drain)),
    }
}

fn preview_step(finding: &Finding) -> v1::RotationPreviewStep {
    let (ok, message) = match &finding.verdict {
        Verdict::Passed(note) => (true, note.clone()),
        Verdict::Failed { problem, remedy, grant } => {
            let way_out = if remedy.is_empty() { String::new() } else { format!(": {remedy}") };
            let lines = grant.as_ref().map(|grant| format!("\n{grant}")).unwrap_or_default();
            (false, format!("{problem}{way_out}{lines}"))
        }
        Verdict::NotTried(why) => (true, format!("not tried: {why}")),
    };
    v1::RotationPreviewStep { step: finding.step.clone(), ok, message }
}

fn verification(tried: Option<Verification>) -> i32 {
    tried.map_or(v1::LeaseVerification::Unspecified, responses::verification).into()
}

fn schedule(plan: &Plan) -> Option<String> {
    plan.schedule.as_ref().map(ToString::to_string)
}

const fn strategy_of(strategy: &Strategy) -> v1::RotationStrategy {
    match strategy {
        Strategy::Generate => v1::RotationStrategy::Generate,
        Strategy::Single { target: TargetName::Program(_) } => v1::RotationStrategy::Command,
        Strategy::Single { .. } => v1::RotationStrategy::Single,
        Strategy::Alternating { .. } => v1::RotationStrategy::Alternating,
        Strategy::Native => v1::RotationStrategy::ProviderNative,
    }
}

const fn state(stage: Stage) -> RotationState {
    match stage {
        Stage::Creating => RotationState::Creating,
        Stage::Created => RotationState::Created,
        Stage::Applied => RotationState::Applied,
        Stage::Tested => RotationState::Tested,
        Stage::Draining => RotationState::Draining,
        Stage::Retiring => RotationState::Retiring,
        Stage::Closing => RotationState::Closing,
        Stage::Discarding => RotationState::Discarding,
        Stage::Reverting => RotationState::Reverting,
    }
}

/// Where a rotation in this state is: `Some(None)` is one that is not under way.
const fn stage(state: RotationState) -> Option<Option<Stage>> {
    Some(Some(match state {
        RotationState::Unspecified => return None,
        RotationState::Idle => return Some(None),
        RotationState::Creating => Stage::Creating,
        RotationState::Created => Stage::Created,
        RotationState::Applied => Stage::Applied,
        RotationState::Tested => Stage::Tested,
        RotationState::Draining => Stage::Draining,
        RotationState::Retiring => Stage::Retiring,
        RotationState::Closing => Stage::Closing,
        RotationState::Discarding => Stage::Discarding,
        RotationState::Reverting => Stage::Reverting,
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use leasehold_core::rotation::{Event, Rotation};

    use super::*;

    fn actor() -> Actor {
        Actor::internal("spiffe://example.org/operator/admin".parse().unwrap())
    }

    fn told<T: std::fmt::Debug>(result: Result<T, EdgeError>) -> Vec<String> {
        match result {
            Err(EdgeError::Invalid(told)) => told.into_iter().map(|one| one.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_state_can_be_asked_for_and_comes_back() {
        let all = (1..).map_while(|number| RotationState::try_from(number).ok());
        let back: Vec<_> =
            all.clone().map(|sent| stage(sent).unwrap().map_or(RotationState::Idle, state)).collect();
        assert_eq!(back, all.collect::<Vec<_>>());
        let filter = |states| v1::RotationFilter { secret_prefix: "prod/".into(), states, attention: true };
        let ask = |states| {
            let filter = Some(filter(states));
            list_rotations(actor(), v1::ListRotationsRequest { filter, ..Default::default() })
        };
        let asked = ask(vec![1, 6]).unwrap();
        assert_eq!(asked.filter.stages, [None, Some(Stage::Draining)]);
        assert!(asked.filter.attention && asked.page_size == 100);
        assert_eq!(told(ask(vec![0])), ["filter.states"]);
        assert_eq!(told(ask(vec![99])), ["filter.states"]);
    }

    #[test]
    fn only_to_roll_back_needs_a_reason() {
        let path = || "prod/payments/db".to_owned();
        let pause = v1::PauseRotationRequest { path: path(), ..Default::default() };
        assert_eq!(pause_rotation(actor(), pause).unwrap().reason, None);
        let back = v1::RollBackRotationRequest { path: path(), ..Default::default() };
        assert_eq!(told(roll_back_rotation(actor(), back)), ["reason"]);
        let nothing =
            v1::RotateSecretRequest { path: "prod".into(), reason: "a\nb".into(), ..Default::default() };
        assert_eq!(told(rotate_secret(actor(), nothing)), ["path", "reason"]);
    }

    #[test]
    fn a_step_that_would_fail_has_the_way_out_and_the_lines_that_allow_it() {
        let failed = Finding::failed("change it", "no right", "run this");
        assert_eq!(preview_step(&failed).message, "no right: run this");
        let message = preview_step(&failed.granted_by("GRANT a TO b;")).message;
        assert_eq!(message, "no right: run this\nGRANT a TO b;");
        assert_eq!(preview_step(&Finding::failed("change it", "no right", "")).message, "no right");
    }

    #[test]
    fn a_rotation_is_shown_with_its_steps_and_holders() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let by = "spiffe://example.org/operator/admin".parse().unwrap();
        let mut known = Rotation::new("prod/payments/db".parse().unwrap());
        let begin = Event::Begin {
            why: Why::Request { by },
            plan: Box::new(Plan::new(Strategy::Generate)),
            provider: "main".parse().unwrap(),
            reference: "db".into(),
            staged: true,
            old: Some("v1".parse().unwrap()),
            tags: None,
        };
        for (event, second) in [
            (begin, 1),
            (Event::Written { version: "v2".parse().unwrap() }, 2),
            (Event::Failed { message: "not now".into(), retry_at: at(9) }, 3),
        ] {
            known = known.step(event, at(second)).unwrap();
        }
        let holders = Holders { total: 7, some: Vec::new() };
        let plan = Some(Arc::new(Plan::new(Strategy::Native)));
        let report =
            RotationReport { rotation: known, plan, next: Some(at(9)), late: None, old_leases: 0, holders };
        let shown = rotation(&report);
        assert_eq!(
            (shown.state(), shown.strategy()),
            (RotationState::Created, v1::RotationStrategy::Generate)
        );
        let course = shown.course.unwrap();
        assert_eq!((course.old_version.as_str(), course.new_version.as_str()), ("v1", "v2"));
        assert_eq!((course.cause(), course.actor.ends_with("/admin")), (v1::RotationCause::Request, true));
        let steps: Vec<_> = course.steps.iter().map(|step| step.state()).collect();
        assert_eq!(steps, [RotationState::Creating, RotationState::Created]);
        assert_eq!((course.old_version_lease_count, course.failure.unwrap().attempt_count), (7, 1));
        assert_eq!(shown.next_time, Some(timestamp(at(9))));
    }
}
