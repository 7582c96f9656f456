//! Tables that fit the terminal: times are written shorter, columns that may be cut are cut, and the least telling ones
//! are left out; ids never are cut.
//!
//! The order is each table's own. First columns go in which no row has anything, then cells are cut as far as they can
//! still be read, then `first_out` goes, one by one, then cells are cut to what just tells them apart, then `last_out` goes.

/// How a cell is made shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Its end, as of sentences.
    End,
    /// Its beginning, as of SPIFFE IDs: what tells them apart is at their end.
    Start,
    /// A time (RFC 3339) loses its year, its fraction and its zone, and then its day.
    Time,
    /// A distance in time (`in 14m 59s`) loses the smaller of its units.
    Span,
}

/// What a table gives up, and in which order, where there is little room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) columns: &'static [&'static str],
    pub(crate) cuts: &'static [(&'static str, Cut)],
    /// Left out before cells are cut below what can be read.
    pub(crate) first_out: &'static [&'static str],
    /// Left out when there is no other way.
    pub(crate) last_out: &'static [&'static str],
}

/// How wide the columns are.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    columns: Vec<Column>,
}

/// A column of a layout.
#[derive(Clone, Debug)]
struct Column {
    name: &'static str,
    cut: Option<Cut>,
    /// Absent when it is left out.
    width: Option<usize>,
}

/// What stands in place of what was cut.
const GONE: char = '…';
/// A column is not cut below this, nor below its name, ...
const LEAST: usize = 8;
/// ... and not below this while something less telling can be left out.
const EASY: usize = 16;
/// `11-22 08:00:00`.
const SHORT_TIME: usize = 14;
/// Between columns.
const GAP: usize = 2;

impl Shape {
    /// The layout with the most on it that fits in `room`. `widths` is what the columns would take, and `silent` says in
    /// which of them there is nothing. Where nothing can be given up any more, it is too wide.
    pub(crate) fn lay_out(&self, widths: &[usize], silent: &[bool], room: usize) -> Layout {
        let mut layout = self.whole(widths);
        if layout.over(room) == 0 {
            return layout;
        }
        let says_nothing =
            |name: &str| self.columns.iter().zip(silent).any(|(column, silent)| *column == name && *silent);
        for name in self.first_out.iter().chain(self.last_out).filter(|name| says_nothing(name)) {
            layout.leave_out(name);
            if layout.over(room) == 0 {
                return layout;
            }
        }
        let mut found = layout.readable(room);
        for name in self.first_out {
            if found.over(room) == 0 {
                return found;
            }
            layout.leave_out(name);
            found = layout.readable(room);
        }
        found = found.tight(self.cuts, room);
        for name in self.last_out {
            if found.over(room) == 0 {
                return found;
            }
            layout.leave_out(name);
            found = layout.readable(room).tight(self.cuts, room);
        }
        found
    }

    /// With everything on it.
    pub(crate) fn whole(&self, widths: &[usize]) -> Layout {
        let cut = |name| self.cuts.iter().find(|(cut, _)| *cut == name).map(|(_, cut)| *cut);
        let widths = widths.iter().copied().chain(std::iter::repeat(0));
        let column = |(name, width): (&&'static str, usize)| {
            let width = Some(width.max(name.chars().count()));
            Column { name, cut: cut(*name), width }
        };
        Layout { columns: self.columns.iter().zip(widths).map(column).collect() }
    }
}

impl Layout {
    /// The columns' widths; absent for those that are left out.
    pub(crate) fn widths(&self) -> impl Iterator<Item = Option<usize>> {
        self.columns.iter().map(|column| column.width)
    }

    /// Whether it has the same columns on it, and times in the same form.
    pub(crate) fn shows_as(&self, other: &Self) -> bool {
        self.columns.iter().zip(&other.columns).all(|(a, b)| match a.cut {
            Some(Cut::Time) => a.width == b.width,
            _ => a.width.is_some() == b.width.is_some(),
        })
    }

