//! What is in quotation marks in the sources that read a configuration. A reference is made of what readers ask for when they
//! are run; this finds the keys of which no run came past.

/// Every text of a source's program (not of its tests and comments) that could be a key's name.
pub fn of(source: &str) -> impl Iterator<Item = &str> {
    let program = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = program.lines().filter(|line| !line.trim_start().starts_with("//"));
    // Every second piece is between quotation marks; a line with an escaped one has no keys.
    let lines = lines.filter(|line| !line.contains("\\\"") && !line.trim_start().starts_with("#["));
    lines.flat_map(|line| line.split('"').skip(1).step_by(2)).filter(|word| is_key(word))
}

fn is_key(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_sentences_are_not() {
        let source = "// \"comment\"\nsection.or(\"min_tls\", x);\nfault(\"`a` is empty\", \"write_it\");\nx(\"\\\"no\\\"\");\n#[cfg(test)]\n\"test\"";
        assert_eq!(of(source).collect::<Vec<_>>(), ["min_tls", "write_it"]);
    }
}
