//! How deep an expression goes, found before it is parsed: Cedar's parser, and whatever walks its trees, calls itself once
//! for each level, so that a file which nests too deep would end the broker that reads it.
//!
//! It looks at characters and knows no grammar: it may take an expression for deeper than it is, never for shallower. A
//! list is only long.

/// So many brackets may be open at once.
const MOST_OPEN: usize = 32;
/// So long may a chain be, such as `a.b.c`, `1 + 2 + 3` or `a && b && c`, with what is in its brackets.
const LONGEST_CHAIN: usize = 256;
/// So many `if` may be in one policy.
const MOST_IFS: usize = 32;

/// What is between two brackets, or the whole.
#[derive(Clone, Copy, Default)]
struct Level {
    /// How many `&&` and `||` came before what is being read.
    terms: usize,
    /// The chain that is being read.
    chain: usize,
    /// The longest that was, with the terms before it.
    longest: usize,
}

impl Level {
    fn link(&mut self, links: usize) {
        self.chain = self.chain.saturating_add(links);
        self.longest = self.longest.max(self.terms.saturating_add(self.chain));
    }

    fn term(&mut self) {
        (self.terms, self.chain) = (self.terms.saturating_add(1), 0);
        self.link(0);
    }

    fn item(&mut self) {
        (self.terms, self.chain) = (0, 0);
    }
}

/// Where a text nests too deep, in bytes, and how.
pub(crate) fn too_deep(text: &str) -> Option<(usize, String)> {
    let (mut outer, mut level, mut ifs) = (Vec::new(), Level::default(), 0_usize);
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            '"' => {
                while let Some((_, c)) = rest.next() {
                    match c {
                        '\\' => drop(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '/' if rest.peek().is_some_and(|(_, next)| *next == '/') => {
                while rest.next_if(|(_, c)| *c != '\n').is_some() {}
            }
            '(' | '[' | '{' => {
                if outer.len() >= MOST_OPEN {
                    return Some((at, format!("has more than {MOST_OPEN} brackets in each other")));
                }
                outer.push(std::mem::take(&mut level));
            }
            ')' | ']' | '}' => {
                let inner = std::mem::replace(&mut level, outer.pop().unwrap_or_default());
                level.link(inner.longest.saturating_add(1));
            }
            '.' | '+' | '-' | '*' => level.link(1),
            '&' | '|' if rest.next_if(|(_, next)| *next == c).is_some() => level.term(),
            ',' => level.item(),
            ';' => (level, ifs) = (Level::default(), 0),
            'i' if is_if(text, at) => {
                ifs = ifs.saturating_add(1);
                if ifs > MOST_IFS {
                    return Some((at, format!("has more than {MOST_IFS} `if` in one policy")));
                }
            }
            _ => {}
        }
        if level.longest > LONGEST_CHAIN {
            return Some((at, format!("has a chain of more than {LONGEST_CHAIN} parts")));
        }
    }
    None
}

/// Whether the word `if` begins here.
fn is_if(text: &str, at: usize) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (before, from) = text.split_at_checked(at).unwrap_or_default();
    from.strip_prefix("if").is_some_and(|behind| !behind.starts_with(word)) && !before.ends_with(word)
}

#[cfg(test)]
mod tests {
    use crate::{Policies, PolicySettings};

    /// A policy under a condition.
    fn when(condition: &str) -> String {
        format!("permit (principal, action, resource) when {{ {condition} }};")
    }

    fn nested(open: &str, close: &str, levels: usize) -> String {
        when(&format!("{}true{}", open.repeat(levels), close.repeat(levels)))
    }

    fn parse(text: String) -> Result<Policies, String> {
        let settings = PolicySettings::new("example.org".parse().unwrap());
        Policies::parse([("a.cedar".to_owned(), text)], settings).map_err(|why| why.to_string())
    }

    #[test]
    fn what_would_overflow_the_stack_is_refused() {
        let ifs = nested("if true then ", " else false", 10_000);
        for (text, why) in [
            (nested("(", ")", 100_000), "a.cedar:1:"),
            (nested("[", "]", 100_000), "brackets in each other"),
            (nested("{a:", "}", 100_000), "brackets in each other"),
            (ifs, "`if` in one policy"),
            (when(&format!("{}1 == 1", "1+".repeat(100_000))), "a chain of more than 256 parts"),
            (when(&format!("{}true", "principal.path == \"x\" || ".repeat(20_000))), "a chain"),
            (when(&format!("{}true", "true && ".repeat(100_000))), "a chain"),
            (when(&format!("principal{}", ".a".repeat(100_000))), "a chain"),
            (when(&format!("principal{}", "[\"a\"]".repeat(100_000))), "a chain"),
            (when(&format!("{}x{}", "(".repeat(30), ".a.a.a.a.a.a.a.a.a)".repeat(30))), "a chain"),
        ] {
            let said = parse(text).err().unwrap();
            assert!(said.contains(why), "{said} and not {why}");
        }
    }

    #[test]
    fn what_is_long_and_not_deep_is_read() {
        let list = format!("[{}1].contains(1)", "1,".repeat(20_000));
        let text = format!("principal.path == \"{}\" // {}\n", "(((".repeat(1000), "[".repeat(1000));
        for condition in [
            format!("{}true", "true && ".repeat(250)),
            format!("{}true", "principal.path == \"\\\"(\" || ".repeat(250)),
            list,
            text,
            format!("{}1 == 1", "1+".repeat(200)),
        ] {
            assert!(parse(when(&condition)).is_ok(), "{:.60}", condition);
        }
        assert!(parse(nested("(", ")", 31)).is_ok());
        assert!(parse(nested("if true then ", " else false", 32)).is_ok());
        assert!(
            parse(nested("if true then ", " else false", 32).repeat(20)).is_ok(),
            "each policy for itself"
        );
    }
}