    /// For one line: no cell is wider than its column.
    pub(crate) fn stretched(mut self, cells: &[String]) -> Self {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.width = column.width.map(|width| cell.chars().count().max(width));
        }
        self
    }

    /// The last column takes what is left of the line.
    pub(crate) fn filled(mut self, room: usize) -> Self {
        let left = room.saturating_sub(self.length());
        if let Some(width) = self.columns.iter_mut().rev().find_map(|column| column.width.as_mut()) {
            *width = width.saturating_add(left);
        }
        self
    }

    /// How many characters too many a line has.
    pub(crate) fn over(&self, room: usize) -> usize {
        self.length().saturating_sub(room)
    }

    fn length(&self) -> usize {
        let shown = self.widths().flatten();
        shown.map(|width| width.saturating_add(GAP)).sum::<usize>().saturating_sub(GAP)
    }

    fn leave_out(&mut self, name: &str) {
        for column in self.columns.iter_mut().filter(|column| column.name == name) {
            column.width = None;
        }
    }

    /// Cut, the widest first, as far as what is there can still be read.
    fn readable(&self, room: usize) -> Self {
        let mut layout = self.clone();
        if layout.over(room) == 0 {
            return layout;
        }
        let mut shown: Vec<_> = layout.columns.iter_mut().filter(|column| column.width.is_some()).collect();
        for column in shown.iter_mut().filter(|column| column.cut == Some(Cut::Time)) {
            column.width = column.width.map(|width| width.min(SHORT_TIME));
        }
        let names: Vec<_> = shown.iter().map(|column| column.name).collect();
        let cuts: Vec<_> =
            shown.iter().filter_map(|column| Some((column.name, column.cut?))).filter(is_text).collect();
        let mut widths: Vec<_> = shown.iter().filter_map(|column| column.width).collect();
        fit_to(EASY, &mut widths, &names, &cuts, room);
        for (column, width) in shown.into_iter().zip(widths) {
            column.width = Some(width);
        }
        layout
    }

    /// Cut to what just tells the cells apart, one column after the other.
    fn tight(mut self, cuts: &[(&str, Cut)], room: usize) -> Self {
        for (name, _) in cuts {
            let over = self.over(room);
            let columns = self.columns.iter_mut().filter(|column| column.name == *name);
            for column in columns.filter(|_| over > 0) {
                let (least, over) = match column.cut {
                    Some(Cut::Time | Cut::Span) => (LEAST, usize::MAX),
                    _ => (column.name.chars().count().max(LEAST), over),
                };
                column.width = column.width.map(|width| width.saturating_sub(over).max(least).min(width));
            }
        }
        self
    }
}

fn is_text((_, cut): &(&str, Cut)) -> bool {
    matches!(cut, Cut::End | Cut::Start)
}

/// Makes columns narrower until a line fits in `room`, or nothing can be cut any more.
pub(crate) fn fit(widths: &mut [usize], head: &[&str], cuts: &[(&str, Cut)], room: usize) {
    fit_to(LEAST, widths, head, cuts, room);
}

fn fit_to(least: usize, widths: &mut [usize], head: &[&str], cuts: &[(&str, Cut)], room: usize) {
    let gaps = widths.len().saturating_sub(1).saturating_mul(GAP);
    let mut over = widths.iter().sum::<usize>().saturating_add(gaps).saturating_sub(room);
    while over > 0 {
        let widest = widths
            .iter_mut()
            .zip(head)
            .filter(|(width, name)| {
                **width > name.chars().count().max(least) && cuts.iter().any(|(cut, _)| cut == *name)
            })
            .max_by_key(|(width, _)| **width);
        let Some((width, _)) = widest else { return };
        *width = width.saturating_sub(1);
        over = over.saturating_sub(1);
    }
}

/// The cell in so many characters, if its column may be cut.
pub(crate) fn shorten(cell: &str, name: &str, cuts: &[(&str, Cut)], width: usize) -> String {
    let length = cell.chars().count();
    let Some((_, cut)) = cuts.iter().find(|(cut, _)| *cut == name).filter(|_| length > width) else {
        return cell.to_owned();
    };
    let kept = width.saturating_sub(1);
    match cut {
        Cut::Span => short_span(cell),
        Cut::Time => short_time(cell, width).unwrap_or(cell).replace('T', " "),
        Cut::Start => {
            let mut short = String::from(GONE);
            short.extend(cell.chars().skip(length.saturating_sub(kept)));
            short
        }
        Cut::End => {
            let mut short: String = cell.chars().take(kept).collect();
            // An id is whole or not there.
            let word = short.rfind(' ').map_or(0, |space| space.saturating_add(1));
            let cut_through = cell.chars().nth(kept).is_some_and(|next| next != ' ' && next != ';');
            if cut_through && short.get(word..).is_some_and(is_id) {
                if word == 0
                    && let Some((_, rest)) = cell.split_once("; ")
                {
                    return format!("{GONE}; {}", shorten(rest, name, cuts, width.saturating_sub(3)));
                }
                short.truncate(word);
            }
            short.push(GONE);
            short
        }
    }
}

/// `11-22T08:00:00` where there is room for it, else `08:00:00`.
fn short_time(time: &str, width: usize) -> Option<&str> {
    let from = if width < SHORT_TIME { 11 } else { 5 };
    time.get(from..19)
}

/// `in 14m` and `2h ago`.
fn short_span(span: &str) -> String {
    let words: Vec<_> = span.split(' ').collect();
    match words.as_slice() {
        ["in", first, ..] => format!("in {first}"),
        [first, .., "ago"] => format!("{first} ago"),
        _ => span.to_owned(),
    }
}

fn is_id(word: &str) -> bool {
    word.starts_with("lease-") || word.starts_with("revocation-")
}

