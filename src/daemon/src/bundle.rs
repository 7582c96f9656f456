//! `leaseholdd local`: carries a local provider's secrets in a sealed bundle, while no broker runs on them. It writes no
//! audit record: there is no broker that could, and whoever may do it can read the files anyway.

use std::sync::Arc;

use leasehold_provider_local::{Bundle, LocalConfig, LocalProvider, Moved, OpenError};
use leasehold_seal::{KeyRing, SystemEntropy};

use crate::{
    args::{BundleArgs, LocalCommand},
    clock::SystemClock,
    config::{Config, provider::Kind},
    providers::{make_place, with_causes},
    start_error::StartError,
};

/// Does it, and says what was done.
///
/// # Errors
/// When the provider, the key or the bundle cannot be used. A refused import has changed nothing.
pub fn carry(command: &LocalCommand) -> Result<String, StartError> {
    let told = |error: leasehold_provider_local::BundleError| StartError::Bundle(with_causes(&error));
    match command {
        LocalCommand::Export { bundle: args, out } => {
            let (provider, key) = open(args)?;
            let bundle = Bundle { path: out, key: &key };
            let Moved { secrets, versions, .. } = provider.export(&bundle, &SystemEntropy).map_err(told)?;
            Ok(format!(
                "{}: {secrets} secrets with {versions} versions are in {}",
                args.provider,
                out.display()
            ))
        }
        LocalCommand::Import { bundle: args, file, replace } => {
            let (provider, key) = open(args)?;
            let bundle = Bundle { path: file, key: &key };
            let Moved { secrets, versions, unchanged } = provider.import(&bundle, *replace).map_err(told)?;
            Ok(format!(
                "{}: {secrets} secrets with {versions} versions were imported; {unchanged} were there already, unchanged",
                args.provider
            ))
        }
    }
}

fn open(args: &BundleArgs) -> Result<(LocalProvider, KeyRing), StartError> {
    let config = Config::load(&args.config.config).map_err(StartError::Config)?;
    let local = local(&config, args)?;
    let key = KeyRing::load(&args.key_file)?;
    let keys = Arc::new(KeyRing::load(&config.seal.key_file)?);
    let clock = Arc::new(SystemClock::starting_at(None));
    // A broker that has never run has no place for its providers yet.
    make_place(local).map_err(StartError::Bundle)?;
    let opened = LocalProvider::open(local.clone(), keys, clock, Arc::new(SystemEntropy));
    let provider = opened.map_err(|error| match error {
        OpenError::InUse { .. } => StartError::ProviderInUse(args.provider.clone()),
        other => StartError::Bundle(with_causes(&other)),
    })?;
    Ok((provider, key))
}

fn local<'c>(config: &'c Config, args: &BundleArgs) -> Result<&'c LocalConfig, StartError> {
    let provider = config.providers.iter().find(|provider| provider.name == args.provider);
    match provider.map(|provider| &provider.kind) {
        Some(Kind::Local(local)) => Ok(local),
        found => {
            let name = &args.provider;
            let what = if found.is_some() { "is not of the kind `local`" } else { "is not configured" };
            let file = config.file.display();
            Err(StartError::Bundle(format!("the provider `{name}` {what} in {file}: name one that is")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use leasehold_core::{
        SecretValue,
        ports::Provider,
        provider::{Fetch, Stage, WriteVersion},
    };

    use super::*;
    use crate::args::{ConfigFile, Exit};

    fn home(folder: &Path) -> BundleArgs {
        let text = "[listen]\ncertificate = 'c'\nkey = 'k'\ntrust_bundle = 't'\n\
             [seal]\nkey_file = 's.key'\n[ledger]\ndir = 'state'\n[identity]\ntrust_domain = 'example.org'\n\
             [[provider]]\nname = 'main'\nkind = 'local'\ndir = 'nowhere-yet/secrets'\n";
        std::fs::write(folder.join("l.toml"), text).unwrap();
        KeyRing::create_file(&folder.join("s.key"), &SystemEntropy).unwrap();
        let config = ConfigFile { config: folder.join("l.toml") };
        BundleArgs { config, provider: "main".parse().unwrap(), key_file: folder.join("bundle.key") }
    }

    #[tokio::test]
    async fn secrets_are_carried_from_one_broker_to_another() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, mut to) = (home(one.path()), home(two.path()));
        assert!(matches!(open(&from), Err(StartError::Key(_))), "there is no key for the bundle");
        KeyRing::create_file(&from.key_file, &SystemEntropy).unwrap();
        to.key_file.clone_from(&from.key_file);
        let (provider, _) = open(&from).unwrap();
        let value = SecretValue::plain("canary-5e5e".to_owned());
        let stage = Stage::Current;
        let write = WriteVersion { reference: "db", value: &value, token: "t", expected: None, stage };
        provider.write(write).await.unwrap();
        let out = one.path().join("bundle");
        let export = LocalCommand::Export { bundle: from.clone(), out: out.clone() };
        // While a broker has it, nobody else does.
        assert_eq!(carry(&export).unwrap_err().exit(), Exit::InUse);
        drop(provider);
        assert!(carry(&export).unwrap().contains("1 secrets with 1 versions"));
        let import = |replace| LocalCommand::Import { bundle: to.clone(), file: out.clone(), replace };
        assert!(carry(&import(false)).unwrap().contains("1 secrets with 1 versions were imported"));
        assert!(carry(&import(false)).unwrap().contains("1 were there already"));
        let (provider, _) = open(&to).unwrap();
        let fetched = provider.fetch(Fetch { reference: "db", version: None }).await.unwrap();
        assert_eq!(fetched.value.fields.values().next().unwrap().expose(), b"canary-5e5e");
    }

    #[test]
    fn only_a_local_provider_is_carried() {
        let folder = tempfile::tempdir().unwrap();
        let mut args = home(folder.path());
        args.provider = "other".parse().unwrap();
        let Err(error) = open(&args) else { panic!("opened") };
        assert!(error.to_string().contains("`other` is not configured"), "{error}");
    }
}
