//! What Azure answers, written from its public API documentation:
//! <https://learn.microsoft.com/en-us/rest/api/keyvault/secrets/>,
//! <https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow>.
