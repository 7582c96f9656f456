//! What AWS answers, written from its public API documentation:
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/>,
//! <https://docs.aws.amazon.com/STS/latest/APIReference/>,
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/>.

use serde_json::{Value, json};

use super::{Answer, Reply, Request};

/// What is asked for, such as `secretsmanager.GetSecretValue`, `AmazonSSM.GetParameter` or `sts.AssumeRole`.
pub fn operation(request: &Request) -> String {
    match (request.header("x-amz-target"), request.form("Action")) {
        (Some(target), _) => target.to_owned(),
        (None, Some(action)) => format!("sts.{action}"),
        (None, None) => String::new(),
    }
}

/// The session token of the credentials that signed a request, if they are temporary.
pub fn session_token(request: &Request) -> Option<&str> {
    request.header("x-amz-security-token")
}

/// The id of the access key and the region for which a request was signed.
pub fn signed_as(request: &Request) -> Option<(&str, &str)> {
    let (_, scope) = request.header("authorization")?.split_once("Credential=")?;
    let mut parts = scope.split('/');
    let (id, _date) = (parts.next()?, parts.next()?);
    Some((id, parts.next()?))
}

/// `GetSecretValue`: a text.
pub fn secret(version: &str, text: &str) -> Reply {
    ok(&json!({
        "ARN": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:a-AbCdEf",
        "Name": "a",
        "VersionId": version,
        "VersionStages": ["AWSCURRENT"],
        "SecretString": text,
        "CreatedDate": 1_800_000_000.5,
    }))
}

/// `DescribeSecret`.
pub fn described() -> Reply {
    ok(&json!({
        "ARN": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:a-AbCdEf",
        "Name": "a",
    }))
}

/// `ListSecretVersionIds`: ids with their labels, made in this order, and the token of the next page.
pub fn versions(versions: &[(&str, &[&str])], next: Option<&str>) -> Reply {
    let listed: Vec<_> = versions
        .iter()
        .zip(1_800_000_000_u64..)
        .map(|((id, labels), at)| json!({ "VersionId": id, "VersionStages": labels, "CreatedDate": at }))
        .collect();
    ok(&json!({ "Name": "a", "Versions": listed, "NextToken": next }))
}

/// `GetParameter`.
pub fn parameter(version: u64, text: &str) -> Reply {
    ok(&json!({ "Parameter": {
        "Name": "/a",
        "Type": "SecureString",
        "Value": text,
        "Version": version,
        "LastModifiedDate": 1_800_000_000.5,
    } }))
}

/// An error of the services that speak JSON.
pub fn failure(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, json!({ "__type": code, "message": message }).to_string())
}

/// `AssumeRole`: credentials whose access key id and session token are these.
pub fn assumed(access_key_id: &str, session_token: &str, expiration: &str) -> Reply {
    let credentials = credentials(access_key_id, session_token, expiration);
    let user = "<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn>\
                <AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser>";
    token_service("AssumeRole", &format!("{credentials}{user}"))
}

/// `GetSessionToken`.
pub fn session(access_key_id: &str, session_token: &str, expiration: &str) -> Reply {
    token_service("GetSessionToken", &credentials(access_key_id, session_token, expiration))
}

/// `GetCallerIdentity`.
pub fn caller(arn: &str, account: &str) -> Reply {
    let identity = format!("<Arn>{arn}</Arn><UserId>AIDA</UserId><Account>{account}</Account>");
    token_service("GetCallerIdentity", &identity)
}

/// An error of the Security Token Service.
pub fn token_failure(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    );
    Answer::new(status, "text/xml", body)
}

fn credentials(access_key_id: &str, session_token: &str, expiration: &str) -> String {
    format!(
        "<Credentials><AccessKeyId>{access_key_id}</AccessKeyId><SecretAccessKey>canary-of-{access_key_id}\
         </SecretAccessKey><SessionToken>{session_token}</SessionToken><Expiration>{expiration}</Expiration></Credentials>"
    )
}

fn token_service(action: &str, result: &str) -> Reply {
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>{result}\
         </{action}Result></{action}Response>"
    );
    Reply::Answer(Answer::new(200, "text/xml", body))
}

fn ok(body: &Value) -> Reply {
    Reply::Answer(Answer::json(200, body.to_string()))
}
