//! Tables that fit the terminal: columns that may be cut are cut, the widest first; ids never are.

/// From which side a cell is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Its end, as of sentences.
    End,
    /// Its beginning, as of SPIFFE IDs: what tells them apart is at their end.
    Start,
}

/// What stands in place of what was cut.
const GONE: char = '…';
/// A column is not cut below this, nor below its name.
const LEAST: usize = 8;
/// Between columns.
const GAP: usize = 2;

/// Makes columns narrower until a line fits in `room`, or nothing can be cut any more.
pub(crate) fn fit(widths: &mut [usize], head: &[&str], cuts: &[(&str, Cut)], room: usize) {
    let gaps = widths.len().saturating_sub(1).saturating_mul(GAP);
    let mut over = widths.iter().sum::<usize>().saturating_add(gaps).saturating_sub(room);
    while over > 0 {
        let widest = widths
            .iter_mut()
            .zip(head)
            .filter(|(width, name)| {
                let least = name.chars().count().max(LEAST);
                **width > least && cuts.iter().any(|(cut, _)| cut == *name)
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
                short.truncate(word);
            }
            short.push(GONE);
            short
        }
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
        assert_eq!(short(10), "on …");
        assert_eq!(short(14), "on lease-aeaq…");
        assert_eq!(short(17), "on lease-aeaq; b…");
    }
}
