//! The sidecar's endpoint: bytes sent to its Unix socket are answered in HTTP or with nothing, and the AWS agent's protocol
//! hands nothing to whoever does not show the token.

#![no_main]

use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::Duration,
};

use leasehold_core::{LeaseId, SecretBytes, SecretValue, Timestamp};
use leasehold_sidecar::{
    clock::{Sources, SystemClock},
    config::{Endpoint, Secret, endpoint::Aws, socket::Socket},
    endpoint::{Rules, aws::Query, query::Target, serve, token},
    snapshot::{Loan, Snapshot, Standing},
};
use libfuzzer_sys::fuzz_target;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    runtime::{Builder, Runtime},
    sync::watch,
    time::timeout,
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// No request of a few kilobytes may take longer.
const LIMIT: Duration = Duration::from_secs(5);

/// A sidecar that listens in a directory of its own, and ends with the program.
struct Scene {
    runtime: Runtime,
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

static SCENE: LazyLock<Scene> = LazyLock::new(Scene::open);

impl Scene {
    fn open() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (socket, token_file) = (dir.path().join("socket"), dir.path().join("token"));
        std::fs::write(&token_file, TOKEN).expect("a token");
        std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o600)).expect("a token");
        let wanted: Vec<Secret> = ["db", "key", "later"].map(secret).into();
        let settings = Endpoint {
            socket: Socket { path: socket.clone(), group: None, mode: 0o600 },
            allow: Vec::new(),
            connections: 4,
            time_limit: LIMIT,
            aws: Some(Aws {
                listen: None,
                token_file,
                ids: vec![("arn:aws:secretsmanager:x:1:secret:db".to_owned(), wanted[0].name.clone())],
            }),
        };
        let rules = Rules::of(&settings, &wanted).expect("rules");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (rules, snapshot) =
            (watch::channel(Arc::new(rules)), watch::channel(Arc::new(snapshot(&wanted))));
        let clock = Arc::new(SystemClock::starting(Sources::default()));
        runtime.spawn(async move {
            let never = serve(settings, rules.1, snapshot.1, clock).await;
            panic!("it has ended: {:?}", never.err());
        });
        Self { runtime, socket, _dir: dir }
    }

    /// What is answered to these bytes.
    fn answer(&self, bytes: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let asked = async {
                let mut stream = loop {
                    match UnixStream::connect(&self.socket).await {
                        Ok(stream) => break stream,
                        // It has not begun to listen.
                        Err(_) => tokio::task::yield_now().await,
                    }
                };
                // It may hang up before everything is sent.
                let _ = stream.write_all(bytes).await;
                let _ = stream.shutdown().await;
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer).await;
                answer
            };
            timeout(LIMIT, asked).await.expect("it neither answers nor hangs up")
        })
    }
}

fn secret(name: &str) -> Secret {
    Secret {
        name: name.parse().expect("a name"),
        path: format!("prod/{name}").parse().expect("a path"),
        ttl: None,
        fields: Vec::new(),
    }
}

/// The first two are held, the third is not.
fn snapshot(wanted: &[Secret]) -> Snapshot {
    let values: [&[(&str, &[u8])]; 2] =
        [&[("username", b"app"), ("password", b"pass \"word\"")], &[("value", &[0, 255])]];
    let loans = wanted.iter().zip(values).map(|(secret, fields)| {
        let fields = fields
            .iter()
            .map(|(name, bytes)| (name.parse().expect("a name"), SecretBytes::new(bytes.to_vec())));
        let value = SecretValue { fields: fields.collect(), content_type: SecretValue::TEXT.into() };
        let version = Some("v1".parse().expect("a version"));
        let lease = LeaseId::from_bits([7; 16]);
        let mut loan = Loan::kept(secret.path.clone(), lease, version, Timestamp::MAX, value);
        loan.standing = Standing::Fresh;
        (secret.name.clone(), Arc::new(loan))
    });
    Snapshot {
        generation: 1,
        secrets: loans.collect(),
        wanted: wanted.iter().map(|secret| secret.name.clone()).collect(),
        ..Snapshot::default()
    }
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fuzz_target!(|data: &[u8]| {
    let answer = SCENE.answer(data);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "it answers no HTTP");
    let disclosed = has(&answer, br#""SecretString""#) || has(&answer, br#""SecretBinary""#);
    assert!(!disclosed || has(data, TOKEN.as_bytes()), "a value went out without the token");

    // The same by the parts that a listener on loopback has to itself.
    let text = String::from_utf8_lossy(data);
    let (path, query) = text.split_once('?').map_or((&*text, None), |(path, query)| (path, Some(query)));
    if let Ok(target) = Target::parse(path, query) {
        assert!(!target.path.contains(|c: char| c.is_ascii_control()), "a control character in a path");
        for by_path in [None, target.path.strip_prefix("/v1/")] {
            if let Ok(query) = Query::of(&target, by_path) {
                assert!(!query.secret_id.is_empty(), "nothing is asked for");
            }
        }
    }
    if let Some(token) = token::parse(data) {
        assert!((16..=4096).contains(&token.len()), "a token of {} bytes", token.len());
    }
});
