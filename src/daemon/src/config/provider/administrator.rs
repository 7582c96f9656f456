//! Where a provider's administrator is another secret of the broker: whether there is one that can be read, and that does
//! not come from what it is needed for.

use leasehold_core::{
    SecretPath,
    catalog::{Catalog, Source},
    provider::ProviderName,
};

use super::Provider;
use crate::config::fault::Sink;

const WAY_OUT: &str = "name a secret with a `ref`, of a back end that is signed in at by other means";

/// Says what is wrong with every provider's administrator.
pub(in crate::config) fn check(providers: &[Provider], catalog: &Catalog, sink: &Sink) {
    for provider in providers {
        if let Some(path) = provider.kind.administrator()
            && let Err(message) = judge(provider, path, providers, catalog)
        {
            sink.put(provider.place.clone(), message, WAY_OUT);
        }
    }
}

fn judge(
    provider: &Provider,
    path: &SecretPath,
    providers: &[Provider],
    catalog: &Catalog,
) -> Result<(), String> {
    let name = &provider.name;
    let Some(resolved) = catalog.resolve(path) else {
        return Err(format!("there is no secret `{path}`, which is to have the administrator of `{name}`"));
    };
    if comes_from(name, path, providers, catalog) {
        return Err(format!("the administrator of `{name}` would come from `{name}` itself"));
    }
    match resolved.entry.source {
        Source::Static { .. } => Ok(()),
        Source::Dynamic { .. } => {
            Err(format!("`{path}` is made for each lease, so it cannot have the administrator of `{name}`"))
        }
    }
}

/// Whether reading a secret needs this provider, however many others it takes.
fn comes_from(name: &ProviderName, path: &SecretPath, providers: &[Provider], catalog: &Catalog) -> bool {
    let mut next = Some(path);
    // Each of them once is the longest way without a circle.
    for _ in providers {
        let Some(resolved) = next.and_then(|path| catalog.resolve(path)) else { return false };
        let entry = &resolved.entry;
        if entry.provider == *name {
            return true;
        }
        let provider = providers.iter().find(|provider| provider.name == entry.provider);
        next = provider.and_then(|provider| provider.kind.administrator());
    }
    false
}

#[cfg(all(feature = "local", feature = "postgres"))]
#[cfg(test)]
mod tests {
    use crate::config::{Config, tests::main_with};

    const PROVIDERS: &str = "[[provider]]\nname = 'files'\nkind = 'local'\n\
        [[provider]]\nname = 'one'\nkind = 'postgres'\naddress = 'a.example.com'\nadministrator = { secret = 'infra/one' }\n\
        [[provider]]\nname = 'two'\nkind = 'postgres'\naddress = 'b.example.com'\nadministrator = { secret = 'infra/two' }\n\
        [[role]]\nname = 'r'\nprovider = 'one'\ngrants = ['x']\n\
        [[role]]\nname = 'r'\nprovider = 'two'\ngrants = ['x']\n";

    fn faults(one: &str, two: &str) -> String {
        let secrets =
            format!("[[secret]]\npath = 'infra/one'\n{one}\n[[secret]]\npath = 'infra/two'\n{two}\n");
        match Config::parse(&main_with(&format!("{PROVIDERS}{secrets}")), &[]) {
            Ok(_) => String::new(),
            Err(faults) => faults.to_string(),
        }
    }

    #[test]
    fn an_administrator_comes_from_elsewhere() {
        let kept = "provider = 'files'\nref = 'a'";
        assert_eq!(faults(kept, kept), "");
        let made_by = |name: &str| format!("provider = '{name}'\nrole = 'r'");
        let itself = faults(&made_by("one"), kept);
        assert!(itself.contains("the administrator of `one` would come from `one` itself"), "{itself}");
        let circle = faults(&made_by("two"), &made_by("one"));
        assert!(circle.contains("of `one` would come from `one` itself"), "{circle}");
        assert!(circle.contains("of `two` would come from `two` itself"), "{circle}");
        let made = faults(&made_by("two"), kept);
        assert!(made.contains("`infra/one` is made for each lease"), "{made}");
        assert!(!made.contains("of `two`"), "{made}");
    }

    #[test]
    fn an_administrator_that_there_is_not_is_told() {
        let kept = "[[secret]]\npath = 'infra/one'\nprovider = 'files'\nref = 'a'\n";
        let faults = Config::parse(&main_with(&format!("{PROVIDERS}{kept}")), &[]).unwrap_err().to_string();
        assert!(faults.contains("there is no secret `infra/two`"), "{faults}");
        assert!(!faults.contains("infra/one"), "{faults}");
    }
}
