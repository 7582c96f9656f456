//! The configurations in `config/examples/`, as they ship but for what names places of production.

use std::{fs, path::PathBuf};

use leasehold_tests::site::Site;
use toml::{Table, Value};

/// One of them. What it lends stays as it is; where it finds things is said anew.
pub(crate) struct Example {
    kind: &'static str,
    table: Table,
}

/// What a site has of its own: a broker's address, identity, key, state and policies.
const OF_THE_SITE: [&str; 5] = ["listen", "identity", "seal", "ledger", "policy"];

/// Lets the workload of the tests lease whatever an example lends to production, and the operator do what operators can.
const POLICY: &str = r#"
@id("example.lease")
permit (principal == Workload::"spiffe://example.org/prod/payments/api",
        action in [Action::"IssueLease", Action::"RenewLease"], resource in Environment::"prod");
@id("example.operate")
permit (principal is Operator, action in [Action::"CheckProvider", Action::"ChangeSecret"], resource);
"#;

impl Example {
    /// The one for a kind of back end.
    pub(crate) fn of(kind: &'static str) -> Self {
        let text = fs::read_to_string(folder().join(format!("{kind}.toml"))).unwrap();
        Self { kind, table: text.parse().unwrap() }
    }

    /// Says something anew of a provider.
    pub(crate) fn provider(self, name: &str, key: &str, value: impl Into<Value>) -> Self {
        self.set("provider", ("name", name), key, Some(value.into()))
    }

    /// Leaves something of a provider to its default.
    pub(crate) fn without_of_provider(self, name: &str, key: &str) -> Self {
        self.set("provider", ("name", name), key, None)
    }

    /// Leaves something of a role to its default.
    pub(crate) fn without_of_role(self, name: &str, key: &str) -> Self {
        self.set("role", ("name", name), key, None)
    }

    /// Says something anew of a role.
    pub(crate) fn role(self, name: &str, key: &str, value: impl Into<Value>) -> Self {
        self.set("role", ("name", name), key, Some(value.into()))
    }

    /// Says something anew of a secret.
    pub(crate) fn secret(self, path: &str, key: &str, value: impl Into<Value>) -> Self {
        self.set("secret", ("path", path), key, Some(value.into()))
    }

    /// With more elements, such as a neighbour.
    pub(crate) fn and(mut self, toml: &str) -> Self {
        let more: Table = toml.parse().unwrap();
        for (name, added) in more {
            self.table[&name].as_array_mut().unwrap().extend(added.as_array().unwrap().iter().cloned());
        }
        self
    }

    fn set(mut self, list: &str, (key, name): (&str, &str), what: &str, value: Option<Value>) -> Self {
        let elements = self.table[list].as_array_mut().unwrap();
        let element = elements.iter_mut().find(|element| element[key].as_str() == Some(name));
        let element = element.unwrap_or_else(|| panic!("there is no {list} {name}")).as_table_mut().unwrap();
        match value {
            Some(value) => drop(element.insert(what.to_owned(), value)),
            None => drop(element.remove(what).unwrap()),
        }
        self
    }

    /// Puts it into a site, with the files that ship beside it.
    pub(crate) fn install(mut self, site: &Site) {
        let own: Table = fs::read_to_string(site.path("leasehold.toml")).unwrap().parse().unwrap();
        for section in OF_THE_SITE {
            assert!(self.table.contains_key(section), "the example for {} has no [{section}]", self.kind);
            self.table.insert(section.to_owned(), own[section].clone());
        }
        site.write("leasehold.toml", &self.table.to_string());
        site.write("policies/20-example.cedar", POLICY);
        let Ok(files) = fs::read_dir(folder().join(self.kind)) else { return };
        fs::create_dir(site.path(self.kind)).unwrap();
        for file in files {
            let file = file.unwrap();
            fs::copy(file.path(), site.path(self.kind).join(file.file_name())).unwrap();
        }
    }
}

/// A file that ships beside an example.
pub(crate) fn beside(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config/examples")
}
