//! Everything that is written to standard output, as a table or as JSON.
//!
//! A reader that goes away (`| head`) is no failure: nobody is left to tell. Control characters in text that others
//! wrote are shown and not sent to the terminal.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use clap::ValueEnum;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};

/// How things are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// One indented JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
}

/// A thing that can stand in a list.
pub(crate) trait Row: Serialize {
    /// The columns' names.
    const COLUMNS: &'static [&'static str];

    /// How wide the columns are at least when rows come one by one; empty means as wide as their content.
    const WIDTHS: &'static [usize] = &[];

    /// The columns' content.
    fn cells(&self) -> Vec<String>;
}

/// Standard output, in one form.
pub(crate) struct Output<W: Write = BufWriter<StdoutLock<'static>>> {
    pub(crate) format: Format,
    writer: W,
}

/// A list that is being written.
pub(crate) struct List<'o, R: Row, W: Write> {
    output: &'o mut Output<W>,
    /// Rows of a table wait until the widths are known.
    waiting: Option<Vec<Vec<String>>>,
    count: usize,
    row: std::marker::PhantomData<R>,
}

/// Whether people are reading.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, writer: BufWriter::new(io::stdout().lock()) }
    }
}

impl<W: Write> Output<W> {
    /// One thing: its named parts for people, or the whole of it as JSON.
    pub(crate) fn item(&mut self, item: &impl Serialize, parts: &[(&str, String)]) -> Result<(), Failure> {
        if self.format != Format::Table {
            return self.json(item);
        }
        let width = parts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in parts {
            let line = format!("{name:width$}  {}\n", printable(value));
            self.write(line.trim_end_matches(' ').as_bytes())?;
        }
        self.flush()
    }

    /// Begins a list whose rows are known soon.
    pub(crate) fn list<R: Row>(&mut self) -> List<'_, R, W> {
        let waiting = (self.format == Format::Table).then(Vec::new);
        List { output: self, waiting, count: 0, row: std::marker::PhantomData }
    }

    /// Begins a list whose rows come one by one and are shown as they come.
    pub(crate) fn stream<R: Row>(&mut self) -> List<'_, R, W> {
        List { output: self, waiting: None, count: 0, row: std::marker::PhantomData }
    }

    /// One line of text.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.write(text.as_bytes())?;
        self.write(b"\n")?;
        self.flush()
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

impl<R: Row, W: Write> List<'_, R, W> {
    /// Adds a row.
    pub(crate) fn push(&mut self, row: &R) -> Result<(), Failure> {
        let first = self.count == 0;
        self.count = self.count.saturating_add(1);
        match self.output.format {
            Format::Jsonl => self.output.json(row),
            Format::Json => {
                self.output.write(if first { b"[\n" } else { b",\n" })?;
                let encoded = serde_json::to_string_pretty(row)
                    .map_err(|why| Failure::failed("the output cannot be written", why))?;
                self.output.write(format!("  {}", encoded.replace('\n', "\n  ")).as_bytes())
            }
            Format::Table => {
                let cells = row.cells().iter().map(|cell| printable(cell)).collect();
                match &mut self.waiting {
                    Some(waiting) => waiting.push(cells),
                    None => {
                        if first {
                            self.output.write(aligned(&head::<R>(), R::WIDTHS).as_bytes())?;
                        }
                        self.output.write(aligned(&cells, R::WIDTHS).as_bytes())?;
                    }
                }
                if self.waiting.is_none() { self.output.flush() } else { Ok(()) }
            }
        }
    }

    /// Ends the list; says `nothing` to people when it is empty.
    pub(crate) fn finish(self, nothing: &str) -> Result<(), Failure> {
        match self.output.format {
            Format::Jsonl => {}
            Format::Json if self.count == 0 => self.output.write(b"[]\n")?,
            Format::Json => self.output.write(b"\n]\n")?,
            Format::Table if self.count == 0 => self.output.write(format!("{nothing}\n").as_bytes())?,
            Format::Table => {
                let rows = self.waiting.unwrap_or_default();
                if !rows.is_empty() {
                    let head = head::<R>();
                    let mut widths = vec![0; head.len()];
                    for row in rows.iter().chain([&head]) {
                        for (width, cell) in widths.iter_mut().zip(row) {
                            *width = cell.chars().count().max(*width);
                        }
                    }
                    for row in [&head].into_iter().chain(&rows) {
                        self.output.write(aligned(row, &widths).as_bytes())?;
                    }
                }
            }
        }
        self.output.flush()
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

fn head<R: Row>() -> Vec<String> {
    R::COLUMNS.iter().map(|&name| name.to_owned()).collect()
}

/// The cells in columns of these widths, without spaces at the end.
fn aligned(cells: &[String], widths: &[usize]) -> String {
    let widths = widths.iter().copied().chain(std::iter::repeat(0));
    let line: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
    format!("{}\n", line.join("  ").trim_end())
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

    #[derive(Serialize)]
    struct Thing {
        name: &'static str,
        size: u32,
    }

    impl Row for Thing {
        const COLUMNS: &'static [&'static str] = &["NAME", "SIZE"];
        const WIDTHS: &'static [usize] = &[6, 4];

        fn cells(&self) -> Vec<String> {
            vec![self.name.to_owned(), self.size.to_string()]
        }
    }

    const THINGS: [Thing; 2] = [Thing { name: "a\u{1b}[2J", size: 1 }, Thing { name: "long name", size: 20 }];

    fn written(
        format: Format,
        write: impl FnOnce(&mut Output<&mut Vec<u8>>) -> Result<(), Failure>,
    ) -> String {
        let mut buffer = Vec::new();
        write(&mut Output { format, writer: &mut buffer }).unwrap();
        String::from_utf8(buffer).unwrap()
    }

    fn listed(format: Format, things: &[Thing]) -> String {
        written(format, |output| {
            let mut list = output.list();
            things.iter().try_for_each(|thing| list.push(thing))?;
            list.finish("nothing here")
        })
    }

    #[test]
    fn the_three_forms_of_a_list() {
        assert_eq!(listed(Format::Table, &THINGS), "NAME        SIZE\na\\u{1b}[2J  1\nlong name   20\n");
        assert_eq!(
            listed(Format::Jsonl, &THINGS),
            "{\"name\":\"a\\u001b[2J\",\"size\":1}\n{\"name\":\"long name\",\"size\":20}\n"
        );
        let json: serde_json::Value = serde_json::from_str(&listed(Format::Json, &THINGS)).unwrap();
        assert_eq!(json[1]["size"], 20);
    }

    #[test]
    fn an_empty_list_is_still_a_list() {
        assert_eq!(listed(Format::Table, &[]), "nothing here\n");
        assert_eq!(listed(Format::Json, &[]), "[]\n");
        assert_eq!(listed(Format::Jsonl, &[]), "");
    }

    #[test]
    fn a_stream_is_shown_as_it_comes() {
        let shown = written(Format::Table, |output| {
            let mut list = output.stream();
            THINGS.iter().skip(1).try_for_each(|thing| list.push(thing))?;
            list.finish("")
        });
        assert_eq!(shown, "NAME    SIZE\nlong name  20\n");
    }

    #[test]
    fn an_item_has_its_parts_in_line() {
        let shown = written(Format::Table, |output| {
            output.item(&THINGS[0], &[("name", "a".to_owned()), ("longer", "b\nc".to_owned())])
        });
        assert_eq!(shown, "name    a\nlonger  b\\nc\n");
    }
}
