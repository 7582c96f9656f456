//! How PostgreSQL quotes and what it takes for a token.
//!
//! Lexical structure: <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>. Plain strings are read with
//! `standard_conforming_strings` on, which every session of ours sets.

use postgres_protocol::escape::{escape_identifier, escape_literal};

use crate::database::{Dialect, Token, Unclosed};

/// PostgreSQL's SQL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sql;

/// The longest name that is not cut, in bytes (`NAMEDATALEN` less one).
pub(crate) const LONGEST_NAME: usize = 63;

impl Dialect for Sql {
    fn identifier(&self, name: &str) -> String {
        identifier(name)
    }

    fn literal(&self, text: &str) -> String {
        literal(text)
    }

    fn token(&self, text: &str) -> Result<Token, Unclosed> {
        let length = if let Some(rest) = text.strip_prefix("--") {
            rest.find(['\n', '\r']).map_or(text.len(), |end| end.saturating_add(2))
        } else if text.starts_with("/*") {
            comment(text)?
        } else if text.starts_with('\'') {
            quoted(text, '\'', false)?
        } else if text.starts_with('"') {
            quoted(text, '"', false)?
        } else if let Some(tag) = dollar_tag(text) {
            let body = text.get(tag.len()..).unwrap_or_default();
            let end = body.find(tag).ok_or(Unclosed)?;
            end.saturating_add(tag.len().saturating_mul(2))
        } else {
            // A dollar may stand within a word, and not at its beginning; a number ends where its digits do.
            let of_word: fn(char) -> bool = match text.chars().next() {
                Some(first) if first.is_ascii_digit() => |c| c.is_ascii_digit(),
                Some(first) if is_of_word(first) => |c| is_of_word(c) || c == '$',
                _ => |_| false,
            };
            let word = text.find(|c| !of_word(c)).unwrap_or(text.len());
            let (head, tail) = text.split_at_checked(word).unwrap_or((text, ""));
            if matches!(head, "e" | "E") && tail.starts_with('\'') {
                return Ok(Token::Opaque(quoted(tail, '\'', true)?.saturating_add(1)));
            }
            return Ok(Token::Code(word.max(1)));
        };
        Ok(Token::Opaque(length))
    }
}

/// A name as one identifier.
pub(crate) fn identifier(name: &str) -> String {
    escape_identifier(name)
}

/// A text as one literal, whatever the server's `standard_conforming_strings`.
pub(crate) fn literal(text: &str) -> String {
    escape_literal(text)
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
}

/// The length of a quoted run; a doubled mark is one of its characters.
fn quoted(text: &str, mark: char, escapes: bool) -> Result<usize, Unclosed> {
    let mut rest = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = rest.next() {
        if escapes && c == '\\' {
            rest.next();
        } else if c == mark {
            if rest.peek().is_some_and(|(_, next)| *next == mark) {
                rest.next();
            } else {
                return Ok(at.saturating_add(1));
            }
        }
    }
    Err(Unclosed)
}

/// The length of a comment; comments nest.
fn comment(text: &str) -> Result<usize, Unclosed> {
    let (mut at, mut depth) = (0_usize, 0_usize);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            (at, depth) = (at.saturating_add(2), depth.saturating_add(1));
        } else if rest.starts_with("*/") {
            (at, depth) = (at.saturating_add(2), depth.saturating_sub(1));
            if depth == 0 {
                return Ok(at);
            }
        } else {
            at = at.saturating_add(rest.chars().next().map_or(1, char::len_utf8));
        }
    }
    Err(Unclosed)
}

/// The tag that a dollar-quoted run begins with, its dollars included.
fn dollar_tag(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('$')?;
    let end = inner.find('$')?;
    let tag = inner.get(..end)?;
    let ok = !tag.starts_with(|c: char| c.is_ascii_digit()) && tag.chars().all(is_of_word);
    ok.then(|| text.get(..end.saturating_add(2)))?
}

#[cfg(test)]
mod tests {
    use leasehold_provider_conformance::peers::{Postgres, or_skip};
    use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

    use super::*;
    use crate::database::{InvalidStatement, Parameter, Statements, Values};

    fn parse(statement: &str) -> Result<Statements, Vec<InvalidStatement>> {
        Statements::parse(&Sql, &[statement], &Parameter::ALL)
    }

    fn filled(statement: &str) -> String {
        let values = Values { name: "lh_a\"b", password_verifier: "v'w", ..Values::default() };
        parse(statement).unwrap().fill(&Sql, &values)
    }

    #[test]
    fn a_value_is_quoted_by_its_type() {
        assert_eq!(
            filled("CREATE ROLE {{name}} PASSWORD {{ password_verifier }};"),
            "CREATE ROLE  \"lh_a\"\"b\"  PASSWORD  'v''w' "
        );
        assert_eq!(filled("SELECT f({{name:literal}})"), "SELECT f( 'lh_a\"b' )");
        assert_eq!(filled("SELECT '{{1,2},{3,4}}'"), "SELECT '{{1,2},{3,4}}'");
    }

