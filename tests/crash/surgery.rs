//! The journal of a broker that has ended is changed behind its back: `leasehold audit verify` names the first bad record,
//! and a broker that reads it refuses to start, names it too, and touches nothing.

use std::{fs, path::PathBuf};

use crate::{
    seed,
    state::{End, Patient},
};

/// One line of a segment: the record, or the header when `line` is 0.
pub(crate) struct Line {
    pub(crate) seq: u64,
    pub(crate) segment: PathBuf,
    pub(crate) offset: u64,
}

impl Patient {
    /// A segment's lines, each with its newline.
    pub(crate) fn lines(&self, segment: usize) -> Vec<Vec<u8>> {
        let bytes = fs::read(&self.segments()[segment]).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes[..end].split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    pub(crate) fn line(&self, segment: usize, line: usize) -> Line {
        let path = self.segments()[segment].clone();
        let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let offset = self.lines(segment)[..line].iter().map(Vec::len).sum::<usize>() as u64;
        Line { seq: if line == 0 { first } else { first + line as u64 - 1 }, segment: path, offset }
    }

    /// Changes a segment's lines; the file keeps its length.
    pub(crate) fn edit(&self, segment: usize, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let (path, mut lines) = (&self.segments()[segment], self.lines(segment));
        change(&mut lines);
        let mut bytes = lines.concat();
        bytes.resize(fs::metadata(path).unwrap().len() as usize, 0);
        fs::write(path, bytes).unwrap();
    }

    /// The damage at this line is found by the command, and by a broker that reads the whole journal.
    async fn is_found(&self, what: &str, at: &Line, fault: &str) {
        let Line { seq, segment, offset } = at;
        let place = format!("record {seq} in {} at byte {offset} is damaged: {fault}", segment.display());
        const DAMAGED: i32 = 5;
        let (code, text) = self.verify(&[]);
        assert_eq!(code, Some(DAMAGED), "{what}: {text}");
        assert!(text.contains(&place), "{what}: no `{place}` in\n{text}");
        fs::remove_dir_all(self.index()).unwrap();
        let log = self.refuses().await;
        assert!(log.contains(&place), "{what}: no `{place}` in\n{log}");
        assert!(log.contains("Restore the journal from a copy"), "{what}:\n{log}");
    }
}

#[tokio::test]
async fn a_changed_journal_is_found_and_the_first_bad_record_named() {
    let mut patient = Patient::new(&mut seed::from_env()).await;
    patient.live(4, End::InOrder).await;
    patient.save("whole");
    let last = patient.segments().len() - 1;
    assert_eq!(patient.verify(&[]).0, Some(0));

    for segment in [0, 1, last] {
        let line = patient.lines(segment).len() / 2;
        let (at, next) = (patient.line(segment, line), patient.line(segment, line + 1));
        let moved = format!("record {} is in its place", next.seq);

        patient.edit(segment, |lines| flip(&mut lines[line]));
        patient.is_found("a flipped bit", &at, "the line does not match its checksum").await;
        patient.put_back("whole", "");

        patient.edit(segment, |lines| drop(lines.remove(line)));
        patient.is_found("a removed record", &at, &moved).await;
        patient.put_back("whole", "");

        patient.edit(segment, |lines| lines.swap(line, line + 1));
        patient.is_found("swapped records", &at, &moved).await;
        patient.put_back("whole", "");

        patient.edit(segment, |lines| lines[line].fill(0));
        patient.is_found("a record made zeros", &at, "").await;
        patient.put_back("whole", "");

        patient.edit(segment, |lines| flip(&mut lines[0]));
        patient
            .is_found("a flipped bit in a header", &patient.line(segment, 0), "the segment's header")
            .await;
        patient.put_back("whole", "");
    }

    let segments = patient.segments();
    let (second, third) = (patient.line(1, 0), patient.line(2, 0));
    let end_of_first = patient.line(0, patient.lines(0).len()).offset;
    exchange(&segments[1], &segments[2]);
    patient.is_found("swapped segments", &second, "the segment's header does not fit its name").await;
    patient.put_back("whole", "");

    fs::remove_file(&segments[1]).unwrap();
    let missing = format!("the records up to {} are missing", third.seq - 1);
    let at = Line { seq: second.seq, segment: segments[0].clone(), offset: end_of_first };
    patient.is_found("a removed segment", &at, &missing).await;
    patient.put_back("whole", "");

    fs::copy(&segments[2], &segments[1]).unwrap();
    patient
        .is_found("a segment in another's place", &second, "the segment's header does not fit its name")
        .await;
    patient.put_back("whole", "");

    let log = patient.serves().await;
    assert!(log.contains("closed in order"), "{log}");
}

fn flip(line: &mut [u8]) {
    let middle = line.len() / 2;
    line[middle] ^= 1;
}

fn exchange(one: &PathBuf, other: &PathBuf) {
    let aside = one.with_extension("aside");
    fs::rename(one, &aside).unwrap();
    fs::rename(other, one).unwrap();
    fs::rename(&aside, other).unwrap();
}
