//! `[endpoint]`: who may ask for values on this machine, and where.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use leasehold_config::Section;

use super::{
    Secret,
    socket::{self, Socket},
};
use crate::name::Name;

/// Where values can be asked for, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The Unix socket.
    pub socket: Socket,
    /// The users who may ask beside the sidecar's own: names or numbers.
    pub allow: Vec<String>,
    /// How many connections there may be at once.
    pub connections: u32,
    /// How long one may take, with its request and its answer.
    pub time_limit: Duration,
    /// The AWS agent's protocol, when it is spoken.
    pub aws: Option<Aws>,
}

/// `[endpoint.aws]`: the protocol of the AWS Secrets Manager Agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aws {
    /// Where it is spoken beside the Unix socket; a loopback address.
    pub listen: Option<SocketAddr>,
    /// The file of the token that clients show.
    pub token_file: PathBuf,
    /// What clients call secrets beside names and paths.
    pub ids: Vec<(String, Name)>,
}

const CONNECTIONS: u32 = 32;
const TIME_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn read(section: Section<'_>, secrets: Option<&[Secret]>) -> Option<Endpoint> {
    let socket = socket::read(&section);
    let allow = section.take::<Vec<String>>("allow");
    if let (Some(found), Some(socket)) = (&allow, &socket)
        && !found.value.is_empty()
        && !socket.lets_group_in()
    {
        let help = "write `group` (a group that they are in) and `mode = \"0660\"`";
        let message = "`allow` in [endpoint] names users whom the socket's permissions keep out";
        section.fault(found.place.clone(), message, help);
    }
    let connections = section.within("connections", CONNECTIONS, 1..=1024);
    let time_limit =
        section.within("time_limit", TIME_LIMIT, Duration::from_secs(1)..=Duration::from_secs(60));
    let aws = section.try_section("aws").map(|section| read_aws(section, secrets));
    section.finish();
    Some(Endpoint {
        socket: socket?,
        allow: allow.map(|found| found.value).unwrap_or_default(),
        connections,
        time_limit,
        aws: super::transposed(aws)?,
    })
}

fn read_aws(section: Section<'_>, secrets: Option<&[Secret]>) -> Option<Aws> {
    let listen = match section.take::<SocketAddr>("listen") {
        Some(found) if !found.value.ip().is_loopback() => {
            let message =
                format!("`listen` in [endpoint.aws] is {}, which other machines may reach", found.value);
            let help =
                format!("values are spoken without TLS here: write `127.0.0.1:{}`", found.value.port());
            section.fault(found.place, message, help);
            None
        }
        found => found.map(|found| found.value),
    };
    let token_file = section.required_path("token_file");
    let ids = section.try_section("ids").map(|section| read_ids(&section, secrets)).unwrap_or_default();
    section.finish();
    Some(Aws { listen, token_file: token_file?, ids })
}

/// `"MyApp/Db" = "db"`: what clients ask for, and the name of the secret that they get.
fn read_ids(section: &Section<'_>, secrets: Option<&[Secret]>) -> Vec<(String, Name)> {
    let mut ids = Vec::new();
    for (id, found) in section.named_texts() {
        let known = secrets.unwrap_or_default().iter().map(|secret| &secret.name);
        match found.value.as_slice() {
            [only] => match known.clone().find(|name| name.as_str() == only) {
                Some(name) => ids.push((id, name.clone())),
                // The names are not known for another fault.
                None if secrets.is_none() => {}
                None => {
                    let known: Vec<_> = known.map(Name::as_str).collect();
                    let message = format!("there is no [[secret]] of the name `{only}`");
                    section.fault(found.place, message, format!("the names are: {}", known.join(", ")));
                }
            },
            _ => {
                let help = format!("write `{id:?} = \"NAME\"`, the name of a [[secret]]");
                section.fault(found.place, format!("`{id}` in [endpoint.aws.ids] must be one secret"), help);
            }
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    const SECRET: &str = "[[secret]]\nname = 'db'\npath = 'prod/db'\n[endpoint]\nsocket = '/run/x/s.sock'\n";

    fn endpoint(toml: &str) -> Endpoint {
        config(&format!("{SECRET}{toml}")).unwrap().endpoint.unwrap()
    }

    #[test]
    fn the_example_says_what_it_means_to() {
        let text = include_str!("../../../../config/examples/sidecar-endpoint.toml");
        let source = leasehold_config::Source::new("/etc/leasehold/sidecar.toml", text);
        let example = crate::Config::parse(&source).unwrap();
        let endpoint = example.endpoint.unwrap();
        assert_eq!((endpoint.allow.len(), endpoint.aws.unwrap().ids.len()), (2, 2));
        assert!(example.health.is_some() && example.cache.is_some_and(|cache| cache.enabled));
    }

    #[test]
    fn nobody_else_gets_in_unless_said() {
        let endpoint = endpoint("");
        assert_eq!((endpoint.socket.mode, endpoint.allow.len(), endpoint.aws), (0o600, 0, None));
        let endpoint = self::endpoint("group = 'app'\nallow = ['app', '1001']\n");
        assert_eq!((endpoint.socket.mode, endpoint.socket.group.as_deref()), (0o660, Some("app")));
        assert_eq!(endpoint.allow, ["app", "1001"]);
    }

    #[test]
    fn the_agents_protocol_has_its_token_and_stays_on_this_machine() {
        let aws = "[endpoint.aws]\nlisten = '127.0.0.1:2773'\ntoken_file = 't'\n[endpoint.aws.ids]\n\
                   'arn:aws:secretsmanager:eu-west-1:1:secret:Db-a' = 'db'\n";
        let aws = endpoint(aws).aws.unwrap();
        assert_eq!(aws.token_file, PathBuf::from("/etc/leasehold/t"));
        assert_eq!(aws.ids.len(), 1);
        let cases = [
            ("[endpoint.aws]\nlisten = '127.0.0.1:2773'\n", "`token_file` is missing"),
            ("[endpoint.aws]\nlisten = '0.0.0.0:2773'\ntoken_file = 't'\n", "which other machines may reach"),
            ("[endpoint.aws]\ntoken_file = 't'\n[endpoint.aws.ids]\nx = 'no'\n", "the names are: db"),
            ("[endpoint.aws]\ntoken_file = 't'\n[endpoint.aws.ids]\nx = []\n", "must be one secret"),
            ("allow = ['app']\n", "keep out"),
            ("mode = '0666'\n", "lets everybody on the machine in"),
            ("mode = '0640'\n", "`\"0600\"` or `\"0660\"`"),
            ("connections = 0\n", "must be between 1 and 1024"),
            ("time_limit = '1h'\n", "must be between 1s and 1m"),
        ];
        for (toml, expected) in cases {
            let faults = config(&format!("{SECRET}{toml}")).unwrap_err().to_string();
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
        let long = format!(
            "[[secret]]\nname = 'db'\npath = 'prod/db'\n[endpoint]\nsocket = '/{}'\n",
            "x".repeat(107)
        );
        assert!(config(&long).unwrap_err().to_string().contains("at most 107 bytes"));
    }
}
