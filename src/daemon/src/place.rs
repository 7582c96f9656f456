//! Where the state lies. A copy of it is other files: a broker that starts on one knows nothing of what happened since the
//! copy was made, so it starts on hold. A note in the state directory says which files the state was; it knows itself, too.
//!
//! What is copied below the file system (a disk's image, a snapshot of a volume that is rolled back) has the same files
//! and is not noticed on the same machine: whoever restores that starts with `--hold`.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// The place of one state, and whether it is the one that its note names.
#[derive(Debug)]
pub struct Place {
    state: PathBuf,
    found: Found,
}

/// What the note said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is none: the state is new, or of a broker that kept none.
    New,
    /// The state is where it was.
    Same,
    /// It is somewhere else; with what differs.
    Moved(&'static str),
}

/// The note.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// A digest of the machine's id, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    state: Spot,
    journal: Spot,
    note: Spot,
}

/// One file or folder, however it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Spot {
    inode: u64,
    /// When it was made, in nanoseconds of the Unix epoch, where the file system knows; numbers alone come again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born: Option<u64>,
}

const NOTE: &str = "place";
/// The note until it is whole.
const UNFINISHED: &str = "place.new";
const MACHINE_ID: &str = "/etc/machine-id";

impl Place {
    /// Looks where the state lies, whose journal is there already.
    ///
    /// # Errors
    /// When that cannot be looked at.
    pub fn look(state: &Path) -> io::Result<Self> {
        let found = Note::find(state, machine())?;
        Ok(Self { state: state.to_owned(), found })
    }

    /// What the note said.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Notes that the state lies here, once whatever follows from that is durable.
    ///
    /// # Errors
    /// When that cannot be written: the next start finds what this one found.
    pub fn settle(&self) -> io::Result<()> {
        if self.found == Found::Same { Ok(()) } else { Note::write(&self.state, machine()) }
    }
}

impl Note {
    fn find(state: &Path, machine: Option<String>) -> io::Result<Found> {
        let path = state.join(NOTE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::New),
            Err(error) => return Err(error),
        };
        let Ok(noted) = serde_json::from_slice::<Self>(&text) else {
            return Ok(Found::Moved("its note cannot be read"));
        };
        let here = Self {
            machine,
            state: Spot::of(&fs::metadata(state)?),
            journal: Spot::of(&fs::metadata(journal(state))?),
            note: Spot::of(&fs::metadata(&path)?),
        };
        Ok(if noted.state != here.state {
            Found::Moved("the state directory is another one")
        } else if noted.journal != here.journal {
            Found::Moved("the journal is another one")
        } else if noted.note != here.note {
            Found::Moved("its note is a copy")
        } else if noted.machine.is_some() && here.machine.is_some() && noted.machine != here.machine {
            Found::Moved("the machine is another one")
        } else {
            Found::Same
        })
    }

    fn write(state: &Path, machine: Option<String>) -> io::Result<()> {
        let unfinished = state.join(UNFINISHED);
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let note = Self {
            machine,
            state: Spot::of(&fs::metadata(state)?),
            journal: Spot::of(&fs::metadata(journal(state))?),
            note: Spot::of(&file.metadata()?),
        };
        file.write_all(&serde_json::to_vec(&note)?)?;
        file.sync_all()?;
        fs::rename(&unfinished, state.join(NOTE))?;
        File::open(state)?.sync_all()
    }
}

impl Spot {
    fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        Self { inode: metadata.ino(), born: born.and_then(|born| u64::try_from(born.as_nanos()).ok()) }
    }
}

fn journal(state: &Path) -> PathBuf {
    state.join("journal")
}

