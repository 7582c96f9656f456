//! Everything that is written to standard output, as a table or as JSON.
//!
//! A reader that goes away (`| head`) is no failure: nobody is left to tell. Control characters in text that others
//! wrote are shown and not sent to the terminal.

mod list;

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

#[cfg(test)]
pub(crate) use self::list::tests::shown;
pub(crate) use self::list::{List, Row};
use crate::{
    exit::{Exit, Failure},
    look::{self, Look, Tone},
    table::{Cut, shorten},
};

/// How things are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// One indented JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
}

/// Sentences in columns narrower than this are harder to read than those that the terminal breaks.
const LEAST_PART: usize = 24;

/// Standard output, in one form.
pub(crate) struct Output<W: Write = BufWriter<StdoutLock<'static>>> {
    pub(crate) format: Format,
    look: Look,
    writer: W,
}

/// Whether people are reading.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

impl Output {
    pub(crate) fn new(format: Format, look: Look) -> Self {
        Self { format, look, writer: BufWriter::new(io::stdout().lock()) }
    }

    /// For text that is no listing.
    pub(crate) fn plain() -> Self {
        Self::new(Format::Table, Look::default())
    }
}

impl<W: Write> Output<W> {
    /// One thing: its named parts for people, or the whole of it as JSON.
    pub(crate) fn item(&mut self, item: &impl Serialize, parts: &[(&str, String)]) -> Result<(), Failure> {
        if self.format != Format::Table {
            return self.json(item);
        }
        let width = parts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let room = self.look.width.map(|room| room.saturating_sub(width).saturating_sub(2));
        for (name, value) in parts {
            let value = printable(value);
            let tone = look::of_part(&value);
            let mut name = *name;
            for text in lines_of(&value, room.filter(|room| *room >= LEAST_PART)) {
                let shown = self.look.paint(Tone::Faint, &format!("{name:width$}"));
                let line = format!("{shown}  {}", self.look.paint(tone, text.trim_end()));
                self.write(line.trim_end().as_bytes())?;
                self.write(b"\n")?;
                name = "";
            }
        }
        self.flush()
    }

    /// Begins a list whose rows are known soon.
    pub(crate) fn list<R: Row>(&mut self) -> List<'_, R, W> {
        List::of_rows_that_wait(self)
    }

    /// Begins a list whose rows come one by one and are shown as they come.
    pub(crate) fn stream<R: Row>(&mut self) -> List<'_, R, W> {
        List::of_rows_that_come(self)
    }

    /// Begins a page of a list that is shown again and again: on a terminal it takes the place of the one before.
    pub(crate) fn page(&mut self, title: &str) -> Result<(), Failure> {
        if self.format != Format::Table {
            return Ok(());
        }
        if self.look.width.is_some() {
            // To the corner, and away with what is there (ECMA-48, CUP and ED).
            self.write(b"\x1b[H\x1b[2J")?;
        }
        let title = self.look.paint(Tone::Faint, title);
        self.write(format!("{title}\n\n").as_bytes())
    }

    /// One line of text.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.write(text.as_bytes())?;
        self.write(b"\n")?;
        self.flush()
    }

    /// One line of text, which goes on below its own beginning on a terminal that has no room for it. A line that is not
    /// indented is one to be pasted, and stays as it is.
    pub(crate) fn line_of_words(&mut self, text: &str) -> Result<(), Failure> {
        let words = text.trim_start();
        let indent = text.len().saturating_sub(words.len());
        let further = indent.saturating_add(4);
        let room = self.look.width.map(|room| room.saturating_sub(further));
        let room = room.filter(|room| *room >= LEAST_PART && indent > 0);
        let mut before = indent;
        for line in lines_of(words, room) {
            self.line(format!("{:before$}{line}", "").trim_end())?;
            before = further;
        }
        Ok(())
    }

    /// One line of text, whose end is cut on a terminal that has no room for it; an id is whole or not there.
    pub(crate) fn line_that_fits(&mut self, text: &str) -> Result<(), Failure> {
        match self.look.width {
            Some(room) => self.line(&shorten(text, "", &[("", Cut::End)], room)),
            None => self.line(text),
        }
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.write(bytes)?;
        self.flush()
    }

    fn json(&mut self, item: &impl Serialize) -> Result<(), Failure> {
        let encoded = if self.format == Format::Json {
            serde_json::to_vec_pretty(item)
        } else {
            serde_json::to_vec(item)
        };
        let encoded =
            Zeroizing::new(encoded.map_err(|why| Failure::failed("the output cannot be written", why))?);
        self.write(&encoded)?;
        self.write(b"\n")?;
        self.flush()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).map_err(Failure::from)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(Failure::from)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Unread, ""),
            _ => Self::failed("standard output cannot be written", error),
        }
    }
}

