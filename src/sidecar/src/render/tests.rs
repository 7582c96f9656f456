//! What is made of a snapshot, and what is said when it cannot be.

use leasehold_config::Source;
use leasehold_core::{LeaseId, SecretValue, Timestamp};

use super::*;
use crate::Config;

const VALUE: &str = "canary-7f3a $'\"\\";

/// A snapshot with the secret `db` of these fields, and `one` of one.
fn snapshot(fields: &[(&str, &[u8])]) -> Arc<Snapshot> {
    let loan = |fields: &[(&str, &[u8])]| {
        let fields = fields.iter().map(|(name, bytes)| (name.parse().unwrap(), bytes.to_vec().into()));
        let value = SecretValue { fields: fields.collect(), content_type: SecretValue::TEXT.into() };
        let path = "prod/payments/db".parse().unwrap();
        let expires: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let lease: LeaseId = LeaseId::from_bits([7; 16]);
        Arc::new(Loan::kept(path, lease, Some("v1".parse().unwrap()), expires, value))
    };
    let name = |name: &str| name.parse::<Name>().unwrap();
    let secrets = [(name("db"), loan(fields)), (name("one"), loan(&[("value", b"single")]))];
    Arc::new(Snapshot {
        secrets: secrets.into(),
        wanted: [name("db"), name("one")].into(),
        ..Snapshot::default()
    })
}

fn renderer(file: &str) -> Result<Renderer, Vec<RenderError>> {
    let text = format!(
        "[broker]\naddresses = 'b'\nidentity = 'i'\n[[secret]]\nname = 'db'\npath = 'prod/db'\n\
         [[secret]]\nname = 'one'\npath = 'prod/one'\n[files]\ndir = '/run/x'\n[[file]]\nname = 'f'\n{file}\n"
    );
    let config = Config::parse(&Source::new("/etc/s.toml", text)).unwrap();
    Renderer::new(&config.file_list)
}

/// What the file `f` has in it.
fn made(file: &str, fields: &[(&str, &[u8])]) -> Result<String, String> {
    let rendered = renderer(file).unwrap().render(&snapshot(fields), &BTreeSet::new());
    let mut rendered = rendered.map_err(|error| error.to_string())?;
    Ok(String::from_utf8(rendered.remove(0).content.into_exposed()).unwrap())
}

fn template(text: &str) -> Result<String, String> {
    let file = format!("template_text = '''{text}'''");
    made(&file, &[("username", b"app"), ("password", VALUE.as_bytes()), ("blob", &[0xff, 0])])
}

#[test]
fn whole_secrets_and_fields() {
    let both: &[(&str, &[u8])] = &[("password", VALUE.as_bytes()), ("username", b"app")];
    assert_eq!(made("secret = 'db'\nfield = 'password'", both).unwrap(), VALUE);
    assert_eq!(made("secret = 'one'", both).unwrap(), "single");
    let json = made("secret = 'db'\nform = 'json'", both).unwrap();
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(read, serde_json::json!({"password": VALUE, "username": "app"}));
    let dotenv = made("secret = 'db'\nform = 'dotenv'\nprefix = 'DB_'", both).unwrap();
    assert_eq!(dotenv, "DB_PASSWORD=\"canary-7f3a \\$'\\\"\\\\\"\nDB_USERNAME=app\n");
}

#[test]
fn what_cannot_be_written_is_named_with_the_way_out() {
    let both: &[(&str, &[u8])] = &[("password", &[0xff]), ("username", b"app")];
    for (file, expected) in [
        ("secret = 'db'", "more than one field (`password`, `username`): say which with `field`"),
        ("secret = 'db'\nfield = 'pass'", "has no field `pass`, it has `password`, `username`"),
        ("secret = 'db'\nform = 'json'", "the field `password` is not text"),
        ("secret = 'db'\nform = 'dotenv'", "the field `password` is not text"),
    ] {
        let error = made(file, both).unwrap_err();
        assert!(error.contains(expected), "{file}: {error}");
    }
}

