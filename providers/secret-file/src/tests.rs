use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use rustix::fs::{CWD, FileType};

use super::*;

fn put(path: &Path, content: &str, mode: u32) {
    let _ = fs::remove_file(path);
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_others_can_read_is_refused_unless_that_is_how_it_comes() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    for (mode, readers, good) in [
        (0o600, Readers::Group, true),
        (0o440, Readers::Group, true),
        (0o644, Readers::Group, false),
        (0o620, Readers::Group, false),
        (0o644, Readers::Anybody, true),
        (0o666, Readers::Anybody, false),
    ] {
        put(&path, " s.canary\n", mode);
        match SecretFile::read(&path, readers) {
            Ok(file) => {
                assert!(good && file.word() == Ok("s.canary"), "{mode:o}");
                assert!(!format!("{file:?}").contains("canary"));
                assert_eq!(Stamp::judged(&path, readers), Ok(file.stamp()));
            }
            Err(fault) => {
                assert!(!good && !fault.to_string().contains("canary"), "{mode:o}: {fault}");
                assert_eq!(Stamp::judged(&path, readers), Err(fault));
            }
        }
    }
}

#[test]
fn a_word_and_a_line_are_one() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("password");
    for (content, word, line) in [
        ("canary", Some("canary"), Some("canary")),
        ("canary\r\n", Some("canary"), Some("canary")),
        ("\n canary\n", Some("canary"), None),
        ("canary pass\n", None, Some("canary pass")),
        ("canary\nmore", None, None),
        ("\n", None, None),
        ("", None, None),
    ] {
        put(&path, content, 0o600);
        let file = SecretFile::read(&path, Readers::Group).unwrap();
        assert_eq!((file.word().ok(), file.line().ok()), (word, line), "{content:?}");
        for fault in [file.word().err(), file.line().err()].into_iter().flatten() {
            assert!(!fault.to_string().contains("canary"), "{fault}");
        }
    }
    fs::write(&path, [0xff]).unwrap();
    let file = SecretFile::read(&path, Readers::Group).unwrap();
    assert_eq!(file.word(), Err(SecretFileFault::NoText(path)));
}

#[test]
fn another_content_has_another_stamp() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    put(&path, "one", 0o600);
    let first = Stamp::of(&path);
    assert_eq!(first, Stamp::of(&path));
    put(&home.path().join("next"), "two", 0o600);
    fs::rename(home.path().join("next"), &path).unwrap();
    assert_ne!(first, Stamp::of(&path));
    assert_eq!(Stamp::of(&home.path().join("none")), None);
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let pipe = home.path().join("pipe");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let refused = |path: &Path| SecretFile::read(path, Readers::Group).unwrap_err();
    assert_eq!(refused(&pipe), SecretFileFault::NoFile(pipe));
    let folder = home.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(refused(&folder), SecretFileFault::NoFile(folder));
    let large = home.path().join("large");
    put(&large, &"x".repeat(64 * 1024 + 1), 0o600);
    assert_eq!(refused(&large), SecretFileFault::NoFile(large.clone()));
    put(&large, &"x".repeat(64 * 1024), 0o600);
    assert_eq!(SecretFile::read(&large, Readers::Group).unwrap().bytes().len(), 64 * 1024);
    let none = home.path().join("none");
    assert_eq!(refused(&none), SecretFileFault::Unreadable(none, std::io::ErrorKind::NotFound));
}

#[test]
fn a_file_that_says_it_is_empty_is_not_read_without_end() {
    // The system says no length of what it makes up as it is read.
    let mut command = Command::new("sleep");
    let mut child = command.arg("60").env_clear().env("X", "x".repeat(90_000)).spawn().unwrap();
    let path = PathBuf::from(format!("/proc/{}/environ", child.id()));
    let read = SecretFile::read(&path, Readers::Group);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(read.unwrap_err(), SecretFileFault::NoFile(path));
}
