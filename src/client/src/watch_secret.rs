//! What happens to the versions of one secret.

use leasehold_core::{SecretPath, Timestamp, secret::VersionId};
use leasehold_proto::v1::{self, watch_secret_response::Event};
use tonic::Streaming;

use crate::{
    Client, Error,
    retry::Repeat,
    wire::{parsed, required},
};

/// What happens to a secret, until the watch ends. See [`Client::watch_secret`].
#[derive(Debug)]
pub struct SecretWatch {
    stream: Streaming<v1::WatchSecretResponse>,
}

/// One thing to know of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretNotice {
    /// Where a watch can be resumed once this has been handled.
    pub resume_token: String,
    /// What there is to know.
    pub news: SecretNews,
}

/// What there is to know of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretNews {
    /// How it is as the watch begins.
    Standing {
        /// The current version, when the broker knows it.
        current: Option<VersionId>,
        /// The older version that is on its way out, and until when at the latest.
        draining: Option<(VersionId, Timestamp)>,
    },
    /// Another version is current.
    Rotated {
        /// The version.
        version: VersionId,
        /// When that was.
        at: Timestamp,
    },
    /// An older version is on its way out: it is retired when nobody holds it any more, and at the deadline whoever holds
    /// it.
    Draining {
        /// The version.
        version: VersionId,
        /// The latest end.
        deadline: Timestamp,
    },
    /// An older version is of no use any more.
    Retired {
        /// The version.
        version: VersionId,
        /// When that was.
        at: Timestamp,
    },
}

impl Client {
    /// Watches the versions of a secret: first how it is, then each change; or only what has happened since
    /// `resume_token`.
    ///
    /// # Errors
    /// [`Error::Denied`] when it is not allowed or there is no such secret; see [`Error`].
    pub async fn watch_secret(
        &self,
        secret: &SecretPath,
        resume_token: Option<String>,
    ) -> Result<SecretWatch, Error> {
        let request = v1::WatchSecretRequest {
            secret: secret.to_string(),
            resume_token: resume_token.unwrap_or_default(),
        };
        let once = || async {
            Ok(SecretWatch { stream: self.leases().watch_secret(request.clone()).await?.into_inner() })
        };
        self.calls().make(Repeat::Always, once).await
    }
}

impl SecretWatch {
    /// What happens next; `None` when the broker has ended the watch.
    ///
    /// # Errors
    /// When the connection or the watch is lost: watch again from the last [`SecretNotice::resume_token`].
    pub async fn next(&mut self) -> Result<Option<SecretNotice>, Error> {
        while let Some(response) = self.stream.message().await? {
            if let Some(event) = response.event {
                let news = news(event)?;
                return Ok(Some(SecretNotice { resume_token: response.resume_token, news }));
            }
        }
        Ok(None)
    }
}

/// What an event tells. Those of later versions are no event here.
fn news(event: Event) -> Result<SecretNews, Error> {
    Ok(match event {
        Event::Standing(v1::SecretStanding { current_version, draining_version, drain_deadline }) => {
            let named = |field, text: &str| match text {
                "" => Ok(None),
                text => parsed::<VersionId>(field, text).map(Some),
            };
            let draining = match named("draining_version", &draining_version)? {
                Some(version) => Some((version, required("drain_deadline", drain_deadline)?)),
                None => None,
            };
            SecretNews::Standing { current: named("current_version", &current_version)?, draining }
        }
        Event::Rotated(v1::SecretRotated { version, rotate_time }) => SecretNews::Rotated {
            version: parsed("version", &version)?,
            at: required("rotate_time", rotate_time)?,
        },
        Event::Draining(v1::SecretDraining { version, drain_deadline }) => SecretNews::Draining {
            version: parsed("version", &version)?,
            deadline: required("drain_deadline", drain_deadline)?,
        },
        Event::Retired(v1::SecretRetired { version, retire_time }) => SecretNews::Retired {
            version: parsed("version", &version)?,
            at: required("retire_time", retire_time)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn what_is_told_is_parsed() {
        let standing = v1::SecretStanding::default();
        let nothing = SecretNews::Standing { current: None, draining: None };
        assert_eq!(news(Event::Standing(standing)).unwrap(), nothing);
        let standing = v1::SecretStanding {
            current_version: "v2".into(),
            draining_version: "v1".into(),
            drain_deadline: at(60),
        };
        let SecretNews::Standing { current, draining } = news(Event::Standing(standing)).unwrap() else {
            panic!("it is something else");
        };
        assert_eq!(current, Some("v2".parse().unwrap()));
        assert_eq!(draining, Some(("v1".parse().unwrap(), Timestamp::from_second(60).unwrap())));
        let rotated = v1::SecretRotated { version: "v2".into(), rotate_time: None };
        let bad = news(Event::Rotated(rotated)).unwrap_err();
        assert!(bad.to_string().contains("`rotate_time` is missing"), "{bad}");
    }
}
