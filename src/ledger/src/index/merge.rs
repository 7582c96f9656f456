//! One ordered view of several sources, in which a newer source's entry hides the older ones'.

use std::{sync::Arc, vec};

use leasehold_core::state::Key;

use super::{
    block::BlockCursor,
    error::IndexError,
    run::Run,
    slot::Row,
    store::{Blocks, Store},
};

/// Entries in key order.
pub(crate) trait Source: Send {
    /// The next entry, without moving on.
    fn peek(&self) -> Option<&Row>;

    /// Gives the next entry and moves on.
    fn take(&mut self) -> Result<Option<Row>, IndexError>;
}

/// The merged view. Deletions are in it: who wants what is there leaves them out.
pub(crate) struct Merge<'a> {
    /// The newest first.
    sources: Vec<Box<dyn Source + 'a>>,
}

/// Rows that are in memory.
pub(crate) struct Rows<I> {
    next: Option<Row>,
    rest: I,
}

/// The entries of a run from some key on.
pub(crate) struct RunRows {
    store: Arc<Store>,
    run: Arc<Run>,
    blocks: Blocks,
    block: Option<BlockCursor>,
    to: Option<Key>,
    next: Option<Row>,
}

impl<'a> Merge<'a> {
    pub(crate) fn new(sources: Vec<Box<dyn Source + 'a>>) -> Self {
        Self { sources }
    }

    /// The next key's newest entry.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, IndexError> {
        let mut first: Option<(usize, &Key)> = None;
        for (place, source) in self.sources.iter().enumerate() {
            if let Some(row) = source.peek()
                && first.is_none_or(|(_, key)| row.key < *key)
            {
                first = Some((place, &row.key));
            }
        }
        let Some(place) = first.map(|(place, _)| place) else { return Ok(None) };
        let Some(source) = self.sources.get_mut(place) else { return Ok(None) };
        let Some(row) = source.take()? else { return Ok(None) };
        for older in self.sources.iter_mut().skip(place.saturating_add(1)) {
            if older.peek().is_some_and(|hidden| hidden.key == row.key) {
                older.take()?;
            }
        }
        Ok(Some(row))
    }
}

impl<I: Iterator<Item = Row>> Rows<I> {
    pub(crate) fn new(rows: impl IntoIterator<IntoIter = I>) -> Self {
        let mut rest = rows.into_iter();
        Self { next: rest.next(), rest }
    }
}

impl<I: Iterator<Item = Row> + Send> Source for Rows<I> {
    fn peek(&self) -> Option<&Row> {
        self.next.as_ref()
    }

    fn take(&mut self) -> Result<Option<Row>, IndexError> {
        Ok(std::mem::replace(&mut self.next, self.rest.next()))
    }
}

/// Rows that were copied.
pub(crate) type Copied = Rows<vec::IntoIter<Row>>;

impl RunRows {
    /// The entries of `run` from `from` (or its start) up to, and without, `to` (or its end).
    pub(crate) fn new(
        store: Arc<Store>,
        run: Arc<Run>,
        from: Option<&Key>,
        to: Option<&Key>,
    ) -> Result<Self, IndexError> {
        let blocks = store.blocks_from(run.facts.id, from)?;
        let mut rows = Self { store, run, blocks, block: None, to: to.cloned(), next: None };
        rows.step()?;
        while let (Some(row), Some(from)) = (&rows.next, from)
            && row.key < *from
        {
            rows.step()?;
        }
        Ok(rows)
    }

    fn step(&mut self) -> Result<(), IndexError> {
        self.next = None;
        loop {
            if let Some(block) = &mut self.block
                && let Some(row) = block.next_row().map_err(|_| self.run.malformed())?
            {
                if self.to.as_ref().is_none_or(|to| row.key < *to) {
                    self.next = Some(row);
                }
                return Ok(());
            }
            let Some((place, first)) = self.blocks.next()? else { return Ok(()) };
            if self.to.as_ref().is_some_and(|to| first.bytes() >= to.as_str().as_bytes()) {
                return Ok(());
            }
            self.block = Some(BlockCursor::new(self.run.read(&self.store, place)?));
        }
    }
}

impl Source for RunRows {
    fn peek(&self) -> Option<&Row> {
        self.next.as_ref()
    }

    fn take(&mut self) -> Result<Option<Row>, IndexError> {
        let row = self.next.take();
        if row.is_some() {
            self.step()?;
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::slot::Slot, *};

    fn rows(entries: &[(&str, u64)]) -> Box<dyn Source> {
        let row = |(key, revision): &(&str, u64)| Row {
            key: Key::from_stored(key),
            slot: Slot { revision: *revision, value: None },
        };
        Box::new(Copied::new(entries.iter().map(row).collect::<Vec<_>>()))
    }

    #[test]
    fn the_newest_entry_of_a_key_is_the_one_that_is_seen() {
        let mut merge = Merge::new(vec![
            rows(&[("b", 9)]),
            rows(&[("a", 5), ("b", 6), ("d", 7)]),
            rows(&[("a", 1), ("b", 2), ("c", 3)]),
        ]);
        let mut seen = Vec::new();
        while let Some(row) = merge.next().unwrap() {
            seen.push((row.key.to_string(), row.slot.revision));
        }
        let expected = [("a", 5), ("b", 9), ("c", 3), ("d", 7)].map(|(key, at)| (key.to_owned(), at));
        assert_eq!(seen, expected);
    }
}