/// The text in lines that fit, between words; a word that does not fit stays whole.
fn lines_of(text: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let line = lines.pop().unwrap_or_default();
        let length = line.chars().count().saturating_add(word.trim_end().chars().count());
        if length > room && !line.is_empty() {
            lines.extend([line, word.to_owned()]);
        } else {
            lines.push(line + word);
        }
    }
    lines
}

/// The text with its control characters made visible.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if c.is_control() {
            shown.extend(c.escape_default())
        } else {
            shown.push(c)
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_has_its_parts_in_line() {
        let mut buffer = Vec::new();
        let mut output = Output { format: Format::Table, look: Look::default(), writer: &mut buffer };
        output.item(&(), &[("name", "a".to_owned()), ("longer", "b\nc".to_owned())]).unwrap();
        assert_eq!(String::from_utf8(buffer).unwrap(), "name    a\nlonger  b\\nc\n");
    }

    #[test]
    fn the_end_of_a_line_is_cut_on_a_terminal_only() {
        let shown = |width| {
            let mut buffer = Vec::new();
            let look = Look { width, color: false };
            let mut output = Output { format: Format::Table, look, writer: &mut buffer };
            output.line_that_fits("  lease-aeaq  prod/payments/db").unwrap();
            String::from_utf8(buffer).unwrap()
        };
        assert_eq!(shown(Some(20)), "  lease-aeaq  prod/…\n");
        assert_eq!(shown(None), "  lease-aeaq  prod/payments/db\n");
    }

    #[test]
    fn a_line_of_words_goes_on_below_itself_and_one_to_be_pasted_does_not() {
        let shown = |text, width| {
            let mut buffer = Vec::new();
            let look = Look { width, color: false };
            let mut output = Output { format: Format::Table, look, writer: &mut buffer };
            output.line_of_words(text).unwrap();
            String::from_utf8(buffer).unwrap()
        };
        let told = "  [x] put away    it would be disabled there";
        assert_eq!(shown(told, Some(34)), "  [x] put away    it would be\n      disabled there\n");
        assert_eq!(shown(told, None), format!("{told}\n"));
        let pasted = "GRANT pg_read_all_data TO leasehold_broker;";
        assert_eq!(shown(pasted, Some(30)), format!("{pasted}\n"));
    }

    #[test]
    fn a_part_that_is_longer_than_a_line_goes_on_below_itself() {
        let shown = |width| {
            let mut buffer = Vec::new();
            let look = Look { width, color: false };
            let mut output = Output { format: Format::Table, look, writer: &mut buffer };
            let can = "read, write, stage, promote, lease-aeaqcaibaeaqcaibaeaqcaibae, purge";
            output.item(&(), &[("can", can.to_owned()), ("empty", String::new())]).unwrap();
            String::from_utf8(buffer).unwrap()
        };
        assert_eq!(
            shown(Some(35)),
            "can    read, write, stage, promote,\n       lease-aeaqcaibaeaqcaibaeaqcaibae,\n       purge\nempty\n"
        );
        let whole = shown(None);
        assert_eq!(whole.lines().count(), 2);
        assert_eq!((shown(Some(20)), shown(Some(100))), (whole.clone(), whole));
    }
}
