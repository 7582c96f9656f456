//! A unit of systemd that is told.

use std::{ffi::OsString, path::Path, time::Duration};

use tokio::process::Command;
use zeroize::Zeroizing;

use super::{
    ActError, News,
    command::{mask, run},
};
use crate::config::on_change::{UnitName, UnitOrder};

const SYSTEMCTL: [&str; 2] = ["/usr/bin/systemctl", "/bin/systemctl"];

pub(super) async fn tell(
    unit: &UnitName,
    order: UnitOrder,
    timeout: Duration,
    news: &News,
) -> Result<(), ActError> {
    let systemctl = SYSTEMCTL.into_iter().find(|file| Path::new(file).exists());
    let systemctl = systemctl.ok_or(ActError::NoSystemd)?;
    let mut command = Command::new(systemctl);
    command.args(arguments(unit, order)).env_clear().current_dir("/");
    run(command, systemctl, Zeroizing::default(), timeout, mask(&news.snapshot)).await
}

/// `systemctl(1)`. It waits until the unit has done it.
fn arguments(unit: &UnitName, order: UnitOrder) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--no-ask-password".into()];
    match order {
        UnitOrder::Reload => arguments.push("reload".into()),
        // One that does not run is not started.
        UnitOrder::Restart => arguments.push("try-restart".into()),
        UnitOrder::Signal(signal) => {
            // Its name before systemd 252, known since, too.
            arguments.extend(["kill".into(), "--kill-who=main".into(), format!("--signal={signal}").into()]);
        }
    }
    arguments.extend(["--".into(), unit.as_str().into()]);
    arguments
}

#[cfg(test)]
mod tests {
    use leasehold_config::Element;
    use leasehold_programs::SignalName;
    use toml::de::DeValue;

    use super::*;

    #[test]
    fn what_systemctl_is_told() {
        let value = DeValue::parse("'app@1.service'").unwrap();
        let unit = UnitName::read(value.get_ref()).unwrap();
        let told = |order| {
            let arguments = arguments(&unit, order);
            arguments.iter().map(|argument| argument.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(UnitOrder::Reload), "--no-ask-password reload -- app@1.service");
        assert_eq!(told(UnitOrder::Restart), "--no-ask-password try-restart -- app@1.service");
        let signal = UnitOrder::Signal(SignalName::HUP);
        assert_eq!(told(signal), "--no-ask-password kill --kill-who=main --signal=SIGHUP -- app@1.service");
    }
}
