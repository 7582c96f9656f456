//! `leasehold config`: what the command goes by, and where each of it comes from.

use clap::Subcommand;
use serde::Serialize;

use crate::{
    duration,
    exit::Failure,
    output::{Output, Row},
    settings::{Found, Settings, Source},
    table::Cut,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show what the command goes by, and whether an option, a variable, a context or the file says so
    Show,
    /// Say where the configuration file is, or would be
    Path,
}

/// One setting. The names in JSON are stable.
#[derive(Serialize)]
struct SettingView {
    setting: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// `option`, `variable`, `context`, `file` or `built-in`; absent when nobody says anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    /// The option's, variable's, context's or file's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Serialize)]
struct PathView {
    path: String,
    exists: bool,
}

pub(crate) fn run(command: &ConfigCommand, settings: &Settings, output: &mut Output) -> Result<(), Failure> {
    match command {
        ConfigCommand::Show => {
            let mut list = output.list();
            views(settings).iter().try_for_each(|view| list.push(view))?;
            list.finish("")
        }
        ConfigCommand::Path => {
            let path = settings.path.as_deref().ok_or_else(nowhere)?;
            let view = PathView { path: path.display().to_string(), exists: path.is_file() };
            output.item(&view, &[("path", view.path.clone()), ("exists", view.exists.to_string())])
        }
    }
}

/// A user without a home has no file.
pub(crate) fn nowhere() -> Failure {
    Failure::usage("neither XDG_CONFIG_HOME nor HOME is set, so there is no configuration file")
}

fn views(settings: &Settings) -> Vec<SettingView> {
    let Settings { context, addr, cert, key, ca, server_id, timeout, output, color, .. } = settings;
    let file = settings.path.as_ref().map(|path| path.display().to_string());
    let view = |setting, found: Option<(String, &Source)>| SettingView {
        setting,
        source: found.as_ref().map(|(_, source)| source.kind()),
        name: found.as_ref().and_then(|(_, source)| match source {
            Source::Option(name) | Source::Variable(name) => Some((*name).to_owned()),
            Source::Context(name) => Some(name.to_string()),
            Source::File => file.clone(),
            Source::BuiltIn => None,
        }),
        value: found.map(|(value, _)| value),
    };
    let path = |found: &'_ Option<Found<std::path::PathBuf>>| {
        found.as_ref().map(|found| (found.value.display().to_string(), found.source.clone()))
    };
    let of_path = |setting, found| {
        let found = path(found);
        view(setting, found.as_ref().map(|(value, source)| (value.clone(), source)))
    };
    let word = |word: &dyn std::fmt::Debug| format!("{word:?}").to_lowercase();
    vec![
        view("context", context.as_ref().map(|found| (found.value.to_string(), &found.source))),
        view("addr", addr.as_ref().map(|found| (found.value.to_string(), &found.source))),
        of_path("cert", cert),
        of_path("key", key),
        of_path("ca", ca),
        view("server_id", server_id.as_ref().map(|found| (found.value.to_string(), &found.source))),
        view("timeout", Some((duration::show(timeout.value), &timeout.source))),
        view("output", Some((word(&output.value), &output.source))),
        view("color", Some((word(&color.value), &color.source))),
    ]
}

impl Row for SettingView {
    const COLUMNS: &'static [&'static str] = &["SETTING", "VALUE", "FROM"];
    const CUTS: &'static [(&'static str, Cut)] = &[("VALUE", Cut::Start), ("FROM", Cut::End)];

    fn cells(&self) -> Vec<String> {
        let from = match (self.source, &self.name) {
            (Some(source), Some(name)) => format!("{source} {name}"),
            (source, _) => source.unwrap_or("-").to_owned(),
        };
        vec![self.setting.to_owned(), self.value.clone().unwrap_or_else(|| "-".to_owned()), from]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::snapshot::{documented, settings};

    #[test]
    fn the_table_fits() {
        crate::snapshot::fits::<SettingView>(
            "config-show",
            false,
            &[
                &["addr", "one.prod.example.org:8443,two.prod.example.org:8443", "context prod"],
                &[
                    "identity",
                    "/home/somebody/.config/leasehold/prod",
                    "file /home/somebody/.config/leasehold/config.toml",
                ],
            ],
        );
    }

    #[test]
    fn each_setting_says_where_it_comes_from() {
        let views = views(&settings("--context stage --timeout 9s"));
        let find = |setting| views.iter().find(|view| view.setting == setting).unwrap().cells();
        assert_eq!(find("addr")[1..], ["stage:7443", "context stage"]);
        assert_eq!(find("timeout")[1..], ["9s", "option --timeout"]);
        assert_eq!(find("output")[1..], ["jsonl", "file /home/x/.config/leasehold/config.toml"]);
        assert_eq!(
            (&find("color")[1..], &find("server_id")[1..]),
            (&["auto".into(), "built-in".into()][..], &["-".into(), "-".into()][..])
        );
        documented("config-show", &views);
    }
}
