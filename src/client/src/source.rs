//! Where a client's credentials come from: what was given, files that are looked at again, or the Workload API.

mod files;
#[cfg(feature = "workload-api")]
mod workload;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Interval, MissedTickBehavior, interval},
};

use self::files::Mark;
#[cfg(feature = "workload-api")]
pub(crate) use self::workload::Workload;
use crate::{
    CredentialError, Error, Identity, TrustBundle,
    credentials::Credentials,
    tls::{self, Expected},
};

/// Files are looked at so often. Looking costs a system call for each.
const LOOK: Duration = Duration::from_secs(1);

/// Who the client says it is.
#[derive(Debug, Default)]
pub(crate) enum IdentityFrom {
    /// Nobody: the broker will say no.
    #[default]
    Nowhere,
    Given(Identity),
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
}

/// By whom the broker is known.
#[derive(Debug, Default)]
pub(crate) enum TrustFrom {
    #[default]
    Nowhere,
    Given(TrustBundle),
    File(PathBuf),
}

/// All of a client's credentials.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) identity: IdentityFrom,
    pub(crate) trust: TrustFrom,
    pub(crate) expected: Expected,
    /// What the files were like when they were read last.
    mark: Option<Mark>,
    looks: Option<Interval>,
    #[cfg(feature = "workload-api")]
    workload: Option<Workload>,
}

impl Source {
    pub(crate) fn new(identity: IdentityFrom, trust: TrustFrom, expected: Expected) -> Self {
        Self {
            identity,
            trust,
            expected,
            mark: None,
            looks: None,
            #[cfg(feature = "workload-api")]
            workload: None,
        }
    }

    /// Has the identity, and the trust bundle unless one is given, come from the Workload API.
    #[cfg(feature = "workload-api")]
    pub(crate) fn with_workload(mut self, workload: Workload) -> Self {
        self.workload = Some(workload);
        self
    }

    /// Whether there can be others later.
    pub(crate) fn changes(&self) -> bool {
        #[cfg(feature = "workload-api")]
        if self.workload.is_some() {
            return true;
        }
        matches!(self.identity, IdentityFrom::Files { .. }) || matches!(self.trust, TrustFrom::File(_))
    }

    /// What they are now, whenever that is.
    ///
    /// # Errors
    /// When one of them is missing or cannot be used.
    pub(crate) async fn first(&mut self) -> Result<Arc<Credentials>, Error> {
        #[cfg(feature = "workload-api")]
        if let Some(workload) = &mut self.workload {
            let (identity, bundle) = workload.first().await?;
            return Ok(self.joined(identity, bundle)?);
        }
        if matches!(self.trust, TrustFrom::Nowhere) {
            return Err(Error::Missing {
                what: "the trust bundle by which the broker is known",
                way_out: "give its PEM file, or set LEASEHOLD_CA",
            });
        }
        Ok(self.read()?)
    }

    /// The next ones that differ, or why what is there now cannot be used. Waits for ever when they never change.
    pub(crate) async fn next(&mut self, nudge: &Notify) -> Result<Arc<Credentials>, CredentialError> {
        #[cfg(feature = "workload-api")]
        if let Some(workload) = &mut self.workload {
            let (identity, bundle) = workload.next().await?;
            return self.joined(identity, bundle);
        }
        loop {
            let looks = self.looks.get_or_insert_with(|| {
                let mut looks = interval(LOOK);
                looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                looks
            });
            tokio::select! {
                _ = looks.tick() => {}
                () = nudge.notified() => {}
            }
            if self.mark.as_ref() != Some(&self.look()) {
                return self.read();
            }
        }
    }

    #[cfg(feature = "workload-api")]
    fn joined(&self, identity: Identity, bundle: TrustBundle) -> Result<Arc<Credentials>, CredentialError> {
        let bundle = match &self.trust {
            TrustFrom::Nowhere => bundle,
            TrustFrom::Given(given) => given.clone(),
            TrustFrom::File(path) => TrustBundle::from_file(path)?,
        };
        credentials(Some(identity), &bundle, &self.expected)
    }

    fn look(&self) -> Mark {
        let mut paths = Vec::new();
        if let IdentityFrom::Files { certificate, key } = &self.identity {
            paths.extend([certificate, key]);
        }
        if let TrustFrom::File(path) = &self.trust {
            paths.push(path);
        }
        Mark::of(paths)
    }

    fn read(&mut self) -> Result<Arc<Credentials>, CredentialError> {
        // Before they are read: what changes meanwhile is seen the next time.
        self.mark = Some(self.look());
        let identity = match &self.identity {
            IdentityFrom::Nowhere => None,
            IdentityFrom::Given(identity) => Some(identity.duplicate()),
            IdentityFrom::Files { certificate, key } => Some(Identity::from_files(certificate, key)?),
        };
        let bundle = match &self.trust {
            TrustFrom::Nowhere => TrustBundle::of([], "")?,
            TrustFrom::Given(bundle) => bundle.clone(),
            TrustFrom::File(path) => TrustBundle::from_file(path)?,
        };
        credentials(identity, &bundle, &self.expected)
    }
}

fn credentials(
    identity: Option<Identity>,
    bundle: &TrustBundle,
    expected: &Expected,
) -> Result<Arc<Credentials>, CredentialError> {
    Ok(Arc::new(Credentials {
        identity: identity.as_ref().map(|identity| identity.summary.clone()),
        bundle: bundle.origin.clone(),
        tls: Arc::new(tls::config(identity, bundle, expected)?),
    }))
}