#[test]
fn templates_have_the_filters_that_files_want() {
    for (text, expected) in [
        ("{{ secrets.db.username }}:{{ secrets['db']['username'] }}\n", "app:app\n"),
        ("{{ secrets.db.blob | b64encode }} {{ secrets.db.blob | hex }}", "/wA= ff00"),
        ("{{ secrets.db.username | b64encode | b64decode }}", "app"),
        ("{{ 'a/b c@d' | urlencode }}", "a%2Fb%20c%40d"),
        ("{{ secrets.db.password | json }}", r#""canary-7f3a $'\"\\""#),
        ("{{ {'u': secrets.db.username, 'n': [1, true]} | json }}", r#"{"n":[1,true],"u":"app"}"#),
        ("{{ \"it's\" | shell }}", r"'it'\''s'"),
        ("X={{ 'two words' | dotenv }}", "X='two words'"),
        ("{{ secrets.one | json }}", r#"{"value":"single"}"#),
        ("{% for name in secrets.db %}{{ name }} {% endfor %}", "blob password username "),
        ("{{ leases.db.path }} {{ leases.db.version }}", "prod/payments/db v1"),
        ("{{ '<&>' }} {{ 1 == 1 }}", "<&> true"),
    ] {
        assert_eq!(template(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn errors_of_templates_say_the_line_and_never_a_value() {
    for (text, expected) in [
        (
            "\n\n{{ secrets.db.pasword }}",
            "line 2: there is no `pasword`: the fields of the secret are `blob`,",
        ),
        ("{{ secrets.bd.password }}", "there is no `bd`: the secrets are `db`, `one`"),
        ("{{ nothing }}", "something is used that is not defined"),
        ("{{ secrets.db }}", "this is a whole secret: name a field, or use `json`"),
        ("{{ secrets.db.blob }}", "the field is binary: use `b64encode`"),
        ("{{ secrets.db.password | int }}", "invalid operation"),
        ("{{ secrets.db[secrets.db.password] }}", "line 1: the fields of the secret are `blob`,"),
        ("{{ secrets.db.password | b64decode }}", "it is not Base64"),
        ("{{ secrets.db.password | pem('CERTIFICATE') }}", "no PEM block of that label"),
        ("{{ secrets.db.password.x.y }}", "something is used that is not defined"),
        ("{{ secrets.db.password + 1 }}", "invalid operation"),
        ("{{ secrets.db.password | upper | nofilter }}", "unknown filter"),
        ("{{ debug() }}", "unknown function"),
        (
            "{% for i in range(999) %}{% filter replace('x', secrets.db.password) %}{{ 'x' * 999 }}{% endfilter %}{% endfor %}",
            "more than 1048576 bytes",
        ),
        ("{% for i in range(99999) %}{% for j in range(99) %}{% endfor %}{% endfor %}", "does it end?"),
        ("{% for i in range(99999) %}{{ i }}{% endfor %}", "does it end?"),
    ] {
        let error = template(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(error.contains("/etc/s.toml:"), "{error}");
        assert!(!error.contains("canary"), "{text}: {error}");
    }
}

#[test]
fn a_faulty_template_is_told_before_anything_is_leased() {
    let faults = renderer("template_text = '''\n{{ secrets.db.password }\n'''").unwrap_err();
    assert!(
        faults[0].to_string().contains("line 1") || faults[0].to_string().contains("line 2"),
        "{faults:?}"
    );
    let faults = renderer("template = '/nonexistent/t.j2'").unwrap_err();
    assert!(faults[0].to_string().contains("/nonexistent/t.j2, cannot be read"), "{faults:?}");
    let names = ["db", "one"].map(|name| name.parse().unwrap());
    let strangers =
        renderer("template_text = '{{ secrets.bd.x }}{{ secrets.db.x }}'").unwrap().strangers(&names);
    assert_eq!(strangers, [("f".parse().unwrap(), "bd".to_owned())]);
}

#[test]
fn files_of_a_secret_can_be_left_out() {
    let renderer = renderer("template_text = '{{ secrets.one.value }}'").unwrap();
    let snapshot = snapshot(&[("x", b"y")]);
    let without = |name: &str| {
        let without = BTreeSet::from([name.parse().unwrap()]);
        renderer.render(&snapshot, &without).unwrap().len()
    };
    assert_eq!((without("db"), without("one")), (1, 0));
}

/// Found by fuzzing: to drop a hundred thousand lists within each other took more stack than there is.
#[test]
fn no_template_nests_a_value_until_the_stack_ends() {
    let nest = |turn: &str| {
        format!(
            "{{% set x = namespace(s=[]) %}}{{% for i in range(99999) %}}{{% set x.s = {turn} %}}{{% endfor %}}"
        )
    };
    // Literals within each other are the cheapest levels.
    let deep = format!("{}x.s{}", "{'a':".repeat(60), "}".repeat(60));
    for text in [nest("[x.s]"), nest(&deep)] {
        // What is not optimised takes more of the stack.
        let render =
            std::thread::Builder::new().stack_size(64 << 20).spawn(move || template(&text).unwrap_err());
        let error = render.unwrap().join().unwrap();
        assert!(error.contains("does it end?"), "{error}");
    }
}
