//! AWS's APIs, kept in memory by `moto_server`.

use super::{Peer, PeerError, find, with_room};
use crate::http::Call;

/// A `moto_server`.
pub struct Moto {
    _peer: Peer,
    url: String,
}

const PROGRAM: &str = "moto_server";

/// Its own start, but with room for more callers at once than werkzeug's 128.
const LAUNCH: &str = "import sys\n\
    from werkzeug.serving import BaseWSGIServer\n\
    BaseWSGIServer.request_queue_size = 2048\n\
    from moto.server import main\n\
    sys.exit(main())\n";

impl Moto {
    /// What it is, as reports name it.
    pub const VERSION: &str = "moto 5.2.5";

    /// Starts one that believes everybody.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub async fn start() -> Result<Self, PeerError> {
        let mut command = with_room(&find(PROGRAM)?, LAUNCH);
        command.args(["-H", "127.0.0.1", "-p", "0"]).env("PYTHONUNBUFFERED", "1");
        let peer = Peer::start(PROGRAM, command, "Running on http://").await?;
        let url = super::url_in(peer.ready())
            .ok_or_else(|| PeerError::NotStarted(PROGRAM, peer.ready().to_owned()))?;
        Ok(Self { _peer: peer, url })
    }

    /// Where it is, such as `http://127.0.0.1:4567`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on IAM judges every call: signatures are checked, and what no policy allows is denied. Make the users,
    /// their keys and their policies before.
    ///
    /// # Errors
    /// When it does not answer so.
    pub async fn enforce_iam(&self) -> Result<(), String> {
        self.reset_auth("0").await
    }

    /// Everybody is believed again.
    ///
    /// # Errors
    /// When it does not answer so.
    pub async fn waive_iam(&self) -> Result<(), String> {
        self.reset_auth("inf").await
    }

    /// <https://docs.getmoto.org/en/latest/docs/iam.html>: how many calls go unjudged from now on.
    async fn reset_auth(&self, unjudged: &str) -> Result<(), String> {
        let call =
            Call::new("POST", format!("{}/moto-api/reset-auth", self.url)).body("text/plain", unjudged);
        match call.send().await {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(format!("reset-auth is answered with {}", answer.status)),
            Err(error) => Err(format!("reset-auth: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::peers::or_skip;

    #[tokio::test]
    async fn it_judges_calls_only_when_told_and_answers_a_thousand_at_once() {
        let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
        let list = async || {
            Call::new("POST", moto.url())
                .header("x-amz-target", "secretsmanager.ListSecrets")
                .header(
                    "authorization",
                    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/secretsmanager/aws4_request, \
                     SignedHeaders=host, Signature=00",
                )
                .header("x-amz-date", "20260101T000000Z")
                .body("application/x-amz-json-1.1", "{}")
                .send()
                .await
                .unwrap()
        };
        let answer = list().await;
        assert!(answer.status == 200 && answer.json()["SecretList"].is_array(), "{answer:?}");
        moto.enforce_iam().await.unwrap();
        assert_eq!(list().await.status, 403);
        moto.waive_iam().await.unwrap();
        let answers = join_all((0..1_000).map(|_| list())).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1_000);
    }
}
