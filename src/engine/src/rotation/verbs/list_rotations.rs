//! ListRotations: the secrets that are rotated, by the catalog or by what is known of them.

use std::collections::VecDeque;

use leasehold_core::{
    SecretPath,
    access::Action,
    path::PathPrefix,
    record::Kind,
    rotation::Rotation,
    state::{Commit, Key, KeyRange},
};
use tokio::task::coop;

use super::is_rotated;
use crate::{
    access::Context,
    engine::Engine,
    error::EngineError,
    request::{ListRotations, Page, RotationFilter, RotationReport},
};

/// No page is longer than this.
const LONGEST_PAGE: usize = 1000;
/// One call looks at so many secrets at most, however few of them are on the page: the rest is on the next one.
const LOOK_AT: usize = 10_000;
/// So many are read from the ledger at once.
const READ: usize = 256;

/// What the catalog has rotated and what the ledger knows, each secret once, in the order of paths.
struct Walk<'e> {
    engine: &'e Engine,
    configured: VecDeque<SecretPath>,
    known: VecDeque<Rotation>,
    range: Option<KeyRange>,
}

impl Engine {
    /// A page of the rotated secrets that policy lets the caller see. Of a mount's secrets those are known that were
    /// written or rotated through the broker, or met by its schedule.
    ///
    /// # Errors
    /// [`EngineError::BadPageToken`], or when the ledger cannot be used.
    pub async fn list_rotations(&self, request: ListRotations) -> Result<Page<RotationReport>, EngineError> {
        let after: Option<SecretPath> = match &request.page_token {
            Some(token) => Some(token.parse().map_err(|_| EngineError::BadPageToken)?),
            None => None,
        };
        let size = request.page_size.clamp(1, LONGEST_PAGE);
        let prefix = request.filter.prefix.as_ref();
        let mut walk = Walk {
            engine: self,
            configured: self.configured(prefix, after.as_ref()),
            known: VecDeque::new(),
            range: Some(known(prefix, after.as_ref())),
        };
        let (mut items, mut looked, mut last, mut more) = (Vec::new(), 0_usize, None, false);
        while let Some(rotation) = walk.next().await? {
            if looked >= LOOK_AT {
                more = true;
                break;
            }
            // A decision takes its time, and there may be thousands: others get their turn.
            coop::consume_budget().await;
            // Where a page ends tells of nothing that the caller does not see: what is hidden is not counted either.
            let path = rotation.secret.clone();
            if !self.decide_on(&request.actor, Action::DescribeSecret, &path, Context::new()).is_allowed() {
                continue;
            }
            let plan = self.plan_of(&path);
            if is_rotated(&rotation, plan.as_deref()) && has_stage(&request.filter, &rotation) {
                let report = self.report(rotation, plan).await?;
                if !request.filter.attention || needs_attention(&report) {
                    if items.len() == size {
                        more = true;
                        break;
                    }
                    items.push(report);
                }
            }
            looked = looked.saturating_add(1);
            last = Some(path.to_string());
        }
        let mut record = self.record(Kind::RotationRead, &request.actor);
        record.details.insert("listed".to_owned(), items.len().to_string());
        self.ledger.commit(Commit::record_only(record)).await?;
        Ok(Page { items, next_page_token: last.filter(|_| more) })
    }

    /// What the catalog has rotated behind `after`.
    fn configured(&self, prefix: Option<&PathPrefix>, after: Option<&SecretPath>) -> VecDeque<SecretPath> {
        let catalog = self.catalog();
        let rotated = catalog.secrets().filter(|(_, entry)| entry.rotation.is_some()).map(|(path, _)| path);
        let asked = rotated.filter(|path| {
            prefix.is_none_or(|prefix| prefix.rest_of(path).is_some())
                && after.is_none_or(|after| *path > after)
        });
        asked.cloned().collect()
    }
}

impl Walk<'_> {
    async fn next(&mut self) -> Result<Option<Rotation>, EngineError> {
        self.read().await?;
        let known_first = match (self.known.front(), self.configured.front()) {
            (Some(known), Some(configured)) if known.secret == *configured => {
                self.configured.pop_front();
                true
            }
            (Some(known), Some(configured)) => known.secret < *configured,
            (known, _) => known.is_some(),
        };
        if known_first {
            return Ok(self.known.pop_front());
        }
        Ok(self.configured.pop_front().map(Rotation::new))
    }

    /// Has the next known one at hand, if there is one.
    async fn read(&mut self) -> Result<(), EngineError> {
        while self.known.is_empty()
            && let Some(range) = self.range.take()
        {
            let page = self.engine.ledger.scan(&range, READ).await?;
            if let Some(last) = page.last().filter(|_| page.len() == READ) {
                self.range = Some(range.after(&last.key));
            }
            for entry in page {
                let rotation = Rotation::decode(&entry.value)
                    .map_err(|problem| EngineError::Internal(problem.to_string()))?;
                self.known.push_back(rotation);
            }
        }
        Ok(())
    }
}

/// What the ledger knows behind `after`.
fn known(prefix: Option<&PathPrefix>, after: Option<&SecretPath>) -> KeyRange {
    let range = prefix.map_or_else(KeyRange::rotations, KeyRange::rotations_under);
    after.map_or_else(|| range.clone(), |after| range.after(&Key::rotation(after)))
}

fn has_stage(filter: &RotationFilter, rotation: &Rotation) -> bool {
    filter.stages.is_empty() || filter.stages.contains(&rotation.course.as_ref().map(|course| course.stage))
}

fn needs_attention(report: &RotationReport) -> bool {
    let given_up = report.rotation.course.is_none()
        && report.rotation.last.as_ref().is_some_and(|last| last.problem.is_some());
    report.rotation.failure().is_some()
        || given_up
        || report.late.is_some()
        || report.rotation.paused.is_some()
}