    #[test]
    fn no_value_stands_in_quotes() {
        for bad in [
            "CREATE ROLE \"{{name}}\"",
            "SELECT '{{name}}'",
            "SELECT 'it''s {{name}}'",
            "SELECT E'\\'{{name}}'",
            "DO $$ BEGIN {{name}} END $$",
            "DO $a$ $$ {{name}} $$ $a$",
            "SELECT 1 -- {{name}}",
            "SELECT /* /* */ {{name}} */ 1",
            "SELECT a$$ '$$ {{name}} '",
            "SELECT 1$$ {{name}} $$",
        ] {
            let faults = parse(bad).unwrap_err();
            assert!(matches!(faults.first(), Some(InvalidStatement::InQuotes(_))), "{bad}: {faults:?}");
        }
        for good in [
            "SELECT 'a' {{lease}}",
            "SELECT E'\\\\' || {{lease}}",
            "SELECT '\\' || {{lease}}",
            "SELECT nameE'x' {{lease}}",
            "SELECT 1 -- it's\n + {{lease}}",
            "SELECT $1 + $2, {{lease}}",
            "SELECT a$$b, {{lease}}, c$$d",
        ] {
            assert!(parse(good).is_ok_and(|statements| statements.uses(Parameter::Lease)), "{good}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (statement, fault) in [
            ("SELECT 'a", "not closed in `'a`"),
            ("SELECT $x$ a $y$", "not closed"),
            ("SELECT /* a", "not closed"),
            ("CREATE ROLE {{nmae}}", "`{{nmae}}` is not a parameter: there are {{name}}"),
            ("SELECT {{name:text}}", "`{{name:text}}` is not a parameter"),
            (" ; ", "is empty"),
            ("SELECT \0", "NUL"),
        ] {
            let faults = parse(statement).unwrap_err();
            assert!(faults.first().unwrap().to_string().contains(fault), "{statement}: {faults:?}");
        }
        let lacking = parse("SELECT {{name}}").unwrap().lacking(&[Parameter::Name, Parameter::Expiration]);
        assert_eq!(lacking, [InvalidStatement::Missing(Parameter::Expiration)]);
        assert_eq!(lacking.first().unwrap().to_string(), "no statement has `{{expiration}}`");
    }

    proptest! {
        #[test]
        fn every_value_is_one_token_wherever_it_stands(
            name in "[^\0]*", text in "[^\0]*",
            before in "[-a-zA-Z0-9_'\"$/*\\\\{}; \n]*", after in "[-a-zA-Z0-9_'\"$/*\\\\{}; \n]*",
        ) {
            for quoted in [identifier(&name), literal(&text)] {
                let trimmed = quoted.trim_start();
                prop_assert_eq!(Sql.token(trimmed), Ok(Token::Opaque(trimmed.len())), "{}", quoted);
            }
            // Whatever statement is understood: where its parameter stood there is one value, and all else is as it was.
            if let Ok(statements) = parse(&format!("{before}{{{{lease}}}}{after}")) {
                let values = Values { lease: &text, name: &name, ..Values::default() };
                let filled = statements.fill(&Sql, &values);
                if statements.uses(Parameter::Lease) && before.trim().len() == before.len() {
                    let value = format!(" {} ", literal(&text));
                    prop_assert!(filled.contains(&value), "{}", filled);
                    prop_assert!(filled.starts_with(&before), "{}", filled);
                }
            }
        }

        #[test]
        fn no_statement_panics(statement in ".*") {
            let _ = parse(&statement);
        }
    }

    /// Whatever it is, PostgreSQL reads it back as it was, however it is set.
    #[tokio::test]
    async fn every_value_is_one_token_to_postgres() {
        let Some(postgres) = or_skip(Postgres::start().await).unwrap() else { return };
        let mut runner = TestRunner::deterministic();
        let odd = "([^\0]|['\"\\\\$;]|--|/\\*|\\*/){0,60}";
        let mut values: Vec<String> =
            (0..400).map(|_| odd.new_tree(&mut runner).unwrap().current()).collect();
        values.extend(["'; DROP ROLE x; --", "\\'", "$$", "E'", "\u{feff}", "\r\n", ""].map(str::to_owned));
        for conforming in ["on", "off"] {
            let literals: Vec<_> = values.iter().map(|value| literal(value)).collect();
            let statement = format!(
                "SET standard_conforming_strings = {conforming}; SELECT unnest(ARRAY[{}])",
                literals.join(",")
            );
            let read: Vec<_> = postgres.run(&statement).await.unwrap().into_iter().flatten().collect();
            assert_eq!(read, values);
        }
        let names: Vec<_> = values
            .iter()
            .map(|value| value.chars().take(15).collect::<String>())
            .filter(|name| !name.is_empty())
            .collect();
        let columns: Vec<_> = names.iter().map(|name| format!("1 AS {}", identifier(name))).collect();
        let statement = format!(
            "SELECT jsonb_path_query(to_jsonb(row_to_json(t)), '$.keyvalue().key') FROM (SELECT {}) t",
            columns.join(",")
        );
        let read = postgres.run(&statement).await.unwrap();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(read.len(), distinct.len());
        for row in read {
            let name: String = serde_json::from_str(row.first().unwrap()).unwrap();
            assert!(distinct.contains(&name), "{name:?}");
        }
    }
}