/// Which machine this is: not its id itself, which is not for others (machine-id(5)).
fn machine() -> Option<String> {
    let id = fs::read_to_string(MACHINE_ID).ok()?;
    let id = id.trim();
    let known = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    known.then(|| {
        let digest = digest::digest(&digest::SHA256, format!("leasehold place {id}").as_bytes());
        HEXLOWER.encode(digest.as_ref())
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn state() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        fs::create_dir_all(state.join("journal")).unwrap();
        fs::write(state.join("journal/1.log"), "a record").unwrap();
        (folder, state)
    }

    fn found(state: &Path) -> Found {
        Place::look(state).unwrap().found().clone()
    }

    #[test]
    fn a_state_that_stays_is_the_same() {
        let (folder, state) = state();
        let place = Place::look(&state).unwrap();
        assert_eq!(place.found(), &Found::New);
        place.settle().unwrap();
        assert_eq!(found(&state), Found::Same);
        fs::write(state.join("journal/2.log"), "more").unwrap();
        Place::look(&state).unwrap().settle().unwrap();
        assert_eq!(found(&state), Found::Same);
        // It may be called something else: it is the same all the same.
        let renamed = folder.path().join("renamed");
        fs::rename(&state, &renamed).unwrap();
        assert_eq!(found(&renamed), Found::Same);
    }

    #[test]
    fn a_copy_is_somewhere_else_until_that_is_settled() {
        let (folder, state) = state();
        Place::look(&state).unwrap().settle().unwrap();
        let backup = folder.path().join("backup");
        let copied = Command::new("cp").arg("-a").arg(&state).arg(&backup).status().unwrap();
        assert!(copied.success());
        assert_eq!(found(&backup), Found::Moved("the state directory is another one"));
        // Back in its old place, too.
        fs::remove_dir_all(&state).unwrap();
        assert!(Command::new("cp").arg("-a").arg(&backup).arg(&state).status().unwrap().success());
        assert!(matches!(found(&state), Found::Moved(_)));
        Place::look(&state).unwrap().settle().unwrap();
        assert_eq!(found(&state), Found::Same);
        assert!(matches!(found(&backup), Found::Moved(_)));
    }

    #[test]
    fn a_part_that_was_put_back_is_noticed() {
        let (folder, state) = state();
        Place::look(&state).unwrap().settle().unwrap();
        let saved = folder.path().join("journal");
        assert!(
            Command::new("cp").arg("-a").arg(state.join("journal")).arg(&saved).status().unwrap().success()
        );
        fs::remove_dir_all(state.join("journal")).unwrap();
        fs::rename(&saved, state.join("journal")).unwrap();
        assert_eq!(found(&state), Found::Moved("the journal is another one"));
        Place::look(&state).unwrap().settle().unwrap();
        let note = fs::read(state.join(NOTE)).unwrap();
        fs::remove_file(state.join(NOTE)).unwrap();
        fs::write(state.join("something"), "else").unwrap();
        fs::write(state.join(NOTE), note).unwrap();
        assert_eq!(found(&state), Found::Moved("its note is a copy"));
        fs::write(state.join(NOTE), "{").unwrap();
        assert_eq!(found(&state), Found::Moved("its note cannot be read"));
    }

    #[test]
    fn the_same_disk_in_another_machine_is_noticed_where_machines_have_ids() {
        let (_folder, state) = state();
        let one = || Some("one".to_owned());
        Note::write(&state, one()).unwrap();
        assert_eq!(Note::find(&state, one()).unwrap(), Found::Same);
        assert_eq!(Note::find(&state, None).unwrap(), Found::Same);
        let other = Note::find(&state, Some("two".to_owned())).unwrap();
        assert_eq!(other, Found::Moved("the machine is another one"));
    }

    #[test]
    fn the_note_is_for_the_broker_alone() {
        let (_folder, state) = state();
        fs::write(state.join(UNFINISHED), "of a crash").unwrap();
        Place::look(&state).unwrap().settle().unwrap();
        assert_eq!(fs::metadata(state.join(NOTE)).unwrap().mode() & 0o777, 0o600);
        assert!(!state.join(UNFINISHED).exists());
    }
}
