//! Rotations that are asked for and waited for.

use std::time::Duration;

use leasehold_client::{Operator, RotateSecret};
use leasehold_core::SecretPath;
use leasehold_proto::v1::Rotation;
use tokio::time::timeout;

/// What a rotation may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lets operators and the schedule rotate everything.
pub const POLICY: &str = r#"
@id("test.rotate")
permit (principal is Operator, action in [Action::"RotateSecret", Action::"ChangeSecret"], resource);
@id("test.schedule")
permit (principal is Scheduler, action == Action::"RotateSecret", resource);
"#;

/// Has a secret rotated now.
///
/// # Panics
/// When that is refused.
pub async fn ask(operator: &Operator, secret: &SecretPath) {
    let asked = RotateSecret { secret: secret.clone(), dry_run: false, reason: None, request_id: None };
    operator.rotate_secret(asked).await.unwrap();
}

/// The rotation once it is as wanted.
///
/// # Panics
/// When that takes longer than two minutes.
pub async fn when(operator: &Operator, secret: &SecretPath, is: impl Fn(&Rotation) -> bool) -> Rotation {
    let mut progress = operator.watch_rotation(secret).await.unwrap();
    let mut last = None;
    let found = timeout(PATIENCE, async {
        loop {
            let rotation = progress.next().await.unwrap().unwrap();
            if is(&rotation) {
                break rotation;
            }
            last = Some(rotation);
        }
    });
    let found = found.await;
    found.unwrap_or_else(|_| panic!("the rotation of {secret} does not come to be as wanted: {last:?}"))
}

/// Whether nothing is under way, and nothing wanted.
pub fn is_idle(rotation: &Rotation) -> bool {
    rotation.course.is_none() && rotation.wanted_time.is_none()
}

/// Has a secret rotated, up to the end of that.
///
/// # Panics
/// When that is refused, or does not come to an end.
pub async fn rotate(operator: &Operator, secret: &SecretPath) -> Rotation {
    ask(operator, secret).await;
    when(operator, secret, is_idle).await
}
