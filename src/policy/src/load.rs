//! From files to policies: reading, parsing, naming, validating. Every fault of every file is told at once.

use std::{collections::HashMap, fs, io, path::Path, sync::Arc, time::Duration};

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};

use crate::{
    fault::{Fault, PolicyErrors},
    identity::PolicySettings,
    limit, nesting,
    policies::{Rule, SCHEMA},
    select::Head,
};

/// A policy file larger than this is a mistake.
const LARGEST_FILE: u64 = 1 << 20;
/// The annotations that mean something; any other is a slip, and a slip in `@max_ttl` would lift a limit unseen.
const ANNOTATIONS: [&str; 4] = ["id", "description", "owner", "max_ttl"];

/// The names and texts of a folder's policy files, in the order of their names. Names that start with a dot are left out.
pub(crate) fn read(folder: &Path) -> Result<Vec<(String, String)>, PolicyErrors> {
    let shown = folder.display().to_string();
    let entries = fs::read_dir(folder).map_err(|why| {
        let message = match why.kind() {
            io::ErrorKind::NotFound => {
                "there is no such policy folder: make it, or name another in [policy] dir".to_owned()
            }
            _ => format!("the policy folder cannot be read: {why}"),
        };
        PolicyErrors::of(vec![Fault::of(Some(&shown), message)])
    })?;
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(why) => {
                faults.push(Fault::of(Some(&shown), format!("the policy folder cannot be read: {why}")));
                continue;
            }
        };
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if hidden || path.extension().is_none_or(|extension| extension != "cedar") {
            continue;
        }
        let name = path.display().to_string();
        match read_file(&path) {
            Ok(text) => files.push((name, text)),
            Err(why) => faults.push(Fault::of(Some(&name), why)),
        }
    }
    faults.sort_by(|one, other| one.file.cmp(&other.file));
    PolicyErrors::none_or(faults)?;
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<String, String> {
    let about = fs::metadata(path).map_err(|why| format!("cannot be read: {why}"))?;
    if !about.is_file() {
        return Err("is not a file".to_owned());
    }
    if about.len() > LARGEST_FILE {
        return Err(format!("is larger than {LARGEST_FILE} bytes: split it"));
    }
    fs::read_to_string(path).map_err(|why| match why.kind() {
        io::ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
        _ => format!("cannot be read: {why}"),
    })
}

/// The digest of everything that decides: 32 hexadecimal characters.
pub(crate) fn digest(files: &[(String, String)], settings: &PolicySettings) -> Arc<str> {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut part = |text: &str| {
        context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(text.as_bytes());
    };
    part(SCHEMA);
    part(&settings.canonical());
    for (name, text) in files {
        // Of the path only the file's own name decides (it names policies that have no @id): a moved folder is the same set.
        part(file_name(name));
        part(text);
    }
    let hash = context.finish();
    hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

/// The policies of these files, and warnings about them.
pub(crate) fn rules(
    files: &[(String, String)],
    schema: &Schema,
    faults: &mut Vec<Fault>,
) -> (Vec<Rule>, Vec<Fault>) {
    let mut rules: Vec<Rule> = Vec::new();
    let mut places: HashMap<Arc<str>, Place<'_>> = HashMap::new();
    for (file, text) in files {
        if let Some((at, why)) = nesting::too_deep(text) {
            faults.push(Fault::at(file, text, at, format!("{why}: split it into several policies")));
            continue;
        }
        let set = match text.parse::<PolicySet>() {
            Ok(set) => set,
            Err(errors) => {
                faults.extend(Fault::parsing(file, text, &errors));
                continue;
            }
        };
        if set.num_of_templates() > 0 {
            faults.push(Fault::of(
                Some(file),
                "has a template (`?principal` or `?resource`), which nothing here can fill in: write policies",
            ));
        }
        for (number, (start, policy)) in in_order(text, &set).into_iter().enumerate() {
            let place = Place { file, text, start };
            let name: Arc<str> = match policy.annotation("id") {
                Some("") => {
                    faults.push(place.fault("@id is empty"));
                    continue;
                }
                Some(id) => id.into(),
                None => format!("{}#{}", stem(file), number.saturating_add(1)).into(),
            };
            if let Some(other) = places.get(&name) {
                let other = other.fault("");
                faults.push(place.fault(format!(
                    "there is another policy `{name}` at {}:{}:{}: give each its own @id",
                    other.file.as_deref().unwrap_or_default(),
                    other.line,
                    other.column
                )));
                continue;
            }
            let max_ttl = annotations(policy, &place, faults);
            places.insert(Arc::clone(&name), place);
            rules.push(Rule {
                policy: policy.new_id(PolicyId::new(&*name)),
                head: Head::of(policy),
                max_ttl,
                file: file.as_str().into(),
                line: place.fault("").line,
                name,
            });
        }
    }
    let warnings = validate(&rules, &places, schema, faults);
    (rules, warnings)
}

/// Where a policy begins.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a str,
    text: &'a str,
    start: usize,
}

