//! The journal's end: cut off, torn by a write that a crash has stopped, or with a flipped bit in it.

use std::fs::{self, OpenOptions};

use leasehold_audit::Head;
use leasehold_core::record::Kind;

use crate::{
    acknowledged::verified,
    seed,
    state::{End, Patient},
};

/// What is done, the last record after that, and how.
type Cut<'a> = (&'static str, u64, &'a dyn Fn(&Patient));

#[tokio::test]
async fn a_cut_end_is_found_by_whoever_knows_a_later_record() {
    let mut patient = Patient::new(&mut seed::from_env()).await;
    patient.live(2, End::InOrder).await;
    patient.save("whole");
    let head = verified(&patient.journal(), Head::START).head;
    let known = head.to_string();
    let last = patient.last();
    assert_eq!(patient.verify(&["--known", &known]).0, Some(0));

    let last_segment = patient.segments()[last].clone();
    let in_it = patient.lines(last).len() - 1;
    assert!(in_it > 5, "{in_it} records in the last segment");
    let cuts: [Cut<'_>; 4] = [
        ("the last record is made zeros", head.seq - 1, &|patient| {
            patient.edit(last, |lines| lines.truncate(in_it));
        }),
        ("the file is cut after a record", head.seq - 5, &|patient| {
            let at = patient.line(last, in_it - 4).offset;
            OpenOptions::new().write(true).open(&last_segment).unwrap().set_len(at).unwrap();
        }),
        ("the last segment is removed", head.seq - in_it as u64, &|_| {
            fs::remove_file(&last_segment).unwrap()
        }),
        ("the journal is removed", 0, &|patient| fs::remove_dir_all(patient.journal()).unwrap()),
    ];
    for (what, ends_at, cut) in cuts {
        cut(&patient);
        if ends_at > 0 {
            let (code, text) = patient.verify(&[]);
            assert_eq!(code, Some(0), "{what}: by themselves the files do not tell: {text}");
            let (code, text) = patient.verify(&["--known", &known]);
            assert_eq!(code, Some(5), "{what}: {text}");
            let missing = format!("the records up to {} are missing", head.seq);
            assert!(
                text.contains(&format!("record {}", ends_at + 1)) && text.contains(&missing),
                "{what}: {text}"
            );
        } else {
            let (code, text) = patient.verify(&[]);
            assert!(code == Some(1) && text.contains("there is no journal"), "{what}: {code:?} {text}");
            fs::create_dir(patient.journal()).unwrap();
        }
        let log = patient.refuses().await;
        let said =
            format!("the journal ends at record {ends_at}, but the index in {}", patient.index().display());
        assert!(log.contains(&said) && log.contains(&format!("knows record {}", head.seq)), "{what}:\n{log}");
        assert!(log.contains("Put the journal's missing end back from a copy"), "{what}:\n{log}");
        patient.put_back("whole", "");
    }

    // In the middle of a record: whoever knows a later one knows that this is no torn write.
    let at = patient.line(last, in_it);
    OpenOptions::new().write(true).open(&last_segment).unwrap().set_len(at.offset + 100).unwrap();
    let place = format!("record {} in {} at byte {}", at.seq, last_segment.display(), at.offset);
    let log = patient.refuses().await;
    assert!(log.contains(&format!("{place} is damaged: the line is not complete")), "{log}");
    assert_eq!(patient.verify(&["--known", &known]).0, Some(5));
    patient.put_back("whole", "");
    patient.serves().await;
}

#[tokio::test]
async fn a_torn_write_is_put_aside_and_nothing_acknowledged_with_it() {
    let mut patient = Patient::new(&mut seed::from_env()).await;
    patient.live(1, End::Killed).await;
    patient.save("killed");
    let last = patient.last();
    let segment = patient.segments()[last].clone();
    let lines = patient.lines(last);
    let end: u64 = patient.line(last, lines.len()).offset;
    let next = patient.line(last, lines.len()).seq;
    // A group of two records as the broker would have written it next, and what a crash may leave of it.
    let group = lines[lines.len() - 2..].concat();
    let torn: [(&str, Vec<u8>); 4] = [
        ("cut in the first line", group[..100].to_vec()),
        ("one byte", group[..1].to_vec()),
        ("the beginning is missing", [&[0; 300], &group[300..]].concat()),
        ("a piece in the middle is missing", [&group[..200], &[0; 100], &group[300..]].concat()),
    ];
    for (what, bytes) in torn {
        let mut file = fs::read(&segment).unwrap();
        file[end as usize..end as usize + bytes.len()].copy_from_slice(&bytes);
        fs::write(&segment, &file).unwrap();
        let (code, text) = patient.verify(&[]);
        assert!(
            code == Some(0) && text.contains("cut short by a crash and never acknowledged"),
            "{what}: {text}"
        );

        let log = patient.serves().await;
        assert!(
            log.contains(&format!("{} bytes of an unfinished write in {}", bytes.len(), segment.display())),
            "{what}:\n{log}"
        );
        let saved = segment.with_extension(format!("{end}.0.torn"));
        assert_eq!(fs::read(saved).unwrap(), bytes, "{what}: it is kept as it was");
        verified(&patient.journal(), Head::START);
        let mut entries = leasehold_audit::read(&patient.journal(), next).unwrap();
        assert!(
            entries.any(|entry| entry.unwrap().record.kind == Kind::JournalRecovered),
            "{what}: no record of it"
        );
        let first = String::from_utf8(patient.lines(last)[lines.len()].clone()).unwrap();
        assert!(first.starts_with(&format!("{{\"seq\":{next},")), "{what}: {first}");
        patient.put_back("killed", "");
    }
}

#[tokio::test]
async fn no_flipped_bit_in_the_last_record_passes_for_a_torn_write() {
    let mut seed = seed::from_env();
    let mut patient = Patient::new(&mut seed).await;
    patient.live(1, End::Killed).await;
    let last = patient.last();
    let segment = patient.segments()[last].clone();
    let whole = fs::read(&segment).unwrap();
    let record = patient.lines(last).len() - 1;
    let at = patient.line(last, record);
    let (start, length) = (at.offset as usize, patient.lines(last)[record].len());
    let mut places: Vec<usize> = vec![0, 1, 7, length - 2, length - 1];
    places.extend((0..20).map(|_| seed.within(0..length as u64) as usize));
    for place in places {
        let mut bytes = whole.clone();
        bytes[start + place] ^= 1 << seed.within(0..8);
        if bytes[start + place] == 0 {
            continue;
        }
        fs::write(&segment, &bytes).unwrap();
        let (code, text) = patient.verify(&[]);
        assert_eq!(code, Some(5), "byte {place} of {length}: {text}");
        assert!(
            text.contains(&format!("record {} in {}", at.seq, segment.display())),
            "byte {place}: {text}"
        );
    }
    let log = patient.refuses().await;
    assert!(log.contains(&format!("record {} in {}", at.seq, segment.display())), "{log}");
    fs::write(&segment, &whole).unwrap();
    patient.serves().await;
}
