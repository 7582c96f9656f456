//! Snapshots, and what becomes of their files.

use std::{fs, future::poll_fn, path::Path, pin::pin, task::Poll};

use leasehold_config::Source;
use leasehold_core::{LeaseId, SecretValue, Timestamp};
use tokio::time::timeout;

use super::*;
use crate::{Config, snapshot, snapshot::Loan};

struct Scene {
    place: tempfile::TempDir,
    publisher: Publisher,
}

impl Scene {
    fn new(files: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let text = format!(
            "[broker]\naddresses = 'b'\nidentity = 'i'\n[[secret]]\nname = 'a'\npath = 'prod/a'\n\
             [[secret]]\nname = 'b'\npath = 'prod/b'\n[files]\ndir = 'run'\n{files}\n\
             [[file]]\nname = 'a.txt'\nsecret = 'a'\n[[file]]\nname = 'both'\n\
             template_text = '{{{{ secrets.a.value }}}}{{{{ secrets.b.value }}}}'\n"
        );
        let config = Config::parse(&Source::new(place.path().join("s.toml"), text)).unwrap();
        let publisher = Publisher::new(Arc::new(Edition::new(0, config).unwrap())).unwrap();
        Self { place, publisher }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.place.path().join("run")
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.dir().join(name)).ok()
    }

    /// Publishes; what is told as changed.
    async fn publish(&mut self, snapshot: &Arc<Snapshot>) -> Option<Vec<String>> {
        let published = self.publisher.publish(snapshot).await.unwrap()?;
        Some(published.changed.iter().map(ToString::to_string).collect())
    }
}

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

/// Secrets `(name, lease, value, standing)`, of `a` and `b` that are wanted.
fn held(secrets: &[(&str, u8, &str, snapshot::Standing)]) -> Arc<Snapshot> {
    let loan = |(_, lease, value, standing): &(&str, u8, &str, snapshot::Standing)| {
        let ends: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let value = SecretValue::plain((*value).to_owned());
        let lease = LeaseId::from_bits([*lease; 16]);
        Arc::new(Loan::kept("prod/a".parse().unwrap(), lease, None, ends, value).with_standing(*standing))
    };
    let secrets = secrets.iter().map(|secret| (name(secret.0), loan(secret))).collect();
    Arc::new(Snapshot { secrets, wanted: [name("a"), name("b")].into(), ..Snapshot::default() })
}

const FRESH: snapshot::Standing = snapshot::Standing::Fresh;

#[tokio::test]
async fn nothing_is_published_before_everything_is_held_and_then_all_at_once() {
    let mut scene = Scene::new("");
    assert_eq!(scene.publish(&held(&[("a", 1, "x", FRESH)])).await, None);
    assert_eq!(scene.read("a.txt"), None);
    assert!(!scene.publisher.has_written());
    let all = held(&[("a", 1, "x", FRESH), ("b", 2, "y", FRESH)]);
    assert_eq!(scene.publish(&all).await.unwrap(), ["a", "a.txt", "b", "both"]);
    assert_eq!((scene.read("a.txt").as_deref(), scene.read("both").as_deref()), (Some("x"), Some("xy")));
    assert_eq!(scene.publish(&all).await, None, "nobody is told twice");
    let rotated = held(&[("a", 1, "x", FRESH), ("b", 3, "z", FRESH)]);
    assert_eq!(scene.publish(&rotated).await.unwrap(), ["b", "both"]);
    assert_eq!(scene.read("both").as_deref(), Some("xz"));
    // The same value by another lease: nothing to do, and the older lease can go.
    let other_lease = held(&[("a", 9, "x", FRESH), ("b", 3, "z", FRESH)]);
    assert_eq!(scene.publish(&other_lease).await, Some(Vec::new()));
}

#[tokio::test]
async fn files_of_a_secret_whose_lease_has_ended_stay_or_go() {
    for (files, left) in [("", Some("x")), ("expired = 'remove'", None)] {
        let mut scene = Scene::new(files);
        let good = held(&[("a", 1, "x", FRESH), ("b", 2, "y", FRESH)]);
        scene.publish(&good).await.unwrap();
        let ended = held(&[("a", 1, "x", snapshot::Standing::Expired), ("b", 2, "y", FRESH)]);
        let told = scene.publish(&ended).await;
        assert_eq!(told.is_some(), left.is_none(), "{told:?}");
        assert_eq!(scene.read("a.txt").as_deref(), left);
        assert_eq!(scene.read("both").is_some(), left.is_some(), "a template that used it, too");
        // There is a lease again.
        scene.publish(&held(&[("a", 5, "n", FRESH), ("b", 2, "y", FRESH)])).await.unwrap();
        assert_eq!(scene.read("both").as_deref(), Some("ny"));
    }
}

