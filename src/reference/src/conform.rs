//! Whether a file is what a schema says: so much of JSON Schema as [`crate::schema`] uses, but for patterns.

use serde_json::Value;

/// What in a TOML text the schema does not take, each with its place.
///
/// # Errors
/// When one of the two cannot be read.
pub fn violations(schema: &str, text: &str) -> Result<Vec<String>, String> {
    let schema: Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    let value: Value = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    look(&schema, &value, "", &mut found);
    Ok(found)
}

fn look(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let mut say = |what: String| found.push(format!("{at}: {what}"));
    let is_type = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        _ => false,
    };
    let keyword = |name: &str| schema.get(name);
    if let Some(kind) = keyword("type").and_then(Value::as_str).filter(|kind| !is_type(kind)) {
        return say(format!("{value} is not of type {kind}"));
    }
    if keyword("enum").and_then(Value::as_array).is_some_and(|choices| !choices.contains(value)) {
        say(format!("{value} is none of the choices"));
    }
    if keyword("const").is_some_and(|only| only != value) {
        say(format!("{value} is not the constant"));
    }
    let bound = |name: &str| Some((keyword(name)?.as_i64()?, value.as_i64()?));
    if bound("minimum").is_some_and(|(least, value)| value < least)
        || bound("maximum").is_some_and(|(most, value)| value > most)
    {
        say(format!("{value} is out of bounds"));
    }
    let shortest = keyword("minLength").and_then(Value::as_u64).unwrap_or_default();
    if shortest > 0 && value.as_str().is_some_and(str::is_empty) {
        say("is empty".to_owned());
    }
    for name in ["oneOf", "anyOf"] {
        let Some(forms) = keyword(name).and_then(Value::as_array) else { continue };
        let each = forms.iter().map(|form| {
            let mut inner = Vec::new();
            look(form, value, at, &mut inner);
            inner
        });
        let each: Vec<_> = each.collect();
        let good = each.iter().filter(|inner| inner.is_empty()).count();
        if good == 0 {
            // Of the form that is meant, most fits.
            let here = format!("{at}: ");
            let other = |inner: &Vec<String>| {
                inner.iter().any(|what| {
                    what.ends_with(" is not the constant")
                        || what.starts_with(&here) && what.contains(" is not of type ")
                })
            };
            found
                .extend(each.into_iter().min_by_key(|inner| (other(inner), inner.len())).unwrap_or_default());
        } else if name == "oneOf" && good > 1 {
            found.push(format!("{at}: is more than one of the forms"));
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        if let Some(items) = schema.get("items") {
            look(items, item, &format!("{at}[{index}]"), found);
        }
    }
    members(schema, value, at, found);
}

fn members(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(object) = value.as_object() else { return };
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str).filter(|name| !object.contains_key(*name)) {
        found.push(format!("{at}: `{name}` is missing"));
    }
    for (name, member) in object {
        let own = schema.get("properties").and_then(|properties| properties.get(name));
        match own.or_else(|| schema.get("additionalProperties")) {
            Some(Value::Bool(false)) => found.push(format!("{at}: `{name}` is not known")),
            Some(inner) => look(inner, member, &format!("{at}.{name}"), found),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_found() {
        let schema = r#"{"type": "object", "additionalProperties": false, "required": ["k"], "properties": {
            "k": {"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}}, "additionalProperties": false},
                            {"type": "object", "properties": {"kind": {"const": "b"}}, "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 3}}]},
            "l": {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"enum": ["x"]}}]}}}"#;
        let found = |text: &str| violations(schema, text).unwrap();
        assert_eq!(found("k = { kind = 'a' }\nl = 'y'"), Vec::<String>::new());
        assert_eq!(found("k = { kind = 'b', n = 2 }\nl = ['x']"), Vec::<String>::new());
        assert_eq!(found("l = ''"), [": `k` is missing", ".l: is empty"]);
        assert_eq!(found("k = { kind = 'b', n = 4 }"), [".k.n: 4 is out of bounds"]);
        assert_eq!(found("k = { kind = 'b', n = 'x' }"), [".k.n: \"x\" is not of type integer"]);
        assert_eq!(
            found("k = { kind = 'a' }\nl = ['z']\nm = 1"),
            [".l[0]: \"z\" is none of the choices", ": `m` is not known"]
        );
    }
}
