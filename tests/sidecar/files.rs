//! Files: read under load through rotations, on a full disk, behind a swapped directory, and after a kill.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use leasehold_tests::{
    daemon::{self, Daemon},
    rotations::{ask, rotate},
    seed::Seed,
    wait::until,
};
use serde_json::Value;

use crate::kit::{Sidecar, path, site};

/// A file that shows when it is torn: the value stands at both ends.
const FILES: &str = r#"
[[secret]]
name = "db"
path = "prod/payments/db"

[files]
dir = "run"

[[file]]
name = "app.json"
template_text = '''{"version": {{ leases.db.version | json }}, "password": {{ secrets.db.value | json }}, "again": {{ secrets.db.value | json }}}
'''

[[file]]
name = "password"
secret = "db"
"#;

/// Reads the file anew for every request, and answers with nothing else.
const SERVER: &str = r#"
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        with open(sys.argv[1], "rb") as file:
            body = file.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// The server; killed when it is dropped.
struct Server(Child, u16);

impl Server {
    fn start(file: &Path) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", SERVER])
            .arg(file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed for tests");
        let mut port = String::new();
        let mut out = child.stdout.take().unwrap();
        let mut byte = [0];
        while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            port.push(char::from(byte[0]));
        }
        Self(child, port.parse().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One request on a kept connection; the version and the value.
fn request(stream: &mut TcpStream) -> Result<(String, String), String> {
    let failed = |error: std::io::Error| error.to_string();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").map_err(failed)?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).map_err(failed)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(head);
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = vec![0; length.trim().parse().unwrap()];
    stream.read_exact(&mut body).map_err(failed)?;
    let json: Value = serde_json::from_slice(&body).map_err(|error| format!("{error}: torn?"))?;
    let text = |name: &str| json[name].as_str().map(str::to_owned).ok_or("a member is missing");
    if json["password"] != json["again"] {
        return Err("the file is torn".to_owned());
    }
    Ok((text("version")?, text("password")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_reads_through_fifty_rotations_under_load_without_a_failed_request() {
    let site = site(&["db"], "10m");
    let broker = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", "the first").await;
    let mut sidecar = Sidecar::start(&site, FILES);
    let file = site.path("run/app.json");
    until("the file is there", async || file.exists()).await;

    let server = Server::start(&file);
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(Mutex::new(BTreeSet::<String>::new()));
    // Versions that the broker has retired: none of them may be served to a request that began later.
    let retired = Arc::new(Mutex::new(BTreeSet::<String>::new()));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stop, served, retired) = (Arc::clone(&stop), Arc::clone(&served), Arc::clone(&retired));
            let mut stream = TcpStream::connect(("127.0.0.1", server.1)).unwrap();
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let dead = retired.lock().unwrap().clone();
                    let (version, _) =
                        request(&mut stream).unwrap_or_else(|why| panic!("a request failed: {why}"));
                    assert!(
                        !dead.contains(&version),
                        "version {version} was retired before it was asked for"
                    );
                    served.lock().unwrap().insert(version);
                }
            })
        })
        .collect();

    let operator = daemon::operator(&site).await.operator();
    let now = || {
        let text = fs::read(&file).unwrap();
        let json: Value = serde_json::from_slice(&text).unwrap();
        json["version"].as_str().unwrap().to_owned()
    };
    let is_served = async || {
        let version = now();
        until("the version in the file is served", async || served.lock().unwrap().contains(&version)).await;
    };
    is_served().await;
    for _ in 0..50 {
        let before = now();
        // Only when nobody holds the old version any more is the rotation over: the sidecar has given it back.
        rotate(&operator, &path("db")).await;
        until("the new version is in the file", async || now() != before).await;
        retired.lock().unwrap().insert(before);
        is_served().await;
    }
    stop.store(true, Ordering::Relaxed);
    for thread in load {
        thread.join().unwrap();
    }
    assert_eq!(served.lock().unwrap().len(), 51);
    assert!(sidecar.stop().await.success());
    assert_eq!(fs::read_dir(site.path("run")).unwrap().count(), 4, "two files, the link and one generation");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_directory_gets_nothing_and_the_old_files_stay() {
    let site = site(&["db"], "10m");
    let broker = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", "before").await;
    let mut sidecar = Sidecar::start(&site, FILES);
    let (run, away, trap) = (site.path("run"), site.path("away"), site.path("trap"));
    until("the file is there", async || run.join("password").exists()).await;
    fs::rename(&run, &away).unwrap();
    fs::create_dir(&trap).unwrap();
    symlink(&trap, &run).unwrap();
    let operator = daemon::operator(&site).await.operator();
    ask(&operator, &path("db")).await;
    sidecar.says("is a symbolic link").await;
    assert_eq!(fs::read_dir(&trap).unwrap().count(), 0, "nothing went through the link");
    assert_eq!(fs::read_to_string(away.join("password")).unwrap(), "before");
    fs::remove_file(&run).unwrap();
    fs::rename(&away, &run).unwrap();
    until("the new value is there", async || {
        fs::read_to_string(run.join("password")).is_ok_and(|value| value != "before")
    })
    .await;
    assert!(sidecar.stop().await.success());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_others_can_read_is_refused_with_an_exit_code_of_its_own() {
    let site = site(&["db"], "10m");
    fs::create_dir(site.path("run")).unwrap();
    fs::set_permissions(site.path("run"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut sidecar = Sidecar::start(&site, FILES);
    assert_eq!(sidecar.ended().await.code(), Some(3), "{}", sidecar.log());
    assert!(sidecar.log().contains("is open to others (mode 755): `chmod 700 "), "{}", sidecar.log());
    let check = Sidecar::command(&site, "check-config").output().unwrap();
    assert_eq!(check.status.code(), Some(3), "{check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_publishing_it_leaves_the_old_files_or_the_new() {
    const FILES_OF_ONE: usize = 40;
    const ROUNDS: usize = 20;
    let mut seed = Seed::from_env("LEASEHOLD_SIDECAR_SEED");
    let site = site(&["db"], "10m");
    let broker = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", "the first").await;
    let mut more = "[[secret]]\nname = 'db'\npath = 'prod/payments/db'\n[files]\ndir = 'run'\n".to_owned();
    for n in 0..FILES_OF_ONE {
        more.push_str(&format!("[[file]]\nname = 'f{n}'\nsecret = 'db'\n"));
    }
    let run = site.path("run");
    let runs = |sidecar: &Sidecar| sidecar.log().matches("starting with").count();
    let mut kinds = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut sidecar = Sidecar::start(&site, &more);
        until("it has published", async || run.join("f0").exists() && runs(&sidecar) > round).await;
        let before = fs::read_to_string(run.join("f0")).unwrap();
        daemon::put(&site, "prod/payments/db", &format!("round {round}")).await;
        tokio::time::sleep(Duration::from_micros(seed.within(0..30_000))).await;
        sidecar.kill();
        let generation = fs::read_link(run.join("..data")).unwrap();
        let values: BTreeSet<_> =
            (0..FILES_OF_ONE).map(|n| fs::read_to_string(run.join(format!("f{n}"))).unwrap()).collect();
        assert_eq!(values.len(), 1, "in round {round} files of two generations stand beside each other");
        let leftovers = fs::read_dir(&run).unwrap().count() > FILES_OF_ONE + 2;
        kinds.insert((values.first() == Some(&before), leftovers));
        assert!(run.join(&generation).is_dir());
    }
    assert!(kinds.len() > 1, "the kills all came at the same point: {kinds:?}");
    let mut sidecar = Sidecar::start(&site, &more);
    until("what the crashes left is gone", async || {
        runs(&sidecar) > ROUNDS && fs::read_dir(&run).unwrap().count() == FILES_OF_ONE + 2
    })
    .await;
    assert!(sidecar.stop().await.success());
    broker.stop().await;
}

const INSIDE: &str = "LEASEHOLD_SIDECAR_NAMESPACE";
const TEST: &str = "files::a_full_disk_leaves_the_old_files_and_takes_the_new_when_there_is_room";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_the_old_files_and_takes_the_new_when_there_is_room() {
    if env::var_os(INSIDE).is_some() {
        return on_a_small_disk().await;
    }
    let unshare = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]).arg(program).args(arguments);
        command
    };
    let dir = tempfile::tempdir().unwrap();
    let mount = ["-t", "tmpfs", "tmpfs", dir.path().to_str().unwrap()];
    let possible = unshare("mount".as_ref(), &mount).output().is_ok_and(|output| output.status.success());
    if !possible {
        eprintln!("this system gives nobody a mount namespace: there is no full disk");
        return;
    }
    let this = env::current_exe().unwrap();
    let status = unshare(&this, &["--exact", TEST, "--nocapture"]).env(INSIDE, "1").status().unwrap();
    assert!(status.success(), "it failed in its own mount namespace");
}

async fn on_a_small_disk() {
    let site = site(&["db"], "10m");
    let run = crate::kit::folder(&site, "run");
    let mount = ["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs"];
    assert!(Command::new("mount").args(mount).arg(&run).status().unwrap().success());
    let broker = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", "before").await;
    let mut sidecar = Sidecar::start(&site, FILES);
    until("the file is there", async || run.join("password").exists()).await;
    // The generation that was before the first, if there was one, is gone by then.
    let ballast = run.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let operator = daemon::operator(&site).await.operator();
    ask(&operator, &path("db")).await;
    sidecar.says("there is no room for").await;
    assert_eq!(fs::read_to_string(run.join("password")).unwrap(), "before");
    assert!(serde_json::from_slice::<Value>(&fs::read(run.join("app.json")).unwrap()).is_ok());
    drop(file);
    fs::remove_file(&ballast).unwrap();
    until("the new value is there", async || {
        fs::read_to_string(run.join("password")).is_ok_and(|value| value != "before")
    })
    .await;
    sidecar.says("the secrets are published again").await;
    assert!(sidecar.stop().await.success());
    broker.stop().await;
}
