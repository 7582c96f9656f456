//! AWS in trouble: moto behind a proxy that cuts and stalls, moto with IAM on, and scripts of what moto never says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use leasehold_core::SecretValue;
use leasehold_provider_aws::{AssumedRole, AwsConfig, AwsProvider};
use leasehold_provider_conformance::{
    Against, Scene, Trouble, Unplayed,
    peers::{Moto, or_skip},
    proxy::{Fault, FaultProxy, Injection},
    scripted::{Answer, Reply, Request, ScriptedServer, aws},
};
use serde_json::json;

use crate::{
    clock::clock,
    setup::{self, allow, config, provider, user},
    suite::client,
};

const NAME: &str = "scenes/one";
const VALUE: &str = "canary-0f3a-in-trouble";
const VERSION: &str = "11111111-2222-4333-8444-555555555555";
const SCRIPTED: Against = Against::Scripted;
const MOTO: Against = Against::Peer(Moto::VERSION);

pub(crate) async fn play(trouble: Trouble) -> Result<Scene, Unplayed> {
    let failing = |status, code| Reply::Answer(aws::failure(status, code, "because"));
    match trouble {
        Trouble::Denied => denied().await,
        Trouble::Throttled => {
            let throttled =
                aws::failure(400, "ThrottlingException", "Rate exceeded").header("retry-after", "30");
            let scene = scripted(move |_| Reply::Answer(throttled.clone())).await?;
            Ok(scene.hinting(Duration::from_secs(30)))
        }
        Trouble::InternalError => scripted(move |_| failing(500, "InternalServiceError")).await,
        Trouble::Unavailable => {
            scripted(|_| Reply::Answer(Answer::new(503, "text/html", "<html>busy</html>"))).await
        }
        Trouble::ClockSkew => {
            let said = "Signature expired: 20261122T100000Z is now earlier than 20261122T110000Z (20261122T110500Z - 5 min.)";
            scripted(move |_| Reply::Answer(aws::failure(400, "InvalidSignatureException", said))).await
        }
        Trouble::CredentialExpiry => ending_session().await,
        Trouble::CutBeforeAnswer => proxied(Some(Fault::LoseAnswer)).await,
        Trouble::CutInAnswer => proxied(Some(Fault::CutInBody)).await,
        Trouble::Silence => proxied(Some(Fault::Stall)).await,
        Trouble::StalledBody => proxied(Some(Fault::StallInBody)).await,
        Trouble::CutAfterAnswer => proxied(None).await,
        Trouble::LostWriteAnswer => lost_write().await,
        Trouble::Deleted => deleted().await,
        Trouble::Disabled => Err(Unplayed::Impossible("AWS disables no version")),
    }
}

fn value() -> SecretValue {
    SecretValue::plain(VALUE.to_owned())
}

async fn moto() -> Result<Moto, Unplayed> {
    let started = or_skip(Moto::start().await).map_err(|error| Unplayed::Failed(error.to_string()))?;
    let moto = started.ok_or(Unplayed::Excused("moto is not here"))?;
    let made = client(moto.url()).create_secret().name(NAME).secret_string(VALUE).send().await;
    made.map_err(|error| Unplayed::Failed(format!("{error:?}")))?;
    Ok(moto)
}

/// A server that misbehaves until the turn.
async fn scripted(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Result<Scene, Unplayed> {
    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&over);
    let server = ScriptedServer::start(move |request, _| match seen.load(Ordering::SeqCst) {
        true => aws::secret(VERSION, VALUE),
        false => reply(request),
    });
    let server = server.await.map_err(|error| Unplayed::Failed(error.to_string()))?;
    let (provider, home) = provider(&server.url(), |_| {});
    let scene = Scene::new(provider, NAME, value(), SCRIPTED).keeping(server).keeping(home);
    Ok(scene.turning(move || {
        over.store(true, Ordering::SeqCst);
        async { Ok(()) }
    }))
}

