//! Where a service is asked, and for which regions an endpoint's URL stands.

use leasehold_endpoint::Endpoint;

use super::AwsConfig;

/// The place of a region's name in an endpoint's URL.
const REGION: &str = "{region}";

/// A service that has an endpoint of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Secrets Manager.
    Secrets,
    /// The Parameter Store.
    Parameters,
    /// The Security Token Service.
    Tokens,
}

impl AwsConfig {
    /// The URL that is configured for a service.
    pub(crate) fn endpoint_of(&self, service: Service) -> Option<&str> {
        let own = match service {
            Service::Secrets => &self.secretsmanager_endpoint_url,
            Service::Parameters => &self.ssm_endpoint_url,
            Service::Tokens => &self.sts_endpoint_url,
        };
        own.as_deref().or(self.endpoint_url.as_deref())
    }
}

/// The URL for a region: `None` when the URL is another region's and does not say where this one's is. What stands on
/// this machine stands for every region.
pub(crate) fn url_for(url: &str, region: &str, home: &str) -> Option<String> {
    let everywhere = url.contains(REGION) || region == home;
    let local = || Endpoint::of(url).is_some_and(|endpoint| endpoint.local);
    (everywhere || local()).then(|| url.replace(REGION, region))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_asked_only_where_it_is() {
        let to = |url, region| url_for(url, region, "eu-central-1");
        assert_eq!(to("https://a.{region}.x", "us-east-1").unwrap(), "https://a.us-east-1.x");
        assert_eq!(to("https://vpce-1.x", "eu-central-1").unwrap(), "https://vpce-1.x");
        assert_eq!(to("https://vpce-1.x", "us-east-1"), None);
        assert_eq!(to("http://127.0.0.1:5000", "us-east-1").unwrap(), "http://127.0.0.1:5000");
    }
}
