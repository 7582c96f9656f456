//! What is done behind the commits: writing recent writes out as a run, and merging runs. Merges go in short steps, so
//! that writing out, which commits wait for when memory is full, never waits long.

use std::sync::Arc;

use leasehold_audit::Head;

use super::{
    Frozen, Index, IndexError,
    merge::{Merge, RunRows, Source},
    run::{Run, RunWriter},
    slot::Row,
    store::Manifest,
    tiers,
};

/// How much a merge writes at a time: recent writes that are full do not wait longer than for this.
const STEP_BYTES: u64 = 64 * 1024;

/// A merge under way.
pub(crate) struct Merging {
    merge: Merge<'static>,
    out: RunWriter,
    parts: Vec<u64>,
    /// Whether there are older runs, in which a deleted key may still be.
    keep_deleted: bool,
}

/// The whole state as of one record, in order.
pub(crate) struct Whole {
    merge: Merge<'static>,
    pub(crate) head: Head,
}

impl Index {
    /// Whether so much is in memory only that it should be written out.
    pub(crate) fn is_full(&self, head: Head) -> bool {
        let state = self.read();
        let since = state.frozen.as_ref().map_or(state.manifest.seq, |frozen| frozen.head.seq);
        state.active.bytes() >= self.limits.bytes || head.seq.saturating_sub(since) >= self.limits.records
    }

    /// Whether commits must wait until something was written out.
    pub(crate) fn is_overfull(&self) -> bool {
        let state = self.read();
        state.frozen.is_some() && state.active.bytes() >= self.limits.bytes
    }

    /// Sets the recent writes, which end with `head`, aside to be written out. False when others are set aside already.
    pub(crate) fn freeze(&self, head: Head) -> bool {
        let mut state = self.write();
        if state.frozen.is_some() {
            return false;
        }
        let table = std::mem::take(&mut state.active);
        state.frozen = Some(Arc::new(Frozen { table, head }));
        true
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.read().frozen.is_some()
    }

    /// Writes out what was set aside. After an error it is still set aside.
    pub(crate) fn write_out(&self) -> Result<(), IndexError> {
        let (frozen, mut manifest) = {
            let state = self.read();
            let Some(frozen) = state.frozen.clone() else { return Ok(()) };
            let manifest = state.manifest.clone().with_head(frozen.head);
            (frozen, manifest)
        };
        let mut run = None;
        if !frozen.table.is_empty() {
            let keep_deleted = !manifest.runs.is_empty();
            let mut out = self.begin_run(&mut manifest, frozen.table.len() as u64)?;
            let mut text = Vec::new();
            for (key, slot) in frozen.table.iter().filter(|(_, slot)| keep_deleted || slot.value.is_some()) {
                out.push(key.read(&mut text), slot)?;
            }
            run = out.finish()?.map(Arc::new);
            manifest.runs.splice(0..0, run.iter().map(|run| run.facts));
        }
        self.store.set_manifest(&manifest)?;
        let mut state = self.write();
        state.runs.splice(0..0, run);
        state.manifest = manifest;
        let done = state.frozen.take();
        drop(state);
        // Wiping some megabytes takes its time: not under the lock.
        drop(done);
        drop(frozen);
        Ok(())
    }

    /// Begins the merge that is due, if one is.
    pub(crate) fn begin_merge(&self) -> Result<Option<Merging>, IndexError> {
        let (runs, mut manifest) = {
            let state = self.read();
            (state.runs.clone(), state.manifest.clone())
        };
        let Some(chosen) = tiers::choose(&manifest.runs) else { return Ok(None) };
        let keep_deleted = chosen.end < runs.len();
        let parts = runs.get(chosen).unwrap_or_default();
        let keys = parts.iter().map(|run| run.facts.keys).fold(0, u64::saturating_add);
        let merge = self.merge(parts)?;
        let parts = parts.iter().map(|run| run.facts.id).collect();
        let out = self.begin_run(&mut manifest, keys)?;
        self.write().manifest.next_run = manifest.next_run;
        Ok(Some(Merging { merge, out, parts, keep_deleted }))
    }

    /// Whether merges must be done as fast as they can.
    pub(crate) fn is_behind(&self) -> bool {
        tiers::is_behind(&self.read().manifest.runs)
    }

