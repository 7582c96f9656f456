//! A configuration's reference as a JSON Schema (draft 7), by which editors complete and check TOML. It takes nothing that
//! the program refuses by a name; what a value may be in detail, and what goes with what, the program alone knows.

use leasehold_config::{
    Element, Form, Size,
    record::{Key, What},
};
use serde_json::{Map, Value, json};

use crate::merge::{Chapter, Reference, Row, choices};

/// The schema.
pub fn schema(reference: &Reference) -> String {
    let mut schema = table(reference, "");
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".into(), "http://json-schema.org/draft-07/schema#".into());
        object.insert("title".into(), reference.title.as_str().into());
        // Files of one folder make up a configuration: no table must be in each of them.
        object.remove("required");
    }
    // Whether maps keep their order is for whoever builds serde_json to say.
    schema.sort_all_objects();
    // Value's own Display cannot fail.
    format!("{schema:#}\n")
}

fn table(reference: &Reference, name: &str) -> Value {
    let name = reference.same.get(name).map_or(name, String::as_str);
    let chapters: Vec<_> = reference.chapters.iter().filter(|chapter| chapter.table == name).collect();
    let forms: Vec<_> = chapters.iter().filter_map(|chapter| Some((chapter, by_key(chapter)?))).collect();
    if !forms.is_empty() {
        let each = forms.iter().map(|(chapter, (key, value))| {
            let mut form = object(reference, &chapter.all);
            if let Some(found) = form.pointer_mut(&format!("/properties/{key}")) {
                *found = json!({ "const": value });
            }
            form
        });
        return json!({ "oneOf": each.collect::<Vec<_>>() });
    }
    let mut rows: Vec<Row> = Vec::new();
    for row in chapters.iter().flat_map(|chapter| &chapter.all) {
        match rows.iter_mut().find(|known| known.key.name == row.key.name) {
            // In one form of the table it may be left out.
            Some(known) => {
                known.key.required &= row.key.required;
                known.key.one_of.extend(row.key.one_of.iter().cloned());
            }
            None => rows.push(row.clone()),
        }
    }
    let everywhere = |row: &Row| {
        chapters.iter().all(|chapter| {
            chapter.with.is_none() || chapter.all.iter().any(|other| other.key.name == row.key.name)
        })
    };
    let optional: Vec<_> = rows.iter().map(|row| row.key.required && everywhere(row)).collect();
    for (row, required) in rows.iter_mut().zip(optional) {
        row.key.required = required;
    }
    object(reference, &rows)
}

/// The key and its value by which a form of a table is told from the others, when it is by one of its own keys.
fn by_key(chapter: &Chapter) -> Option<(&str, &str)> {
    let (key, value) = chapter.with.as_deref()?.split_once(" = ")?;
    let own = chapter.all.iter().any(|row| row.key.name == key && row.key.required);
    own.then(|| (key, value.trim_matches('"')))
}

fn object(reference: &Reference, rows: &[Row]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut others = Value::Bool(false);
    for row in rows {
        let key = &row.key;
        if key.name == "*" {
            others = described(value(key), row);
            continue;
        }
        let inner =
            if key.table.is_empty() { key.name.to_owned() } else { format!("{}.{}", key.table, key.name) };
        let found = match key.what {
            What::Value(..) => described(value(key), row),
            What::Table => described(table(reference, &inner), row),
            What::Tables => described(json!({ "type": "array", "items": table(reference, &inner) }), row),
        };
        properties.insert(key.name.to_owned(), found);
        if key.required && row.only.is_empty() {
            required.push(key.name);
        }
    }
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": others });
    if let (Some(object), false) = (object.as_object_mut(), required.is_empty()) {
        object.insert("required".into(), required.into());
    }
    object
}

fn described(mut schema: Value, row: &Row) -> Value {
    if let Some(object) = schema.as_object_mut() {
        let meaning = row.meaning.replace('`', "");
        object.insert("description".into(), meaning.trim_end().into());
        if let (Some(default), true) = (&row.key.default, row.defaults.is_empty()) {
            object.insert("default".into(), typed(&row.key, default));
        }
    }
    schema
}

fn value(key: &Key) -> Value {
    let What::Value(form, shape) = key.what else { return json!({}) };
    let choices = choices(key);
    let text = match () {
        () if !choices.is_empty() => json!({ "type": "string", "enum": choices }),
        () if shape == std::time::Duration::SHAPE => {
            json!({ "type": "string", "pattern": "^([0-9]+(d|h|ms|m|s))+$" })
        }
        () if shape == Size::SHAPE => json!({ "type": "string", "pattern": "^[0-9]+(GiB|MiB|KiB|B)$" }),
        () => json!({ "type": "string", "minLength": 1 }),
    };
    match form {
        Form::Text => text,
        Form::Texts => json!({ "anyOf": [text, { "type": "array", "items": text }] }),
        Form::Truth => json!({ "type": "boolean" }),
        Form::Whole => {
            let bounds = key.bounds.as_ref().map(|bounds| bounds.each_ref().map(|text| typed(key, text)));
            match bounds {
                Some([low, high]) => json!({ "type": "integer", "minimum": low, "maximum": high }),
                None => json!({ "type": "integer", "minimum": 0 }),
            }
        }
    }
}

/// A value that people write as this text.
fn typed(key: &Key, text: &str) -> Value {
    match key.what {
        What::Value(Form::Whole | Form::Truth, _) => text.parse().unwrap_or(Value::Null),
        What::Value(Form::Texts, _) if text.is_empty() => json!([]),
        What::Value(Form::Texts, _) => json!([text]),
        _ => text.into(),
    }
}