impl Place<'_> {
    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::at(self.file, self.text, self.start, message)
    }
}

/// The policies in the order of the text, each with the offset where it begins.
fn in_order<'s>(text: &str, set: &'s PolicySet) -> Vec<(usize, &'s Policy)> {
    let number = |policy: &&Policy| {
        AsRef::<str>::as_ref(policy.id()).trim_start_matches("policy").parse::<usize>().unwrap_or(usize::MAX)
    };
    let mut policies: Vec<&Policy> = set.policies().collect();
    policies.sort_by_key(number);
    let mut from = 0;
    policies
        .into_iter()
        .map(|policy| {
            let own = policy.to_string();
            let start = text
                .get(from..)
                .and_then(|rest| rest.find(&own))
                .map_or(from, |found| from.saturating_add(found));
            from = start.saturating_add(own.len());
            (start, policy)
        })
        .collect()
}

/// The policy's limit; notes what is wrong with its annotations.
fn annotations(policy: &Policy, place: &Place<'_>, faults: &mut Vec<Fault>) -> Option<Duration> {
    let mut unknown: Vec<&str> =
        policy.annotations().map(|(key, _)| key).filter(|key| !ANNOTATIONS.contains(key)).collect();
    unknown.sort_unstable();
    for key in unknown {
        faults.push(place.fault(format!(
            "`@{key}` means nothing here; there are {}",
            ANNOTATIONS.map(|known| format!("@{known}")).join(", ")
        )));
    }
    let text = policy.annotation("max_ttl")?;
    if policy.effect() == Effect::Forbid {
        faults.push(place.fault("@max_ttl limits what a permit grants: it means nothing on a forbid"));
        return None;
    }
    let limit = limit::parse(text);
    if limit.is_none() {
        faults.push(place.fault(format!(
            "@max_ttl(\"{text}\") is not a duration of a second or more, such as 90s, 15m, 1h30m or 7d"
        )));
    }
    limit
}

fn validate(
    rules: &[Rule],
    places: &HashMap<Arc<str>, Place<'_>>,
    schema: &Schema,
    faults: &mut Vec<Fault>,
) -> Vec<Fault> {
    let set = match PolicySet::from_policies(rules.iter().map(|rule| rule.policy.clone())) {
        Ok(set) => set,
        Err(why) => {
            faults.push(Fault::of(None, why.to_string()));
            return Vec::new();
        }
    };
    let place = |id: &PolicyId| places.get(AsRef::<str>::as_ref(id));
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    let mut errors: Vec<Fault> = result
        .validation_errors()
        .map(|error| match place(error.policy_id()) {
            Some(place) => Fault::validating(place.file, place.text, place.start, error),
            None => Fault::of(None, error.to_string()),
        })
        .collect();
    let mut warnings: Vec<Fault> = result
        .validation_warnings()
        .map(|warning| match place(warning.policy_id()) {
            Some(place) => Fault::warning(place.file, place.text, place.start, warning),
            None => Fault::of(None, warning.to_string()),
        })
        .collect();
    let by_place = |fault: &Fault| (fault.file.clone(), fault.line, fault.column);
    errors.sort_by_key(by_place);
    warnings.sort_by_key(by_place);
    faults.append(&mut errors);
    warnings
}

fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

