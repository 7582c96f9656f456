//! Google Cloud's APIs, kept in memory by `drongo`.

use super::{Peer, PeerError, find, with_room};

/// A `drongo server`.
pub struct Drongo {
    _peer: Peer,
    url: String,
}

const PROGRAM: &str = "drongo";

/// Its own start, but with room for more callers at once than the five of Python's `socketserver`.
const LAUNCH: &str = "import socketserver, sys\n\
    socketserver.TCPServer.request_queue_size = 2048\n\
    from drongo.cli import main\n\
    sys.exit(main())\n";

impl Drongo {
    /// What it is, as reports name it.
    pub const VERSION: &str = "drongo 0.8.0";

    /// Starts one.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub async fn start() -> Result<Self, PeerError> {
        let mut command = with_room(&find(PROGRAM)?, LAUNCH);
        command.args(["server", "--host", "127.0.0.1", "--port", "0"]).env("PYTHONUNBUFFERED", "1");
        let peer = Peer::start(PROGRAM, command, "listening on http://").await?;
        let url = super::url_in(peer.ready())
            .ok_or_else(|| PeerError::NotStarted(PROGRAM, peer.ready().to_owned()))?;
        Ok(Self { _peer: peer, url })
    }

    /// Where it is, such as `http://127.0.0.1:4567`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use serde_json::json;

    use super::*;
    use crate::{http::Call, peers::or_skip};

    #[tokio::test]
    async fn it_keeps_a_secret_and_tells_a_thousand_at_once() {
        let Some(drongo) = or_skip(Drongo::start().await).unwrap() else { return };
        let secrets = format!("{}/v1/projects/p/secrets", drongo.url());
        let create = Call::new("POST", format!("{secrets}?secretId=s"));
        let created = create.json(&json!({ "replication": { "automatic": {} } })).send().await.unwrap();
        assert_eq!(created.status, 200, "{created:?}");
        let add = Call::new("POST", format!("{secrets}/s:addVersion"));
        let added = add.json(&json!({ "payload": { "data": "aHVudGVyMg==" } })).send().await.unwrap();
        assert!(added.json()["name"].as_str().unwrap().ends_with("/secrets/s/versions/1"), "{added:?}");
        let access = Call::new("GET", format!("{secrets}/s/versions/latest:access")).send().await.unwrap();
        assert_eq!(access.json()["payload"]["data"], "aHVudGVyMg==", "{access:?}");
        let read = || Call::new("GET", format!("{secrets}/s/versions/1:access")).send();
        let answers = join_all((0..1_000).map(|_| read())).await;
        let good = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200));
        assert_eq!(good.count(), 1_000);
    }
}
