//! Why policy denied a call, as the broker tells those whom policy lets know.

use std::collections::HashMap;

/// Why policy denied a call. It is made of the call and the policies alone: it does not say whether there is such a secret,
/// unless policy permits the call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// What it comes to: `FORBIDDEN` (a policy forbids it), `NOT_PERMITTED` (no policy permits it), `NOT_EVALUATED` (a
    /// policy could not be evaluated), `PERMITTED` (policy permits it: there is no such thing).
    pub grounds: String,
    /// A line for people on each policy that mattered: those that forbid it, then those that would have permitted it but
    /// for one thing.
    pub policies: Vec<String>,
    /// The caller as policies see it.
    pub principal: String,
    /// The digest of the policies in force.
    pub policy_set: String,
}

impl Explanation {
    /// What is in the metadata of the broker's `google.rpc.ErrorInfo` (`error_reason.proto` has the keys).
    pub(crate) fn of(metadata: &HashMap<String, String>) -> Option<Self> {
        let said = |key| metadata.get(key).cloned().unwrap_or_default();
        Some(Self {
            grounds: metadata.get("policy_grounds")?.clone(),
            policies: said("policies").lines().map(str::to_owned).collect(),
            principal: said("policy_principal"),
            policy_set: said("policy_set"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_denials_have_none() {
        assert_eq!(Explanation::of(&HashMap::new()), None);
        let metadata = [
            ("policy_grounds", "NOT_PERMITTED"),
            (
                "policies",
                "permit a (x.cedar:1) is for other principals\npermit b (x.cedar:2) is for other resources",
            ),
            ("policy_principal", "Operator::\"x\", in no group"),
            ("policy_set", "abc"),
        ];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let explanation = Explanation::of(&metadata).unwrap();
        assert_eq!((explanation.grounds.as_str(), explanation.policies.len()), ("NOT_PERMITTED", 2));
        assert_eq!(explanation.principal, "Operator::\"x\", in no group");
    }
}
