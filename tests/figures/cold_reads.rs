//! Single-flight, measured from outside: ten thousand concurrent reads of one cold secret are one call to the back end.
//!
//! The back end is a scripted stand-in for AWS Secrets Manager that counts what reaches it: a real one cannot be asked how
//! often it was called.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use leasehold_proto::v1::IssueLeaseRequest;
use leasehold_tests::{
    daemon::Daemon,
    load::{Call, Connection},
    site::{Plan, SECRET, Site, WORKLOAD},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::figure::{Report, Target};

const READS: usize = 10_000;
const CONNECTIONS: usize = 20;

pub(crate) async fn upstream_calls(report: &mut Report) {
    let (address, calls) = counting_back_end().await;
    let plan = Plan {
        more: format!(
            "[[provider]]\nname = \"aws\"\nkind = \"aws\"\nregion = \"eu-central-1\"\n\
             endpoint_url = \"http://{address}\"\naccess_key_id = \"AKIAIOSFODNN7EXAMPLE\"\n\
             secret_access_key_file = \"aws-secret\"\n\n\
             [[secret]]\npath = \"{SECRET}\"\nprovider = \"aws\"\nref = \"payments-db\"\n"
        ),
        ..Plan::default()
    };
    let site = Site::new(plan);
    site.write("aws-secret", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let broker = Daemon::start(&site).await;
    let tls = site.tls(Some(&site.identity(WORKLOAD)));
    let call = Call::new(
        "leasehold.v1.LeaseService/IssueLease",
        &IssueLeaseRequest { secret: SECRET.to_owned(), ..IssueLeaseRequest::default() },
    );
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(site.address, tls.clone()).await.unwrap());
    }
    let mut reads = JoinSet::new();
    for n in 0..READS {
        let (mut connection, call) = (connections[n % CONNECTIONS].clone(), call.clone());
        reads.spawn(async move { connection.call(&call).await.is_ok() });
    }
    let answered = reads.join_all().await.into_iter().filter(|ok| *ok).count();
    Report::note(&format!("{answered} of {READS} reads were answered"));
    assert_eq!(answered, READS, "not every read was answered:\n{}", broker.log());
    report.figure("cold_reads_upstream_calls", calls.load(SeqCst) as f64, "calls", Target::Exactly(1.0));
    broker.stop().await;
}

/// Answers every request as Secrets Manager answers `GetSecretValue`, and counts them.
async fn counting_back_end() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let calls = Arc::new(AtomicU64::new(0));
    let count = calls.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, count.clone()));
        }
    });
    (address, calls)
}

async fn answer(stream: TcpStream, calls: Arc<AtomicU64>) -> std::io::Result<()> {
    // https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
    const BODY: &str = r#"{"ARN":"arn:aws:secretsmanager:eu-central-1:123456789012:secret:payments-db-a1b2c3","Name":"payments-db","VersionId":"9c5c1a52-4d6d-4f0c-8f0e-3a1f2b4c5d6e","SecretString":"a-password-of-32-characters-long","VersionStages":["AWSCURRENT"],"CreatedDate":1.7E9}"#;
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut request = vec![0; length];
        stream.read_exact(&mut request).await?;
        calls.fetch_add(1, SeqCst);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
            BODY.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(BODY.as_bytes()).await?;
        stream.flush().await?;
    }
}
