//! Lists of things, as tables or as JSON.

use std::{io::Write, marker::PhantomData};

use serde::Serialize;

use super::{Format, Output, printable};
use crate::{
    exit::Failure,
    look::{self, Tone},
    table::{Cut, Layout, Shape, padded, shorten},
};

/// A thing that can stand in a list.
pub(crate) trait Row: Serialize {
    /// The columns' names.
    const COLUMNS: &'static [&'static str];

    /// How wide the columns are at least when rows come one by one; empty means as wide as their content.
    const WIDTHS: &'static [usize] = &[];

    /// The columns that may be cut where the terminal is too narrow. What identifies a thing is none of them.
    const CUTS: &'static [(&'static str, Cut)] = &[];

    /// The columns that are left out where the terminal is too narrow, the least telling first.
    const FIRST_OUT: &'static [&'static str] = &[];

    /// The columns that are left out where nothing can be cut any more, either.
    const LAST_OUT: &'static [&'static str] = &[];

    /// The columns' content.
    fn cells(&self) -> Vec<String>;
}

/// A list that is being written.
pub(crate) struct List<'o, R: Row, W: Write> {
    output: &'o mut Output<W>,
    /// Rows of a table wait until the widths are known.
    waiting: Option<Vec<Vec<String>>>,
    /// What the columns of rows that come one by one have taken so far, and how they stand on the terminal.
    standing: Option<(Vec<usize>, Layout)>,
    count: usize,
    row: PhantomData<R>,
}

impl<'o, R: Row, W: Write> List<'o, R, W> {
    const SHAPE: Shape =
        Shape { columns: R::COLUMNS, cuts: R::CUTS, first_out: R::FIRST_OUT, last_out: R::LAST_OUT };

    /// Widths are known when all of them have come.
    pub(super) fn of_rows_that_wait(output: &'o mut Output<W>) -> Self {
        let waiting = (output.format == Format::Table).then(Vec::new);
        Self { output, waiting, standing: None, count: 0, row: PhantomData }
    }

    /// Each is shown as it comes.
    pub(super) fn of_rows_that_come(output: &'o mut Output<W>) -> Self {
        Self { output, waiting: None, standing: None, count: 0, row: PhantomData }
    }

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
            Format::Table => self.cells(&row.cells()),
        }
    }

    fn cells(&mut self, cells: &[String]) -> Result<(), Failure> {
        let cells: Vec<_> = cells.iter().map(|cell| printable(cell)).collect();
        if let Some(waiting) = &mut self.waiting {
            waiting.push(cells);
            return Ok(());
        }
        let layout = self.next(&cells)?;
        self.row(&cells, &layout)?;
        self.output.flush()
    }

    /// How a row that came by itself is laid out. The columns' names are written before the first, and again when a row
    /// leaves no room for some of them. The last column takes what is left.
    fn next(&mut self, cells: &[String]) -> Result<Layout, Failure> {
        let Some(room) = self.output.look.width else {
            if self.count == 1 {
                self.head(&Self::SHAPE.whole(R::WIDTHS))?;
            }
            return Ok(Self::SHAPE.whole(R::WIDTHS).stretched(cells));
        };
        let but_the_last = cells.len().saturating_sub(1);
        let mut widths = match &self.standing {
            Some((widths, _)) => widths.clone(),
            None => R::WIDTHS.to_vec(),
        };
        widths.resize(cells.len(), 0);
        for (width, cell) in widths.iter_mut().zip(cells).take(but_the_last) {
            *width = cell.chars().count().max(*width);
        }
        if let Some((_, layout)) = self.standing.as_ref().filter(|(before, _)| *before == widths) {
            return Ok(layout.clone());
        }
        let layout = Self::SHAPE.lay_out(&widths, &[], room).filled(room);
        if self.standing.as_ref().is_none_or(|(_, before)| !before.shows_as(&layout)) {
            self.head(&layout)?;
        }
        self.standing = Some((widths, layout.clone()));
        Ok(layout)
    }

    fn head(&mut self, layout: &Layout) -> Result<(), Failure> {
        let shown = R::COLUMNS.iter().zip(layout.widths());
        let cells: Vec<_> = shown.filter_map(|(name, width)| Some(padded(name, width?))).collect();
        let line = cells.join("  ");
        let line = self.output.look.paint(Tone::Head, line.trim_end());
        self.output.write(format!("{line}\n").as_bytes())
    }

    fn row(&mut self, cells: &[String], layout: &Layout) -> Result<(), Failure> {
        let look = self.output.look;
        let mut line = String::new();
        let mut gap = 0_usize;
        for ((cell, name), width) in cells.iter().zip(R::COLUMNS).zip(layout.widths()) {
            let Some(width) = width else { continue };
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
                    let mut widths = vec![0; R::COLUMNS.len()];
                    let mut silent = vec![true; R::COLUMNS.len()];
                    for row in &rows {
                        for ((width, silent), cell) in widths.iter_mut().zip(&mut silent).zip(row) {
                            *width = cell.chars().count().max(*width);
                            *silent &= matches!(cell.as_str(), "" | "-" | "0");
                        }
                    }
                    let layout = match self.output.look.width {
                        Some(room) => Self::SHAPE.lay_out(&widths, &silent, room),
                        None => Self::SHAPE.whole(&widths),
                    };
                    self.head(&layout)?;
                    for row in &rows {
                        self.row(row, &layout)?;
                    }
                }
            }
        }
        self.output.flush()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::look::Look;

    /// What people see of a table with these cells, with so much room in a line.
    pub(crate) fn shown<R: Row>(come_one_by_one: bool, rows: &[&[&str]], room: Option<usize>) -> String {
        let mut buffer = Vec::new();
        let look = Look { width: room, color: false };
        let mut output = Output { format: Format::Table, look, writer: &mut buffer };
        let mut list = if come_one_by_one { output.stream::<R>() } else { output.list::<R>() };
        for (n, row) in (1..).zip(rows) {
            assert_eq!(row.len(), R::COLUMNS.len(), "{row:?}");
            list.count = n;
            list.cells(&row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()).unwrap();
        }
        list.finish("").unwrap();
        String::from_utf8(buffer).unwrap()
    }

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
}
