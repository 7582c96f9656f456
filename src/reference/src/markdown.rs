//! A configuration's reference as a page.

use std::collections::BTreeSet;

use leasehold_config::{
    Form,
    record::{Key, What},
};

use crate::merge::{Chapter, Reference, Row, choices};

/// The page.
pub fn page(reference: &Reference) -> String {
    let (about, of_page) = (reference.about.trim_end(), reference.of_page.trim_end());
    let mut page = format!("# {}\n\n{about}\n\n{of_page}\n", reference.title);
    let shapes: BTreeSet<&str> =
        reference.chapters.iter().flat_map(|chapter| &chapter.all).filter_map(|row| long(&row.key)).collect();
    if !shapes.is_empty() {
        page.push_str("\nWhat values look like:\n\n");
        for shape in shapes {
            page.push_str(&format!("- {shape}\n"));
        }
    }
    for chapter in &reference.chapters {
        page.push_str(&self::chapter(chapter, reference));
    }
    page
}

fn chapter(chapter: &Chapter, reference: &Reference) -> String {
    let heading = match chapter.table.as_str() {
        "" => chapter.heading(),
        _ => format!("`{}`", chapter.heading()),
    };
    let mut text = match &chapter.with {
        Some(with) if with.contains(" = ") => format!("\n### {heading} with `{with}`\n"),
        Some(with) => format!("\n### {heading} of {with}\n"),
        None => format!("\n## {heading}\n"),
    };
    if !chapter.about.is_empty() {
        text.push_str(&format!("\n{}\n", chapter.about.trim_end()));
    }
    let rows: Vec<_> = chapter.rows.iter().map(|row| self::row(row, &chapter.table, reference)).collect();
    if !rows.is_empty() {
        text.push_str("\n| key | value | without it | meaning |\n| --- | --- | --- | --- |\n");
        rows.iter().for_each(|row| text.push_str(row));
    }
    text
}

fn row(row: &Row, table: &str, reference: &Reference) -> String {
    let name = match row.key.name {
        "*" => "*a name*".to_owned(),
        name => format!("`{name}`"),
    };
    let mut meaning = self::meaning(row);
    if let What::Table | What::Tables = row.key.what {
        let inner =
            if table.is_empty() { row.key.name.to_owned() } else { format!("{table}.{}", row.key.name) };
        if let Some(chapter) = reference.chapters.iter().find(|chapter| chapter.table == inner) {
            meaning.push_str(&format!(" ([`{}`](#{}))", chapter.heading(), anchor(&inner)));
        }
    }
    format!("| {name} | {} | {} | {} |\n", cell(&value(&row.key)), cell(&without(row)), cell(&meaning))
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    heading.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect()
}

fn cell(text: &str) -> String {
    text.trim_end().replace('|', "\\|").replace('\n', " ")
}

/// What a key means, after the conditions under which it is taken.
pub(crate) fn meaning(row: &Row) -> String {
    let meaning = row.meaning.trim_end();
    if row.only.is_empty() {
        return meaning.to_owned();
    }
    let with: Vec<_> = row.only.iter().map(|with| format!("`{with}`")).collect();
    let mut letters = meaning.chars();
    let first = letters.next().map(|first| first.to_lowercase().to_string()).unwrap_or_default();
    format!("With {}: {first}{}", with.join(", "), letters.as_str())
}

/// What a key takes.
pub(crate) fn value(key: &Key) -> String {
    let (form, shape) = match key.what {
        What::Table => return "a table".to_owned(),
        What::Tables => return "tables".to_owned(),
        What::Value(form, shape) => (form, shape),
    };
    let choices = choices(key);
    let mut text = match choices.is_empty() {
        true => short(shape).to_owned(),
        false => choices.iter().map(|choice| format!("`\"{choice}\"`")).collect::<Vec<_>>().join(", "),
    };
    if form == Form::Texts {
        text.push_str(", or several in a list");
    }
    if let Some([low, high]) = &key.bounds {
        text.push_str(&format!(", {low} to {high}"));
    }
    text
}

/// What holds when a key is not there.
pub(crate) fn without(row: &Row) -> String {
    let quoted = |default: &str| match row.key.what {
        What::Value(Form::Whole | Form::Truth, _) => format!("`{default}`"),
        What::Value(Form::Texts, _) if default.is_empty() => "`[]`".to_owned(),
        What::Value(Form::Texts, _) => format!("`[\"{default}\"]`"),
        _ => format!("`\"{default}\"`"),
    };
    if row.key.required {
        return "**required**".to_owned();
    }
    if row.defaults.is_empty() {
        return row.key.default.as_deref().map(quoted).unwrap_or_default();
    }
    let conditions =
        |with: Vec<&str>| with.iter().map(|with| format!("`{with}`")).collect::<Vec<_>>().join(", ");
    let each = row.defaults().into_iter();
    let each = each.map(|(default, with)| format!("{} with {}", quoted(default), conditions(with)));
    each.collect::<Vec<_>>().join("; ")
}

/// What a value is, without its examples.
fn short(shape: &'static str) -> &'static str {
    let cut = [" such as", " (", ", "].iter().filter_map(|mark| shape.find(mark)).min();
    let short = cut.and_then(|at| shape.get(..at)).unwrap_or(shape);
    short.strip_suffix(" in quotation marks").unwrap_or(short)
}

/// What a value is with its examples, when those say more.
fn long(key: &Key) -> Option<&'static str> {
    match key.what {
        What::Value(_, shape) if choices(key).is_empty() && short(shape) != shape => Some(shape),
        _ => None,
    }
}
