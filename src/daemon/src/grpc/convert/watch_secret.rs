//! Watching one secret.

use leasehold_core::{record::Actor, rotation::Told};
use leasehold_engine::request::{SecretNews, SecretNotice, WatchSecret};
use leasehold_proto::v1::{self, watch_secret_response::Event};

use super::{
    time::timestamp,
    tokens::{notice_token, parse_notice_token},
    violations::Violations,
};
use crate::grpc::status::EdgeError;

pub(crate) fn watch_secret(actor: Actor, message: &v1::WatchSecretRequest) -> Result<WatchSecret, EdgeError> {
    let mut faults = Violations::default();
    let secret = faults.required("secret", &message.secret);
    let after = Some(message.resume_token.as_str()).filter(|token| !token.is_empty());
    let place = after.map(parse_notice_token);
    if place == Some(None) {
        faults.add("resume_token", "is not one that a watch of a secret gave out: begin anew without one");
    }
    let secret = faults.finish(secret)?;
    Ok(WatchSecret { actor, secret, after: place.flatten() })
}

/// One thing that the watchers of a secret are told.
pub(crate) fn secret_notice(notice: &SecretNotice) -> v1::WatchSecretResponse {
    let time = notice.at.map(timestamp);
    let event = match &notice.news {
        SecretNews::Standing { current, draining } => Event::Standing(v1::SecretStanding {
            current_version: current.as_ref().map(ToString::to_string).unwrap_or_default(),
            draining_version: draining.as_ref().map(|(version, _)| version.to_string()).unwrap_or_default(),
            drain_deadline: draining.as_ref().map(|(_, deadline)| timestamp(*deadline)),
        }),
        SecretNews::Told(Told::Rotated { version }) => {
            Event::Rotated(v1::SecretRotated { version: version.to_string(), rotate_time: time })
        }
        SecretNews::Told(Told::Draining { version, deadline }) => Event::Draining(v1::SecretDraining {
            version: version.to_string(),
            drain_deadline: Some(timestamp(*deadline)),
        }),
        SecretNews::Told(Told::Retired { version }) => {
            Event::Retired(v1::SecretRetired { version: version.to_string(), retire_time: time })
        }
    };
    v1::WatchSecretResponse { resume_token: notice_token(notice.number), event: Some(event) }
}

#[cfg(test)]
mod tests {
    use leasehold_core::Timestamp;

    use super::*;

    fn ask(secret: &str, resume_token: &str) -> Result<WatchSecret, EdgeError> {
        let actor = Actor::internal("spiffe://example.org/prod/api".parse().unwrap());
        watch_secret(
            actor,
            &v1::WatchSecretRequest { secret: secret.into(), resume_token: resume_token.into() },
        )
    }

    #[test]
    fn a_place_in_a_watch_comes_back() {
        let version = "v2".parse().unwrap();
        let at = Timestamp::from_second(9).unwrap();
        let news = SecretNews::Told(Told::Rotated { version });
        let told = secret_notice(&SecretNotice { number: 7, at: Some(at), news });
        let Some(Event::Rotated(rotated)) = told.event else { panic!("{told:?}") };
        assert_eq!((rotated.version.as_str(), rotated.rotate_time.unwrap().seconds), ("v2", 9));
        assert_eq!(ask("prod/db", &told.resume_token).unwrap().after, Some(7));
        assert_eq!(ask("prod/db", "").unwrap().after, None);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let Err(EdgeError::Invalid(told)) = ask("", "7") else { panic!("it was taken") };
        let fields: Vec<_> = told.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["secret", "resume_token"]);
    }
}
