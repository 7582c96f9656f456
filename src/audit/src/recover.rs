//! What is done to a journal before it is written to: finds its end, checks it, and mends what a crash has torn.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use crate::{
    current::{Current, write_all, write_zeros},
    error::{Fault, JournalError},
    files::Files,
    head::Head,
    next::{Next, remove_blank},
    tail::Tail,
    walk::{Flaw, Obstacle, Walk},
};

/// What was found when a journal was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The last record.
    pub head: Head,
    /// The latest time in the records that were looked at; absent when there is no record.
    pub last_time: Option<Timestamp>,
    /// An end that a crash had torn, if there was one: nothing acknowledged was in it.
    pub torn: Option<Torn>,
}

/// An end that was not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment file.
    pub segment: PathBuf,
    /// Where in it the bytes were.
    pub offset: u64,
    /// How many there were.
    pub bytes: u64,
    /// Where they are kept now.
    pub saved: PathBuf,
}

/// Opens the last segment at its end; makes the first one when there is none.
pub(crate) fn recover(
    files: &dyn Files,
    dir: &Path,
    next: &mut Next,
    applied: Head,
) -> Result<(Current, Opened), JournalError> {
    prepare_dir(files, dir).map_err(|source| io_error(dir, "created", source))?;
    remove_blank(dir);
    let Some(mut walk) = Walk::start(dir, applied.seq.max(1)).map_err(refuse)? else {
        if applied.seq > 0 {
            return Err(JournalError::Cut { ends_at: 0, applied: applied.seq });
        }
        let current = next.take(Head::START, 0)?;
        return Ok((current, Opened { head: Head::START, last_time: None, torn: None }));
    };

    let (last_time, flaw) = follow(&mut walk, applied)?;
    let (segment, head) = (walk.segment().clone(), walk.head());
    let offset = flaw.as_ref().map_or(walk.offset(), |flaw| flaw.offset);
    let expected = head.seq.saturating_add(1);
    let tail = Tail::new(offset, walk.remains(offset).map_err(refuse)?);
    let damaged = |fault| {
        refuse(Obstacle::Flaw(Flaw {
            seq: expected,
            segment: segment.path.clone(),
            offset,
            fault,
            last: true,
        }))
    };
    if let Some(tail) = &tail
        && (applied.seq > head.seq || !tail.is_torn(expected))
    {
        return Err(damaged(flaw.map_or(Fault::Incomplete, |flaw| flaw.fault)));
    }
    if applied.seq > head.seq {
        return Err(JournalError::Cut { ends_at: head.seq, applied: applied.seq });
    }

    if segment.packed || segment.path.parent() != Some(dir) {
        // What was closed stays closed.
        return Ok((next.take(head, 0)?, Opened { head, last_time, torn: None }));
    }
    let torn = tail.map(|tail| mend(files, dir, &segment.path, &tail)).transpose()?;
    let file = files.open(&segment.path).map_err(|source| io_error(&segment.path, "opened", source))?;
    // A process that was killed may have left whole records, or a new name, that the disk does not have yet: nobody may
    // act on them before it does.
    file.sync_data()
        .and_then(|()| files.sync_dir(dir))
        .map_err(|source| io_error(&segment.path, "made durable", source))?;
    let current = Current::new(file, segment.path.clone(), offset)
        .map_err(|source| io_error(&segment.path, "examined", source))?;
    Ok((current, Opened { head, last_time, torn }))
}

/// Walks to the end, past `applied`; returns the latest time, and a flaw in the last segment's end that may be a torn write.
fn follow(walk: &mut Walk, applied: Head) -> Result<(Option<Timestamp>, Option<Flaw>), JournalError> {
    let mut last_time = None;
    if walk.head().seq > applied.seq {
        // The records between what the state has and what the journal starts with are gone.
        let until = walk.head().seq;
        let seq = applied.seq.saturating_add(1);
        if applied.seq > 0 {
            let segment = walk.segment().path.clone();
            return Err(JournalError::Damaged { seq, segment, offset: 0, fault: Fault::Missing { until } });
        }
    }
    loop {
        if walk.head().seq == applied.seq && walk.head() != applied {
            return Err(JournalError::Diverged { seq: applied.seq });
        }
        match walk.next() {
            Ok(Some(stamp)) => last_time = last_time.max(Some(stamp.time)),
            Ok(None) => return Ok((last_time, None)),
            Err(Obstacle::Flaw(flaw)) if flaw.last => return Ok((last_time, Some(flaw))),
            Err(other) => return Err(refuse(other)),
        }
    }
}

/// Keeps a torn end aside and makes zeros of it.
fn mend(files: &dyn Files, dir: &Path, segment: &Path, tail: &Tail) -> Result<Torn, JournalError> {
    let name = segment.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let free = (0_u32..)
        .map(|count| dir.join(format!("{name}.{}.{count}.torn", tail.offset)))
        .find(|path| !path.exists());
    let saved = free.unwrap_or_else(|| dir.join("torn"));
    files
        .create(&saved)
        .and_then(|file| write_all(&*file, &tail.bytes, 0).and_then(|()| file.sync_data()))
        .and_then(|()| files.sync_dir(dir))
        .map_err(|source| io_error(&saved, "written", source))?;
    let bytes = tail.bytes.len() as u64;
    files
        .open(segment)
        .and_then(|file| write_zeros(&*file, tail.offset, bytes).and_then(|()| file.sync_data()))
        .map_err(|source| io_error(segment, "mended", source))?;
    Ok(Torn { segment: segment.to_owned(), offset: tail.offset, bytes, saved })
}

fn prepare_dir(files: &dyn Files, dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    dir.parent().map_or(Ok(()), |parent| files.sync_dir(parent))
}

fn refuse(obstacle: Obstacle) -> JournalError {
    match obstacle {
        Obstacle::Flaw(Flaw { seq, segment, offset, fault, .. }) => {
            JournalError::Damaged { seq, segment, offset, fault }
        }
        Obstacle::Io { path, source } => JournalError::Io { path, verb: "read", source },
    }
}

fn io_error(path: &Path, verb: &'static str, source: io::Error) -> JournalError {
    JournalError::Io { path: path.to_owned(), verb, source }
}