#[tokio::test]
async fn an_end_while_files_are_written_removes_them_all_the_same() {
    let mut scene = Scene::new("remove_on_exit = true");
    let all = held(&[("a", 1, "x", FRESH), ("b", 2, "y", FRESH)]);
    let link = scene.dir().join("..data");
    {
        let mut publishing = pin!(scene.publisher.publish(&all));
        assert!(poll_fn(|context| Poll::Ready(publishing.as_mut().poll(context).is_pending())).await);
        let written = async {
            while !link.is_symlink() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(30), written).await.unwrap();
    }
    assert!(scene.publisher.has_written());
    scene.publisher.finish().await;
    let left: Vec<_> =
        fs::read_dir(link.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_directory_that_became_a_link_is_refused_until_it_is_one_again() {
    let mut scene = Scene::new("");
    scene.publish(&held(&[("a", 1, "x", FRESH), ("b", 2, "y", FRESH)])).await.unwrap();
    let (dir, away, trap) = (scene.dir(), scene.place.path().join("away"), scene.place.path().join("trap"));
    fs::rename(&dir, &away).unwrap();
    fs::create_dir(&trap).unwrap();
    std::os::unix::fs::symlink(&trap, &dir).unwrap();
    let next = held(&[("a", 3, "v2", FRESH), ("b", 2, "y", FRESH)]);
    let error = scene.publisher.publish(&next).await.unwrap_err().to_string();
    assert!(error.contains("is a symbolic link"), "{error}");
    assert_eq!(fs::read_dir(&trap).unwrap().count(), 0);
    assert_eq!(
        fs::read_to_string(away.join("a.txt")).unwrap(),
        "x",
        "what was published before is as it was"
    );
    fs::remove_file(&dir).unwrap();
    fs::rename(&away, &dir).unwrap();
    scene.publish(&next).await.unwrap();
    assert_eq!(scene.read("a.txt").as_deref(), Some("v2"));
}

#[tokio::test]
async fn trouble_is_over_when_what_was_published_is_back_in_its_place() {
    let mut scene = Scene::new("");
    let all = |generation| {
        let secrets = held(&[("a", 1, "x", FRESH), ("b", 2, "y", FRESH)]);
        Arc::new(Snapshot { generation, ..Snapshot::clone(&secrets) })
    };
    let (snapshots, receiver) = watch::channel(all(1));
    let (sender, _published) = mpsc::channel(1);
    let (standing, mut told) = watch::channel(Standing::default());
    let (dir, away) = (scene.dir(), scene.place.path().join("away"));
    let (_editions, edition) = watch::channel(Arc::clone(&scene.publisher.edition));
    let run = scene.publisher.run(receiver, edition, sender, &standing);
    let script = async {
        told.wait_for(|standing| standing.generation.is_some()).await.unwrap();
        fs::rename(&dir, &away).unwrap();
        std::os::unix::fs::symlink(&away, &dir).unwrap();
        // As after a renewal: nothing else is to be written.
        snapshots.send_replace(all(2));
        told.wait_for(|standing| standing.trouble.is_some()).await.unwrap();
        fs::remove_file(&dir).unwrap();
        fs::rename(&away, &dir).unwrap();
        timeout(Duration::from_secs(30), told.wait_for(|standing| standing.trouble.is_none())).await.is_ok()
    };
    assert!(tokio::select! { () = run => panic!("it ended"), is_over = script => is_over });
}

#[tokio::test]
async fn trouble_is_told_and_tried_again_and_who_is_busy_gets_all_news_as_one() {
    let mut scene = Scene::new("");
    let obstacle = scene.dir().join("a.txt");
    fs::write(&obstacle, "mine").unwrap();
    let (snapshots, receiver) = watch::channel(held(&[("a", 1, "x", FRESH), ("b", 2, "y", FRESH)]));
    let (sender, mut published) = mpsc::channel(1);
    let (standing, mut told) = watch::channel(Standing::default());
    let dir = scene.dir();
    let (_editions, edition) = watch::channel(Arc::clone(&scene.publisher.edition));
    let run = scene.publisher.run(receiver, edition, sender, &standing);
    let script = async {
        told.wait_for(|standing| standing.trouble.is_some()).await.unwrap();
        fs::remove_file(&obstacle).unwrap();
        told.wait_for(|standing| standing.trouble.is_none() && standing.generation.is_some()).await.unwrap();
        assert!(Path::new(&dir).join("both").exists());
        for (lease, value) in [(3, "v2"), (4, "v3"), (5, "v4")] {
            snapshots.send_replace(Arc::new(Snapshot {
                generation: lease.into(),
                ..Snapshot::clone(&held(&[("a", lease, value, FRESH), ("b", lease, value, FRESH)]))
            }));
            told.wait_for(|standing| standing.generation == Some(lease.into())).await.unwrap();
        }
        let mut news = Vec::new();
        while news.last().is_none_or(|last: &Published| last.snapshot.generation < 5) {
            news.push(published.recv().await.unwrap());
        }
        news
    };
    let news = tokio::select! { () = run => panic!("it ended"), news = script => news };
    assert!(news.len() < 4 && news[0].first, "{}", news.len());
    assert_eq!(fs::read_to_string(dir.join("both")).unwrap(), "v4v4");
}
