//! Between the contract's messages and the engine's types: requests are parsed, all faults at once; answers are rendered.
//! Nothing of the contract goes deeper than this.

mod changes;
mod checks;
mod filters;
mod holds;
mod records;
mod requests;
mod responses;
mod revocations;
mod rotations;
mod time;
mod tokens;
mod violations;
mod watch_secret;

pub(crate) use changes::{change_secret, check_provider, list_versions, secret_version};
pub(crate) use checks::{provider_check, provider_status};
pub(crate) use holds::{hold, orphan_sweep, release_hold, sweep_orphans};
pub(crate) use records::{AuditQuery, audit_query, audit_record};
pub(crate) use requests::{
    get_lease, get_secret, issue_lease, list_leases, list_own_leases, list_secrets, renew_lease,
    revoke_lease, revoke_leases, watch_leases, write_secret,
};
pub(crate) use responses::{capabilities, count, lease, notice, secret, secret_value};
pub(crate) use revocations::{
    forget_lease, list_revocations, retry_lease, revocation, start_revocation, watch_revocation,
};
pub(crate) use rotations::{
    get_rotation, list_rotations, pause_rotation, resume_rotation, roll_back_rotation, rotate_answer,
    rotate_secret, rotation, watch_rotation,
};
pub(crate) use time::timestamp;
pub(crate) use tokens::page_token;
pub(crate) use watch_secret::{secret_notice, watch_secret};
