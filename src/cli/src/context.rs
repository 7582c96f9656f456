//! `leasehold context`: several brokers under names of one's own.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use crate::{
    complete,
    config::nowhere,
    exit::Failure,
    output::{Output, Row},
    settings::{
        Settings, edit,
        file::{Context, ContextName},
        no_such_context,
    },
    table::Cut,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// List the brokers of your configuration file
    List,
    /// Show one, the current one when none is named
    Show {
        /// Its name
        #[arg(value_name = "NAME", add = complete::contexts())]
        name: Option<ContextName>,
    },
    /// Make one the current one
    Use {
        /// Its name
        #[arg(value_name = "NAME", add = complete::contexts())]
        name: ContextName,
    },
    /// Put one into the file, or in the place of one of that name, as the connection's options say; the first one becomes
    /// current
    Add {
        /// Its name
        #[arg(value_name = "NAME")]
        name: ContextName,
    },
    /// Take one out of the file
    Remove {
        /// Its name
        #[arg(value_name = "NAME", add = complete::contexts())]
        name: ContextName,
    },
}

/// One broker. The names in JSON are stable.
#[derive(Serialize)]
struct ContextView {
    name: String,
    current: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    addr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_seconds: Option<u64>,
}

pub(crate) fn run(command: ContextCommand, settings: &Settings, output: &mut Output) -> Result<(), Failure> {
    let path = settings.path.as_deref().ok_or_else(nowhere)?;
    let known = |name: &ContextName| {
        settings.file.context.get(name).ok_or_else(|| no_such_context(name, &settings.file, Some(path)))
    };
    let (name, context, current) = match command {
        ContextCommand::List => {
            let current = settings.file.current.as_ref();
            let mut list = output.list();
            for (name, context) in &settings.file.context {
                list.push(&ContextView::of(name, context, Some(name) == current))?;
            }
            return list
                .finish("no contexts: `leasehold context add NAME --addr ... --identity ...` makes one");
        }
        ContextCommand::Show { name } => {
            let used = || settings.context.as_ref().map(|found| found.value.clone());
            let name = name.or_else(used).ok_or_else(|| {
                Failure::usage("no context is used just now: name one, or `leasehold context use` it")
            })?;
            let context = known(&name)?.clone();
            let current = settings.file.current.as_ref() == Some(&name);
            (name, context, current)
        }
        ContextCommand::Use { name } => {
            known(&name)?;
            let file = edit::change(path, |document| edit::make_current(document, &name))?;
            let context = file.context.get(&name).cloned().unwrap_or_default();
            (name, context, true)
        }
        ContextCommand::Add { name } => {
            let context = absolute(settings.said.clone())?;
            if context.addr.is_none() {
                return Err(Failure::usage(
                    "a context is a broker: give --addr, and --identity or --cert, --key and --ca",
                ));
            }
            let first = settings.file.context.is_empty();
            let file = edit::change(path, |document| {
                edit::put(document, &name, &context);
                if first {
                    edit::make_current(document, &name);
                }
            })?;
            let current = file.current.as_ref() == Some(&name);
            (name, context, current)
        }
        ContextCommand::Remove { name } => {
            let context = known(&name)?.clone();
            edit::change(path, |document| edit::remove(document, &name))?;
            (name, context, false)
        }
    };
    let view = ContextView::of(&name, &context, current);
    output.item(&view, &view.parts())
}

/// With paths that mean the same from everywhere.
fn absolute(mut context: Context) -> Result<Context, Failure> {
    let Context { identity, cert, key, ca, .. } = &mut context;
    for path in [identity, cert, key, ca].into_iter().flatten() {
        *path = std::path::absolute(&path).map_err(|why| Failure::failed(path.display(), why))?;
    }
    Ok(context)
}

impl ContextView {
    fn of(name: &ContextName, context: &Context, current: bool) -> Self {
        Self {
            name: name.to_string(),
            current,
            addr: context.addr.as_ref().map(ToString::to_string),
            identity: context.identity.clone(),
            cert: context.cert.clone(),
            key: context.key.clone(),
            ca: context.ca.clone(),
            server_id: context.server_id.as_ref().map(ToString::to_string),
            timeout_seconds: context.timeout.map(|timeout| timeout.as_secs()),
        }
    }

    fn parts(&self) -> Vec<(&'static str, String)> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let parts = [
            ("context", Some(self.name.clone())),
            ("current", Some(if self.current { "yes" } else { "no" }.to_owned())),
            ("addr", self.addr.clone()),
            ("identity", path(&self.identity)),
            ("cert", path(&self.cert)),
            ("key", path(&self.key)),
            ("ca", path(&self.ca)),
            ("server id", self.server_id.clone()),
            ("timeout", self.timeout_seconds.map(|seconds| format!("{seconds}s"))),
        ];
        parts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
    }
}

impl Row for ContextView {
    const COLUMNS: &'static [&'static str] = &["CONTEXT", "CURRENT", "ADDRESS", "IDENTITY"];
    const CUTS: &'static [(&'static str, Cut)] = &[("IDENTITY", Cut::Start), ("ADDRESS", Cut::End)];

    fn cells(&self) -> Vec<String> {
        let identity = self.identity.as_ref().or(self.cert.as_ref());
        vec![
            self.name.clone(),
            if self.current { "yes" } else { "" }.to_owned(),
            self.addr.clone().unwrap_or_else(|| "-".to_owned()),
            identity.map_or_else(|| "-".to_owned(), |path| path.display().to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{documented, settings};

    #[test]
    fn the_table_fits() {
        crate::snapshot::fits::<ContextView>(
            "context-list",
            false,
            &[
                &[
                    "prod",
                    "yes",
                    "one.prod.example.org:8443,two.prod.example.org:8443",
                    "/home/somebody/.config/leasehold/prod",
                ],
                &["stage", "", "broker.stage:8443", "/home/somebody/.config/leasehold/stage.pem"],
            ],
        );
    }

    #[test]
    fn a_context_for_people_and_programs() {
        let settings = settings("");
        let views: Vec<_> = settings
            .file
            .context
            .iter()
            .map(|(name, context)| {
                ContextView::of(name, context, Some(name) == settings.file.current.as_ref())
            })
            .collect();
        documented("context-list", &views);
        assert_eq!(views[0].cells(), ["prod", "yes", "prod:7443", "/prod"]);
        assert!(views[0].parts().contains(&("timeout", "5s".to_owned())));
    }

    #[test]
    fn a_relative_path_is_kept_from_where_it_was_said() {
        let context = Context { identity: Some("tls".into()), ..Context::default() };
        let identity = absolute(context).unwrap().identity.unwrap();
        assert!(identity.is_absolute() && identity.ends_with("tls"), "{}", identity.display());
    }
}