/// The cells in columns of these widths.
pub(crate) fn padded(cell: &str, width: usize) -> String {
    format!("{cell:width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: [&str; 3] = ["LEASE", "HOLDER", "NOTE"];
    const CUTS: [(&str, Cut); 2] = [("HOLDER", Cut::Start), ("NOTE", Cut::End)];

    #[test]
    fn the_widest_column_that_may_be_cut_is_cut_first() {
        let mut widths = [32, 40, 30];
        fit(&mut widths, &HEAD, &CUTS, 96);
        assert_eq!(widths, [32, 30, 30]);
        fit(&mut widths, &HEAD, &CUTS, 10);
        assert_eq!(widths, [32, 8, 8], "ids stay whole, though the line is too long then");
        let mut wide = [32, 40, 30];
        fit(&mut wide, &HEAD, &CUTS, 106);
        assert_eq!(wide, [32, 40, 30]);
    }

    const SHAPE: Shape = Shape {
        columns: &["TIME", "LEASE", "HOLDER", "STATE", "NOTE"],
        cuts: &[("NOTE", Cut::End), ("HOLDER", Cut::Start), ("TIME", Cut::Time)],
        first_out: &["NOTE"],
        last_out: &["STATE", "HOLDER"],
    };
    const WIDE: [usize; 5] = [24, 32, 40, 6, 30];

    fn laid_out(silent: &[bool], room: usize) -> Vec<Option<usize>> {
        SHAPE.lay_out(&WIDE, silent, room).widths().collect()
    }

    #[test]
    fn what_tells_least_is_given_up_first() {
        let widths = |room| laid_out(&[false; 5], room);
        assert_eq!(widths(140), [24, 32, 40, 6, 30].map(Some));
        assert_eq!(widths(139), [14, 32, 40, 6, 30].map(Some), "times first");
        assert_eq!(widths(92), [14, 32, 16, 6, 16].map(Some), "then what can be cut and still be read");
        assert_eq!(
            widths(91),
            [Some(14), Some(32), Some(33), Some(6), None],
            "then the least telling column"
        );
        assert_eq!(widths(70), [Some(14), Some(32), Some(12), Some(6), None], "then what is left is cut");
        assert_eq!(widths(65), [Some(8), Some(32), Some(8), Some(6), None]);
        assert_eq!(widths(59), [Some(14), Some(32), Some(9), None, None], "then another column goes");
        assert_eq!(widths(20), [Some(8), Some(32), None, None, None], "ids stay whole");
    }

    #[test]
    fn what_says_nothing_goes_before_anything_is_cut() {
        let silent = [false, false, false, true, true];
        assert_eq!(laid_out(&silent, 139), [Some(24), Some(32), Some(40), Some(6), None]);
        assert_eq!(laid_out(&silent, 105), [Some(24), Some(32), Some(40), None, None]);
        assert_eq!(laid_out(&[true; 5], 139)[0], Some(24), "what is never left out stays");
    }

    #[test]
    fn a_time_loses_what_is_told_least_of() {
        let short = |width| shorten("2026-11-22T08:00:12.500Z", "TIME", SHAPE.cuts, width);
        assert_eq!(
            [short(24), short(14), short(8)],
            ["2026-11-22T08:00:12.500Z", "11-22 08:00:12", "08:00:12"]
        );
        let span = |cell| shorten(cell, "ENDS", &[("ENDS", Cut::Span)], 8);
        assert_eq!(["in 14m 59s", "23h 10m ago", "in 9m 3s"].map(span), ["in 14m", "23h ago", "in 9m 3s"]);
        assert_eq!(shorten("é".repeat(20).as_str(), "TIME", SHAPE.cuts, 14), "é".repeat(20), "it is no time");
    }

    #[test]
    fn what_is_cut_says_so_and_keeps_what_tells_it_apart() {
        let short = |cell, name, width| shorten(cell, name, &CUTS, width);
        assert_eq!(short("spiffe://example.org/prod/api", "HOLDER", 10), "…/prod/api");
        assert_eq!(short("a long sentence", "NOTE", 8), "a long …");
        assert_eq!(short("fits", "NOTE", 8), "fits");
        assert_eq!(short("lease-aeaqcaib", "LEASE", 8), "lease-aeaqcaib");
    }

    #[test]
    fn an_id_in_a_sentence_is_whole_or_not_there() {
        let short = |width| shorten("on lease-aeaq; by x", "NOTE", &CUTS, width);
        let first = |width| shorten("lease-aeaq; by x", "NOTE", &CUTS, width);
        assert_eq!(
            [first(9).as_str(), first(7).as_str(), first(14).as_str()],
            ["…; by x", "…; by x", "lease-aeaq; b…"]
        );
        assert_eq!(short(10), "on …");
        assert_eq!(short(14), "on lease-aeaq…");
        assert_eq!(short(17), "on lease-aeaq; b…");
    }
}
