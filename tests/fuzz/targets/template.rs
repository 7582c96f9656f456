//! Templates: whatever one says, it renders or is refused within its limits, and what is said of it holds no value.

#![no_main]

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use leasehold_config::Place;
use leasehold_core::{LeaseId, SecretBytes, SecretValue, Timestamp};
use leasehold_sidecar::{
    Name,
    config::{File, Template, file::Content},
    render::{MAX_BYTES, Renderer},
    snapshot::{Loan, Snapshot},
};
use libfuzzer_sys::{Corpus, fuzz_target};

/// Nothing that is said may have this in it, unless the template itself has.
const CANARY: &str = "cNRy9zq";
const PEM: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n-----BEGIN KEY-----\nAQ==\n-----END KEY-----\n";

static SNAPSHOT: LazyLock<Arc<Snapshot>> = LazyLock::new(|| {
    let loan = |path: &str, fields: &[(&str, &[u8])]| {
        let fields = fields
            .iter()
            .map(|(name, bytes)| (name.parse().expect("a name"), SecretBytes::new(bytes.to_vec())));
        let value = SecretValue { fields: fields.collect(), content_type: SecretValue::TEXT.into() };
        let (path, version) = (path.parse().expect("a path"), "v1".parse().expect("a version"));
        Arc::new(Loan::kept(path, LeaseId::from_bits([7; 16]), Some(version), Timestamp::MAX, value))
    };
    let (user, url) = (format!("{CANARY}-user"), format!("https://{CANARY}@example.org/?a=\u{e9}&b='\"$`\n"));
    let list = format!(r#"["{CANARY}",{{"{CANARY}":[1.5,null,true]}}]"#);
    let secrets = [
        ("db", loan("prod/db", &[("username", user.as_bytes()), ("password", url.as_bytes())])),
        ("tls", loan("prod/tls", &[("pem", PEM.as_bytes()), ("blob", &[0xff, 0, 0xfe]), ("empty", b"")])),
        ("list", loan("prod/list", &[("value", list.as_bytes()), ("number", b"18446744073709551616")])),
    ];
    let secrets: Vec<(Name, _)> =
        secrets.into_iter().map(|(name, loan)| (name.parse().expect("a name"), loan)).collect();
    Arc::new(Snapshot {
        wanted: secrets.iter().map(|(name, _)| name.clone()).collect(),
        secrets: secrets.into_iter().collect(),
        ..Snapshot::default()
    })
});

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(data) else { return Corpus::Reject };
    let place =
        Place { file: std::path::Path::new("/etc/leasehold/sidecar.toml").into(), line: 1, column: 1 };
    let template = Template::Text(text.to_owned(), place);
    let file =
        File { name: "file".parse().expect("a name"), content: Content::Template(template), mode: None };
    let said = match Renderer::new(&[file]) {
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
        Ok(renderer) => {
            let known: Vec<Name> = SNAPSHOT.wanted.to_vec();
            assert!(renderer.strangers(&known).len() <= text.len());
            match renderer.render(&SNAPSHOT, &BTreeSet::new()) {
                Ok(made) => {
                    assert!(made.iter().all(|file| file.content.len() <= MAX_BYTES), "it is too long");
                    String::new()
                }
                Err(error) => error.to_string(),
            }
        }
    };
    assert!(!said.contains(CANARY) || text.contains(CANARY), "a value is in {said}");
    Corpus::Keep
});
