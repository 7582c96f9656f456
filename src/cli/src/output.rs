//! Everything that is written to standard output, as a table or as JSON.
//!
//! A reader that goes away (`| head`) is no failure: nobody is left to tell. Control characters in text that others
//! wrote are shown and not sent to the terminal.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    exit::{Exit, Failure},
    look::{self, Look, Tone},
    table::{Cut, fit, padded, shorten},
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

/// A thing that can stand in a list.
pub(crate) trait Row: Serialize {
    /// The columns' names.
    const COLUMNS: &'static [&'static str];

    /// How wide the columns are at least when rows come one by one; empty means as wide as their content.
    const WIDTHS: &'static [usize] = &[];

    /// The columns that may be cut where the terminal is too narrow. What identifies a thing is none of them.
    const CUTS: &'static [(&'static str, Cut)] = &[];

    /// The columns' content.
    fn cells(&self) -> Vec<String>;
}

/// Standard output, in one form.
pub(crate) struct Output<W: Write = BufWriter<StdoutLock<'static>>> {
    pub(crate) format: Format,
    look: Look,
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
        for (name, value) in parts {
            let name = self.look.paint(Tone::Faint, &format!("{name:width$}"));
            let value = printable(value);
            let line = format!("{name}  {}", self.look.paint(look::of_part(&value), &value));
            self.write(line.trim_end().as_bytes())?;
            self.write(b"\n")?;
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
                let cells: Vec<_> = row.cells().iter().map(|cell| printable(cell)).collect();
                if let Some(waiting) = &mut self.waiting {
                    waiting.push(cells);
                    return Ok(());
                }
                if first {
                    self.head(R::WIDTHS)?;
                }
                let mut widths = R::WIDTHS.to_vec();
                widths.resize(cells.len(), 0);
                for (width, cell) in widths.iter_mut().zip(&cells) {
                    *width = cell.chars().count().max(*width);
                }
                self.row(&cells, widths)?;
                self.output.flush()
            }
        }
    }

    fn head(&mut self, widths: &[usize]) -> Result<(), Failure> {
        let widths = widths.iter().copied().chain(std::iter::repeat(0));
        let cells: Vec<_> = R::COLUMNS.iter().zip(widths).map(|(name, width)| padded(name, width)).collect();
        let line = cells.join("  ");
        let line = self.output.look.paint(Tone::Head, line.trim_end());
        self.output.write(format!("{line}\n").as_bytes())
    }

    /// One row, in these widths or in less.
    fn row(&mut self, cells: &[String], mut widths: Vec<usize>) -> Result<(), Failure> {
        let look = self.output.look;
        if let Some(room) = look.width {
            fit(&mut widths, R::COLUMNS, R::CUTS, room);
        }
        let mut line = String::new();
        let mut gap = 0_usize;
        for ((cell, name), width) in cells.iter().zip(R::COLUMNS).zip(widths) {
            let cell = match look.width {
                Some(_) => shorten(cell, name, R::CUTS, width),
                None => cell.clone(),
            };
            // What follows nothing but spaces is the line's end.
            if !cell.is_empty() {
                line.push_str(&" ".repeat(gap));
                line.push_str(&look.paint(look::of_cell(name, &cell), &cell));
                gap = 0;
            }
            gap = gap.saturating_add(width.saturating_sub(cell.chars().count())).saturating_add(2);
        }
        line.push('\n');
        self.output.write(line.as_bytes())
    }

    /// Ends the list; says `nothing` to people when it is empty.
    pub(crate) fn finish(mut self, nothing: &str) -> Result<(), Failure> {
        match self.output.format {
            Format::Jsonl => {}
            Format::Json if self.count == 0 => self.output.write(b"[]\n")?,
            Format::Json => self.output.write(b"\n]\n")?,
            Format::Table if self.count == 0 => self.output.write(format!("{nothing}\n").as_bytes())?,
            Format::Table => {
                let rows = self.waiting.take().unwrap_or_default();
                if !rows.is_empty() {
                    let mut widths: Vec<_> = R::COLUMNS.iter().map(|name| name.len()).collect();
                    for row in &rows {
                        for (width, cell) in widths.iter_mut().zip(row) {
                            *width = cell.chars().count().max(*width);
                        }
                    }
                    if let Some(room) = self.output.look.width {
                        fit(&mut widths, R::COLUMNS, R::CUTS, room);
                    }
                    self.head(&widths)?;
                    for row in &rows {
                        self.row(row, widths.clone())?;
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
        write(&mut Output { format, look: Look::default(), writer: &mut buffer }).unwrap();
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
    fn a_table_fits_the_terminal_and_has_its_colours() {
        struct Lease(&'static str, &'static str);
        impl Serialize for Lease {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }
        impl Row for Lease {
            const COLUMNS: &'static [&'static str] = &["LEASE", "HOLDER", "STATE"];
            const CUTS: &'static [(&'static str, Cut)] = &[("HOLDER", Cut::Start)];

            fn cells(&self) -> Vec<String> {
                vec!["lease-aeaqcaib".into(), self.0.into(), self.1.into()]
            }
        }
        let shown = |width, color| {
            let mut buffer = Vec::new();
            let look = Look { width: Some(width), color };
            let mut output = Output { format: Format::Table, look, writer: &mut buffer };
            let mut list = output.list();
            list.push(&Lease("spiffe://example.org/prod/api", "active")).unwrap();
            list.finish("").unwrap();
            String::from_utf8(buffer).unwrap()
        };
        assert_eq!(
            shown(34, false),
            "LEASE           HOLDER      STATE\nlease-aeaqcaib  …/prod/api  active\n"
        );
        assert_eq!(shown(20, false).lines().nth(1), Some("lease-aeaqcaib  …rod/api  active"));
        let bright = shown(34, true);
        assert!(bright.starts_with("\x1b[1mLEASE "), "{bright:?}");
        assert!(bright.ends_with("…/prod/api  \x1b[32mactive\x1b[0m\n"), "{bright:?}");
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