fn stem(path: &str) -> &str {
    let name = file_name(path);
    name.strip_suffix(".cedar").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::Policies;

    fn settings() -> PolicySettings {
        PolicySettings::new("example.org".parse().unwrap())
    }

    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let errors = Policies::parse(files, settings()).unwrap_err();
        errors.faults().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_fault_of_every_file_is_told_with_its_place() {
        let said = faults(&[
            ("a.cedar", "permit (principal, action, resource)\n  when { principal.name == \"x\" };"),
            ("b.cedar", "permit (principal, action, resource)\nwhen { true }}\n"),
            (
                "c.cedar",
                "\n@id(\"x\") permit (principal, action, resource);\n  @id(\"x\") forbid (principal, action, resource);",
            ),
            ("d.cedar", "permit (principal, action == Action::\"Issue\", resource);"),
            ("e.cedar", "permit (principal == ?principal, action, resource);"),
        ]);
        let begins = |start: &str| said.iter().any(|fault| fault.starts_with(start));
        assert!(begins("a.cedar:2:"), "{said:#?}");
        assert!(begins("b.cedar:2:14: "), "{said:#?}");
        assert!(begins("c.cedar:3:3: there is another policy `x` at c.cedar:2:1"), "{said:#?}");
        assert!(begins("d.cedar:1:"), "{said:#?}");
        assert!(begins("e.cedar: has a template"), "{said:#?}");
        assert!(
            said.iter().any(|fault| fault.contains("IssueLease")),
            "the nearest name is proposed: {said:#?}"
        );
    }

    #[test]
    fn annotations_that_mean_nothing_are_faults() {
        let said = faults(&[(
            "a.cedar",
            "@max_tll(\"5m\") permit (principal, action, resource);\n@max_ttl(\"5x\") permit (principal, action, resource);\n@max_ttl(\"5m\") forbid (principal, action, resource);\n@id(\"\") permit (principal, action, resource);",
        )]);
        assert_eq!(said.len(), 4, "{said:#?}");
        assert!(said[0].starts_with("a.cedar:1:1: `@max_tll` means nothing"), "{said:#?}");
        assert!(said[1].starts_with("a.cedar:2:1: @max_ttl(\"5x\") is not a duration"), "{said:#?}");
        assert!(said[2].starts_with("a.cedar:3:1: @max_ttl limits what a permit grants"), "{said:#?}");
        assert!(said[3].starts_with("a.cedar:4:1: @id is empty"), "{said:#?}");
    }

    #[test]
    fn policies_are_named_by_id_or_by_place() {
        let text = "// one\npermit (principal, action, resource);\n@id(\"own\") permit (principal, action, resource);\npermit (principal, action, resource);";
        let policies = Policies::parse([("dir/10-x.cedar".to_owned(), text.to_owned())], settings()).unwrap();
        assert_eq!(policies.names().collect::<Vec<_>>(), ["10-x#1", "own", "10-x#3"]);
        let lines: Vec<_> = policies.rules().iter().map(|rule| rule.line).collect();
        assert_eq!(lines, [2, 3, 4]);
    }

    #[test]
    fn a_policy_that_can_never_apply_is_warned_of() {
        let text = "permit (principal is Workload, action == Action::\"ReadAudit\", resource is Secret);";
        let policies = Policies::parse([("a.cedar".to_owned(), text.to_owned())], settings()).unwrap();
        let said: Vec<_> = policies.warnings().iter().map(ToString::to_string).collect();
        assert!(said[0].starts_with("a.cedar:1:1: "), "{said:#?}");
    }

    #[test]
    fn the_shipped_folder_is_good_and_warns_of_nothing() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/policies");
        let policies = Policies::load(&shipped, settings()).unwrap();
        assert_eq!(policies.warnings(), []);
        assert_eq!(policies.names().next(), Some("guardrail.environment"));
    }

    #[test]
    fn a_folder_is_read_whole_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        write("b.cedar", b"forbid (principal, action, resource);");
        write("a.cedar", b"permit (principal, action, resource);");
        write("README.md", b"not a policy");
        write(".a.cedar.swp", b"\xff");
        write(".hidden.cedar", b"\xff");
        let policies = Policies::load(folder.path(), settings()).unwrap();
        assert_eq!(policies.names().collect::<Vec<_>>(), ["a#1", "b#1"]);

        write("c.cedar", b"\xff");
        fs::create_dir(folder.path().join("d.cedar")).unwrap();
        let errors = Policies::load(folder.path(), settings()).unwrap_err().to_string();
        assert!(errors.contains("c.cedar: is not UTF-8 text"), "{errors}");
        assert!(errors.contains("d.cedar: is not a file"), "{errors}");

        let errors = Policies::load(&folder.path().join("none"), settings()).unwrap_err().to_string();
        assert!(errors.contains("there is no such policy folder"), "{errors}");
    }
}
