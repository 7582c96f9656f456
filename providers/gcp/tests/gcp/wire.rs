//! Whatever a `ref` is: what reaches the wire is one path of one secret in an allowed project, or nothing does.

use leasehold_core::{SecretPath, ports::Provider, provider::Fetch};
use leasehold_provider_gcp::check_reference;
use proptest::prelude::*;

use crate::setup::{cloud, provider};

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Whether it is the path of one version's `access`, under this prefix.
fn is_access(path: &str, prefix: &str) -> bool {
    path.strip_prefix("/v1/")
        .filter(|name| name.starts_with(prefix))
        .and_then(|name| name.strip_suffix(":access"))
        .and_then(|name| {
            let (secret, version) = name.split_once("/versions/")?;
            let (_, id) = secret.rsplit_once("/secrets/")?;
            Some(is_name(id) && is_name(version) && secret.split('/').all(is_name))
        })
        .unwrap_or(false)
}

#[test]
fn any_text_is_one_path_in_an_allowed_project_or_none() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_, server) = runtime.block_on(cloud());
    let (provider, _home) = provider(&server.url(), |config| config.max_attempts = 1);
    let some_name = "(projects/(my|other|evil)-project/(locations/(europe-west3|mars)/)?secrets/)?[a-zA-Z0-9_-]{1,12}(@[a-z0-9]{1,4})?";
    let cases = ProptestConfig { cases: 400, ..ProptestConfig::default() };
    proptest!(cases, |(reference in prop_oneof![some_name, "\\PC{0,24}", "[a-z./%?#@:&{}\\\\-]{0,24}"])| {
        let before = server.requests().len();
        let _ = runtime.block_on(provider.fetch(Fetch { reference: &reference, version: None }));
        let requests = server.requests();
        let made = requests.get(before..).unwrap();
        prop_assert!(made.len() <= 1, "{reference:?} made {} calls", made.len());
        for request in made {
            let path = request.path();
            let good = is_access(path, "projects/my-project/") || is_access(path, "projects/other-project/");
            prop_assert!(good, "{reference:?} became {path}");
        }
    });
}

#[test]
fn the_rest_of_a_mount_stays_under_its_prefix() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_, server) = runtime.block_on(cloud());
    let (provider, _home) = provider(&server.url(), |config| config.max_attempts = 1);
    let mounts = [
        ("app-{rest}", "projects/my-project/secrets/app-"),
        ("projects/other-project/secrets/{rest}", "projects/other-project/secrets/"),
        (
            "projects/my-project/locations/europe-west3/secrets/s_{rest}@blue",
            "projects/my-project/locations/europe-west3/secrets/s_",
        ),
    ];
    let rests = "[a-zA-Z0-9._-]{1,12}(/[a-zA-Z0-9._-]{1,12}){0,3}|(versions|secrets|projects/other-project/secrets)/x";
    let cases = ProptestConfig { cases: 300, ..ProptestConfig::default() };
    proptest!(cases, |(rest in rests, at in 0..mounts.len())| {
        prop_assume!(format!("prod/{rest}").parse::<SecretPath>().is_ok());
        let (mount, prefix) = mounts[at];
        prop_assert!(check_reference(mount).is_ok());
        let reference = mount.replace("{rest}", &rest);
        let before = server.requests().len();
        let _ = runtime.block_on(provider.fetch(Fetch { reference: &reference, version: None }));
        let requests = server.requests();
        for request in requests.get(before..).unwrap() {
            prop_assert!(is_access(request.path(), prefix), "{reference:?} became {}", request.path());
        }
    });
}
