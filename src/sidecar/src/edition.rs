//! One reading of the configuration with everything that it names: it is in force as a whole, or not at all.

use std::sync::Arc;

use leasehold_config::section::proposal;
use thiserror::Error;

use crate::{
    config::Config,
    endpoint::{EndpointError, Rules},
    name::Name,
    publish::{NoSuchOwner, Ownership},
    render::Renderer,
};

/// What is in force.
#[derive(Debug)]
pub struct Edition {
    /// How many there were before it.
    pub number: u64,
    /// What the file says.
    pub config: Config,
    /// Its templates, compiled.
    pub renderer: Renderer,
    /// Whose its files are to be.
    pub ownership: Ownership,
    /// Whom its endpoint answers; absent without one.
    pub rules: Option<Arc<Rules>>,
}

/// Why a configuration that is well written cannot be in force here.
#[derive(Debug, Error)]
pub enum Refused {
    /// Every fault of its templates.
    #[error("{}", .0.join("\n"))]
    Templates(Vec<String>),
    /// Nobody here is the files' owner.
    #[error(transparent)]
    Owner(#[from] NoSuchOwner),
    /// The endpoint lacks something.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl Edition {
    /// Looks at everything that it names and that is on this machine.
    ///
    /// # Errors
    /// When something of it is not there, or is faulty.
    pub fn new(number: u64, config: Config) -> Result<Self, Refused> {
        let renderer = renderer(&config).map_err(Refused::Templates)?;
        let ownership = config.files.as_ref().map(Ownership::of).transpose()?.unwrap_or_default();
        let rules = |endpoint| Rules::of(endpoint, &config.secrets);
        let rules = config.endpoint.as_ref().map(rules).transpose()?.map(Arc::new);
        Ok(Self { number, renderer, ownership, rules, config })
    }
}

/// The templates, compiled, or everything that is wrong with them.
fn renderer(config: &Config) -> Result<Renderer, Vec<String>> {
    let renderer = Renderer::new(&config.file_list)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let names: Vec<Name> = config.secrets.iter().map(|secret| secret.name.clone()).collect();
    let strangers = renderer.strangers(&names);
    if strangers.is_empty() {
        return Ok(renderer);
    }
    let known: Vec<_> = names.iter().map(Name::as_str).collect();
    let fault = |(file, secret): &(Name, String)| {
        let help = proposal(secret, &known);
        format!(
            "the template of `{file}` uses `secrets.{secret}`, and there is no [[secret]] of that name: {help}"
        )
    };
    Err(strangers.iter().map(fault).collect())
}
