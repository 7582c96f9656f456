//! Walks through the segments of a journal and checks that each record follows from the one before.

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use crate::{
    error::Fault,
    head::Head,
    line::{self, Stamp},
    lines::{Found, Lines},
    segment::Segment,
};

/// A walk through a journal. It may go on beside a live writer.
pub(crate) struct Walk {
    dir: PathBuf,
    segment: Segment,
    lines: Lines,
    /// The segments after this one, as far as they are known.
    later: VecDeque<Segment>,
    head: Head,
    line: (u64, Range<usize>),
}

/// A record that is not what was written, or a file that cannot be read.
#[derive(Debug)]
pub(crate) enum Obstacle {
    Flaw(Flaw),
    Io { path: PathBuf, source: io::Error },
}

/// Where the chain is broken.
#[derive(Debug)]
pub(crate) struct Flaw {
    pub(crate) seq: u64,
    pub(crate) segment: PathBuf,
    pub(crate) offset: u64,
    pub(crate) fault: Fault,
    /// Whether it is in the last segment, where it may be a torn write.
    pub(crate) last: bool,
}

impl Walk {
    /// Starts at the segment that holds record `seq`, or the nearest one; `None` when there is no segment at all.
    pub(crate) fn start(dir: &Path, seq: u64) -> Result<Option<Self>, Obstacle> {
        let io = |source| Obstacle::Io { path: dir.to_owned(), source };
        let live = Segment::live(dir).map_err(io)?;
        let mut later: VecDeque<_> = match live.first() {
            Some(oldest) if oldest.first <= seq => live.into(),
            _ => Segment::all(dir).map_err(io)?.into(),
        };
        let passed = later.iter().filter(|segment| segment.first <= seq).count();
        later.drain(..passed.saturating_sub(1));
        let Some(segment) = later.pop_front() else { return Ok(None) };
        let (segment, lines) = open(dir, segment)?;
        let mut walk =
            Self { dir: dir.to_owned(), segment, lines, later, head: Head::START, line: (0, 0..0) };
        let header = walk.header()?;
        let found = walk.segment.before(walk.lines.bytes(header));
        // Only the very first record has nothing before it.
        let plausible = |head: &Head| head.seq > 0 || *head == Head::START;
        walk.head = found.filter(plausible).ok_or_else(|| walk.flaw(0, Fault::Header))?;
        Ok(Some(walk))
    }

    /// The next record's place in the chain; `None` at the journal's end, as it is now.
    pub(crate) fn next(&mut self) -> Result<Option<Stamp>, Obstacle> {
        // A segment is complete when there is a later one: only an end that was seen after that is its end.
        let mut complete = !self.later.is_empty();
        loop {
            let offset = self.lines.offset();
            let found = self.lines.next().map_err(|source| self.io(source))?;
            if let Found::Line { offset, range } = found {
                let (head, stamp) = line::follow(self.head, self.lines.bytes(range.clone()))
                    .map_err(|fault| self.flaw(offset, fault))?;
                self.head = head;
                self.line = (offset, range);
                return Ok(Some(stamp));
            }
            if found == Found::Cut && self.segment.packed {
                return Err(self.flaw(offset, Fault::Incomplete));
            }
            if !complete {
                self.look_for_later()?;
                if self.later.is_empty() {
                    return Ok(None);
                }
                complete = true;
                continue;
            }
            if found == Found::Cut {
                return Err(self.flaw(offset, Fault::Incomplete));
            }
            if !self.remains(offset)?.is_empty() {
                return Err(self.flaw(offset, Fault::Remains));
            }
            self.turn_over(offset)?;
            complete = !self.later.is_empty();
        }
    }

    /// The line of the record that was walked to last, without its newline.
    pub(crate) fn line(&self) -> &[u8] {
        self.lines.bytes(self.line.1.clone())
    }

    /// The last record that was walked to.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// Where the next record should start, in the present segment.
    pub(crate) fn offset(&self) -> u64 {
        self.lines.offset()
    }

    /// What is in the present segment from `offset` on, where its lines end, to its last byte that is not zero.
    pub(crate) fn remains(&self, offset: u64) -> Result<Vec<u8>, Obstacle> {
        self.lines.remains(offset).map_err(|source| self.io(source))
    }

    /// The present segment.
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// A flaw of the record that was walked to last.
    pub(crate) fn flaw_here(&self, fault: Fault) -> Flaw {
        let last = self.later.is_empty();
        Flaw { seq: self.head.seq, segment: self.segment.path.clone(), offset: self.line.0, fault, last }
    }

    fn turn_over(&mut self, end: u64) -> Result<(), Obstacle> {
        let Some(segment) = self.later.pop_front() else { return Ok(()) };
        if segment.first > self.head.seq.saturating_add(1) {
            let until = segment.first.saturating_sub(1);
            return Err(self.flaw(end, Fault::Missing { until }));
        }
        (self.segment, self.lines) = open(&self.dir, segment)?;
        let header = self.header()?;
        if self.segment.before(self.lines.bytes(header)) == Some(self.head) {
            Ok(())
        } else {
            Err(self.flaw(0, Fault::Header))
        }
    }

    fn header(&mut self) -> Result<Range<usize>, Obstacle> {
        match self.lines.next().map_err(|source| self.io(source))? {
            Found::Line { range, .. } => Ok(range),
            Found::End | Found::Cut => Err(self.flaw(0, Fault::Header)),
        }
    }

    fn look_for_later(&mut self) -> Result<(), Obstacle> {
        let io = |source| Obstacle::Io { path: self.dir.clone(), source };
        let later = |segment: &Segment| segment.first > self.segment.first;
        let mut found: VecDeque<_> =
            Segment::live(&self.dir).map_err(io)?.into_iter().filter(later).collect();
        // A reader that the archive has overtaken goes on there.
        if found.front().is_some_and(|next| next.first > self.head.seq.saturating_add(1)) {
            found = Segment::all(&self.dir).map_err(io)?.into_iter().filter(later).collect();
        }
        self.later = found;
        Ok(())
    }

    fn flaw(&self, offset: u64, fault: Fault) -> Obstacle {
        // A header that is wrong is the fault of the record that it should introduce.
        let seq = if offset == 0 { self.segment.first } else { self.head.seq.saturating_add(1) };
        // What was packed was whole.
        let last = self.later.is_empty() && offset > 0 && !self.segment.packed;
        Obstacle::Flaw(Flaw { seq, segment: self.segment.path.clone(), offset, fault, last })
    }

    fn io(&self, source: io::Error) -> Obstacle {
        if self.segment.packed && source.raw_os_error().is_none() {
            return self.flaw(self.lines.offset(), Fault::Packing);
        }
        Obstacle::Io { path: self.segment.path.clone(), source }
    }
}

/// Opens a segment, wherever it has been moved to meanwhile.
fn open(dir: &Path, mut segment: Segment) -> Result<(Segment, Lines), Obstacle> {
    // Packed, and then archived: it cannot move more often than that.
    for _ in 0..2 {
        match Lines::open(&segment) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Obstacle::Io { path: segment.path, source }),
            Ok(lines) => return Ok((segment, lines)),
        }
        let segments = Segment::all(dir).map_err(|source| Obstacle::Io { path: dir.to_owned(), source })?;
        match segments.into_iter().find(|found| found.first == segment.first) {
            Some(found) => segment = found,
            None => break,
        }
    }
    match Lines::open(&segment) {
        Err(source) => Err(Obstacle::Io { path: segment.path, source }),
        Ok(lines) => Ok((segment, lines)),
    }
}
