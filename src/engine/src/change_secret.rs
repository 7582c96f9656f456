//! ChangeSecret: promote, disable, enable or destroy a version; delete, restore or purge a secret.

use std::sync::Arc;

use leasehold_core::{
    access::Action,
    catalog::Source,
    provider::{self, Change, ErrorClass, ProviderError},
    record::Kind,
    state::Commit,
};

use crate::{
    access::{Admitted, Context},
    engine::Engine,
    error::EngineError,
    request::ChangeSecret,
    secrets::refused,
    shield::shield,
};

impl Engine {
    /// Changes what exists in a back end. To ask for what is so already is a success. Leases on what is changed live on:
    /// their holders have the value.
    ///
    /// # Errors
    /// As [`EngineError`] says; whatever was decided or failed has been recorded.
    pub async fn change_secret(self: &Arc<Self>, request: ChangeSecret) -> Result<(), EngineError> {
        let engine = self.clone();
        shield(async move { engine.change(request).await }).await
    }

    async fn change(&self, request: ChangeSecret) -> Result<(), EngineError> {
        let mut record = self.record(Kind::SecretAttempted, &request.actor);
        record.secret = Some(request.secret.clone());
        record.version.clone_from(&request.version);
        record.request_id = request.request_id.clone();
        record.details.insert("change".to_owned(), request.change.as_str().to_owned());
        if let Some(reason) = &request.reason {
            record.details.insert("reason".to_owned(), reason.clone());
        }
        let Admitted { resolved, upstream, .. } =
            match self.admit(&mut record, Action::ChangeSecret, &request.secret, Context::new()) {
                Ok(admitted) => admitted,
                Err(why) => return self.deny(record, why).await,
            };
        record.provider = Some(upstream.name.clone());
        let Source::Static { reference } = &resolved.entry.source else {
            let error = ProviderError::new(ErrorClass::Invalid, "a dynamic secret has nothing to change");
            return self.fail(record, refused(error.of(&upstream.name))).await;
        };
        if !upstream.capabilities().can(request.change) {
            let error = ProviderError::unsupported(&format!("{} what it has", request.change));
            return self.fail(record, refused(error.of(&upstream.name))).await;
        }
        // The intent is durable before the back end changes, so that no change is without a trace.
        self.ledger.commit(Commit::record_only(record.clone())).await?;
        let change = provider::ChangeSecret {
            reference,
            version: request.version.as_ref(),
            change: request.change,
            expected: None,
        };
        let changed = upstream.call(upstream.provider.change(change)).await;
        // Even a change that failed may have happened.
        self.cache.invalidate(&upstream.name, reference);
        record.kind = Kind::SecretChanged;
        record.time = self.now();
        if let Err(error) = changed {
            return self.fail(record, refused(error)).await;
        }
        if let (Some(version), Change::Promote) = (&request.version, request.change) {
            return self.record_current(record, &request.secret, version).await;
        }
        self.ledger.commit(Commit::record_only(record)).await?;
        Ok(())
    }
}