/// moto behind a proxy that does this to every request until the turn; without a fault, the turn cuts connections.
async fn proxied(fault: Option<Fault>) -> Result<Scene, Unplayed> {
    let moto = moto().await?;
    let proxy = before(&moto).await?;
    if let Some(fault) = fault {
        proxy.inject(Injection::of(fault));
    }
    let (provider, home) = provider(&proxy.url(), |config| {
        config.attempt_timeout = Duration::from_millis(500);
        config.timeout = Duration::from_secs(4);
    });
    let turned = Arc::clone(&proxy);
    let scene = Scene::new(provider, NAME, value(), MOTO).keeping((moto, proxy, home));
    Ok(scene.turning(move || {
        match fault {
            Some(_) => turned.heal(),
            None => turned.cut_connections(),
        }
        async { Ok(()) }
    }))
}

async fn before(moto: &Moto) -> Result<Arc<FaultProxy>, Unplayed> {
    let address = moto.url().trim_start_matches("http://").parse();
    let address = address.map_err(|_| Unplayed::Failed(moto.url().to_owned()))?;
    let proxy = FaultProxy::start(address).await.map_err(|error| Unplayed::Failed(error.to_string()))?;
    Ok(Arc::new(proxy))
}

async fn lost_write() -> Result<Scene, Unplayed> {
    let moto = moto().await?;
    let proxy = before(&moto).await?;
    proxy.inject(Injection::of(Fault::LoseAnswer).on("PutSecretValue").times(1));
    let (provider, home) = provider(&proxy.url(), |config| config.max_attempts = 1);
    Ok(Scene::new(provider, NAME, value(), MOTO).keeping((moto, proxy, home)))
}

async fn deleted() -> Result<Scene, Unplayed> {
    let moto = moto().await?;
    let client = client(moto.url());
    let gone = client.delete_secret().secret_id(NAME).send().await;
    gone.map_err(|error| Unplayed::Failed(format!("{error:?}")))?;
    let (provider, home) = provider(moto.url(), |_| {});
    let scene = Scene::new(provider, NAME, value(), MOTO).keeping((moto, home));
    Ok(scene.turning(move || {
        let restoring = client.restore_secret().secret_id(NAME).send();
        async { restoring.await.map(drop).map_err(|error| format!("{error:?}")) }
    }))
}

async fn denied() -> Result<Scene, Unplayed> {
    let moto = Arc::new(moto().await?);
    let key = user(&moto, "broker").await?;
    moto.enforce_iam().await?;
    let (config, home) = config(moto.url(), &key);
    let provider =
        AwsProvider::new(config, clock()).map_err(|faults| Unplayed::Failed(format!("{faults:?}")))?;
    let scene = Scene::new(provider, NAME, value(), MOTO).keeping((Arc::clone(&moto), home));
    Ok(scene.turning(move || {
        let moto = Arc::clone(&moto);
        async move {
            let policy = json!({ "Version": "2012-10-17", "Statement": [
                { "Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*" },
            ] });
            moto.waive_iam().await?;
            allow(&moto, "broker", &policy).await?;
            moto.enforce_iam().await
        }
    }))
}

/// The session of the broker's role is ended before its time; another one can be had.
async fn ending_session() -> Result<Scene, Unplayed> {
    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&over);
    let server = ScriptedServer::start(move |request, _| {
        let over = seen.load(Ordering::SeqCst);
        match (&*aws::operation(request), aws::session_token(request)) {
            ("sts.AssumeRole", None) => {
                aws::assumed("ASIABROKER", if over { "second" } else { "first" }, "2099-01-01T00:00:00Z")
            }
            (_, Some("first")) if !over => aws::secret(VERSION, VALUE),
            (_, Some("second")) => aws::secret(VERSION, VALUE),
            _ => {
                let said = "The security token included in the request is expired";
                Reply::Answer(aws::failure(400, "ExpiredTokenException", said))
            }
        }
    });
    let server = server.await.map_err(|error| Unplayed::Failed(error.to_string()))?;
    let (provider, home) = provider(&server.url(), as_role);
    let scene = Scene::new(provider, NAME, value(), SCRIPTED).keeping(server).keeping(home);
    Ok(scene.turning(move || {
        over.store(true, Ordering::SeqCst);
        async { Ok(()) }
    }))
}

/// The broker takes on a role.
pub(crate) fn as_role(config: &mut AwsConfig) {
    let arn = format!("arn:aws:iam::{}:role/broker", setup::ACCOUNT);
    config.assume_role = Some(AssumedRole { arn, ..AssumedRole::default() });
}