    /// Does a piece of a merge; gives it back while there is more of it.
    pub(crate) fn merge_on(&self, mut work: Merging) -> Result<Option<Merging>, IndexError> {
        let until = work.out.bytes().saturating_add(STEP_BYTES);
        while work.out.bytes() < until {
            let Some(Row { key, slot }) = work.merge.next()? else {
                let Merging { merge, out, parts, .. } = work;
                drop(merge);
                self.put_in_place(&parts, out.finish()?.map(Arc::new))?;
                return Ok(None);
            };
            if work.keep_deleted || slot.value.is_some() {
                work.out.push(key.as_str(), &slot)?;
            }
        }
        Ok(Some(work))
    }

    /// Removes merged runs that nobody reads any more.
    pub(crate) fn sweep(&self) -> Result<(), IndexError> {
        let unread: Vec<_> = {
            let mut state = self.write();
            // Nobody can begin to read a retired run: one whose only owner is this list stays unread.
            state.retired.extract_if(.., |run| Arc::strong_count(run) == 1).collect()
        };
        unread.iter().try_for_each(|run| self.store.remove_run(run.facts.id))
    }

    /// Does all that is due, however long it takes.
    pub(crate) fn settle(&self) -> Result<(), IndexError> {
        self.write_out()?;
        while let Some(mut work) = self.begin_merge()? {
            while let Some(more) = self.merge_on(work)? {
                work = more;
            }
        }
        self.sweep()
    }

    /// Takes over the state as of `head` from elsewhere, about `keys` entries in order. Only for an empty index.
    pub(crate) fn load(
        &self,
        head: Head,
        keys: u64,
        mut next: impl FnMut() -> Result<Option<Row>, IndexError>,
    ) -> Result<(), IndexError> {
        let mut manifest = self.read().manifest.clone().with_head(head);
        let mut out = self.begin_run(&mut manifest, keys)?;
        while let Some(Row { key, slot }) = next()? {
            out.push(key.as_str(), &slot)?;
        }
        let run = out.finish()?.map(Arc::new);
        manifest.runs = run.iter().map(|run| run.facts).collect();
        self.store.set_manifest(&manifest)?;
        let mut state = self.write();
        state.runs = run.into_iter().collect();
        state.manifest = manifest;
        Ok(())
    }

    /// Everything that is on disk.
    pub(crate) fn whole(&self) -> Result<Whole, IndexError> {
        let (runs, head) = {
            let state = self.read();
            (state.runs.clone(), state.manifest.head())
        };
        Ok(Whole { merge: self.merge(&runs)?, head })
    }

    /// Writes everything out, and makes it outlast a power cut.
    pub(crate) fn finish(&self, head: Head) -> Result<(), IndexError> {
        self.write_out()?;
        self.freeze(head);
        self.write_out()?;
        self.store.sync()
    }

    fn begin_run(&self, manifest: &mut Manifest, keys: u64) -> Result<RunWriter, IndexError> {
        let id = manifest.next_run;
        manifest.next_run = id.saturating_add(1);
        RunWriter::create(Arc::clone(&self.store), manifest.index, id, keys)
    }

    fn merge(&self, runs: &[Arc<Run>]) -> Result<Merge<'static>, IndexError> {
        let rows = |run: &Arc<Run>| -> Result<Box<dyn Source>, IndexError> {
            Ok(Box::new(RunRows::new(Arc::clone(&self.store), Arc::clone(run), None, None)?))
        };
        Ok(Merge::new(runs.iter().map(rows).collect::<Result<_, _>>()?))
    }

    fn put_in_place(&self, parts: &[u64], merged: Option<Arc<Run>>) -> Result<(), IndexError> {
        let mut manifest = self.read().manifest.clone();
        let is_part = |id: u64| parts.contains(&id);
        let Some(place) = manifest.runs.iter().position(|run| is_part(run.id)) else { return Ok(()) };
        manifest.runs.retain(|run| !is_part(run.id));
        manifest.runs.splice(place..place, merged.iter().map(|run| run.facts));
        self.store.set_manifest(&manifest)?;
        let mut state = self.write();
        let retired: Vec<_> = state.runs.extract_if(.., |run| is_part(run.facts.id)).collect();
        state.retired.extend(retired);
        state.runs.splice(place..place, merged);
        state.manifest = manifest;
        Ok(())
    }
}

impl Whole {
    /// The next entry that exists.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, IndexError> {
        while let Some(row) = self.merge.next()? {
            if row.slot.value.is_some() {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}
