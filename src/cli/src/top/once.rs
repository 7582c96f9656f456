//! The page once, as text.

use leasehold_client::Operator;
use leasehold_core::Timestamp;
use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    asking::{Hints, about_leases, about_rotations, about_status},
    drawing::{draw, whole_height},
    news::{News, Record, Trouble},
    page::Page,
    tail,
};
use crate::{clock, exit::Failure, look::Look, output::Output};

/// How wide it is where nobody says how much fits.
const WIDE: u16 = 120;
/// So many lines of each list are on it.
const MOST: u16 = 22;

/// Asks for everything once, and writes what there is.
pub(super) async fn run(
    operator: &Operator,
    mut page: Page,
    look: Look,
    output: &mut Output,
) -> Result<(), Failure> {
    let records = records(operator).await;
    let gone = |trouble: &Trouble| matches!(trouble, Trouble::Away(_));
    if !records.as_ref().is_err_and(gone) {
        page.take(News::Status(about_status(operator, &Hints::default()).await), clock::now());
        page.take(News::Leases(about_leases(operator).await), clock::now());
        page.take(News::Rotations(about_rotations(operator).await), clock::now());
    }
    match records {
        Ok(records) => {
            page.take(News::Tail(Ok(())), clock::now());
            page.take(News::Records(records), clock::now());
        }
        Err(trouble) => page.take(News::Tail(Err(trouble)), clock::now()),
    }
    let width = look.width.and_then(|width| u16::try_from(width).ok()).unwrap_or(WIDE);
    text(&page, clock::now(), width).iter().try_for_each(|line| output.line(line))
}

async fn records(operator: &Operator) -> Result<Vec<Record>, Trouble> {
    let mut records = operator.query_audit(tail::query(0, false)).await?;
    let mut all = Vec::new();
    while let Some(record) = records.next().await? {
        all.push(Record::from(record));
    }
    Ok(all)
}

/// The page's lines, without the one about keys.
fn text(page: &Page, now: Timestamp, width: u16) -> Vec<String> {
    let area = Rect::new(0, 0, width, whole_height(page, now, width, MOST));
    let mut buffer = Buffer::empty(area);
    draw(page, now, false, area, &mut buffer);
    let mut lines: Vec<String> = buffer
        .content
        .chunks(usize::from(width).max(1))
        .map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned())
        .collect();
    lines.pop();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::drawing::tests::whole;

    #[test]
    fn one_page_is_lines_of_text_without_keys() {
        let (page, now) = whole();
        let lines = text(&page, now, 100);
        assert!(lines[0].starts_with("leasehold top  a 0.1.0  example.org"), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("AUDIT")), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("q end")), "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 100 && !line.contains('\u{1b}')));
    }
}
