//! The index is deleted, damaged, from another day or from another history: the journal is the truth, and the state is the
//! same as before.

use std::{fs, path::PathBuf};

use crate::{
    seed,
    state::{End, Patient},
};

#[tokio::test]
async fn an_index_that_is_gone_or_doubtful_is_made_anew() {
    let mut seed = seed::from_env();
    for end in [End::InOrder, End::Killed] {
        let mut patient = Patient::new(&mut seed).await;
        patient.live(3, end).await;
        patient.save("whole");

        fs::remove_dir_all(patient.index()).unwrap();
        let log = patient.serves().await;
        assert!(log.contains("the index was made anew: there was none (from the whole journal)"), "{log}");
        patient.put_back("whole", "");

        fs::remove_file(patient.index().join("opened")).unwrap();
        let log = patient.serves().await;
        assert!(log.contains("the index was made anew: nothing says that it was closed in order"), "{log}");
        patient.put_back("whole", "");

        let note = fs::read_to_string(patient.index().join("opened")).unwrap();
        let boot = note.split('"').find(|word| word.len() == 36).expect("a boot id").to_owned();
        let before = note.replace(&boot, "00000000-0000-0000-0000-000000000000");
        fs::write(patient.index().join("opened"), before).unwrap();
        let log = patient.serves().await;
        let anew = log.contains("the index was made anew: the machine went down while it was open");
        assert_eq!(
            anew,
            matches!(end, End::Killed),
            "only what was closed in order outlasts a power cut:\n{log}"
        );
        patient.put_back("whole", "");

        // After a kill there is not yet much in it.
        let files = if let End::InOrder = end { files(patient.index()) } else { Vec::new() };
        for path in files {
            let bytes = fs::read(&path).unwrap();
            let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else { continue };
            let middle = last / 2;
            // Damage is found where somebody reads. In a run, leases lie before what is remembered of requests.
            let read = if path.extension().is_some_and(|end| end == "run") { last / 4 } else { middle };
            for (what, changed) in [("cut", bytes[..middle].to_vec()), ("flipped", flipped(&bytes, read))] {
                fs::write(&path, changed).unwrap();
                let log = patient.heals().await;
                let anew = log.contains("the index was made anew");
                // The broker's own files are sealed. In sled's there is room that nobody reads.
                assert!(
                    anew || path.ends_with("catalogue/db") || path.ends_with("opened"),
                    "{what} {path:?}: {log}"
                );
                patient.put_back("whole", "");
            }
        }
    }
}

#[tokio::test]
async fn an_index_from_another_day_is_brought_up_to_date() {
    let mut seed = seed::from_env();
    let mut patient = Patient::new(&mut seed).await;
    for (name, end) in [("monday", End::InOrder), ("tuesday", End::Killed), ("wednesday", End::InOrder)] {
        let segments = patient.segments().len() + 1;
        patient.live(segments, end).await;
        patient.save(name);
    }
    for (index, rebuilt) in [("monday", false), ("tuesday", false)] {
        patient.put_back(index, "index");
        let log = patient.serves().await;
        assert_eq!(log.contains("the index was made anew"), rebuilt, "{index}:\n{log}");
        patient.put_back("wednesday", "");
    }

    // The other way round, the index knows what the journal has lost.
    patient.put_back("tuesday", "journal");
    let log = patient.refuses().await;
    assert!(log.contains(&format!("but the index in {} knows record", patient.index().display())), "{log}");
    patient.put_back("wednesday", "");
    patient.serves().await;
}

#[tokio::test]
async fn an_index_of_another_history_is_made_anew() {
    let mut seed = seed::from_env();
    let mut patient = Patient::new(&mut seed).await;
    patient.live(1, End::InOrder).await;
    patient.save("fork");
    patient.live(2, End::InOrder).await;
    patient.save("other");
    patient.put_back("fork", "");
    // What was acknowledged in the other history is not known in this one.
    patient.forget(&mut seed);
    patient.live(3, End::InOrder).await;
    patient.put_back("other", "index");
    let log = patient.serves().await;
    assert!(log.contains("was made from another journal"), "{log}");
}

fn files(dir: PathBuf) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}
