//! What a denied person is told when policy lets them know why.

use leasehold_client::Explanation;

use crate::output::printable;

/// A line of what it comes to, one a policy, and what to do: behind the message of the denial.
pub(crate) fn told(explanation: &Explanation) -> String {
    let mut text = match (explanation.grounds.as_str(), explanation.policies.is_empty()) {
        ("FORBIDDEN", _) => "; a policy forbids it:",
        ("NOT_PERMITTED", false) => "; no policy permits it, and these would but for one thing:",
        ("NOT_PERMITTED", true) => "; no policy permits it, nor one that lacks only one thing",
        ("NOT_EVALUATED", _) => "; a policy cannot be evaluated, which denies it:",
        ("PERMITTED", _) => {
            "; policy permits it, so there is no such thing: `leasehold secret list` shows what there is"
        }
        _ => "; policy says why:",
    }
    .to_owned();
    for policy in &explanation.policies {
        text.push_str(&format!("\n  {}", printable(policy)));
    }
    if !explanation.principal.is_empty() {
        text.push_str(&format!("\n  you are {}", printable(&explanation.principal)));
    }
    if explanation.grounds != "PERMITTED" {
        text.push_str(
            "\n  next: show this to who keeps the broker's policies and groups; `leasehold policy explain` tries a change",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explanation(grounds: &str, policies: &[&str]) -> Explanation {
        let mut explanation = Explanation::default();
        explanation.grounds = grounds.to_owned();
        explanation.policies = policies.iter().map(|&policy| policy.to_owned()).collect();
        explanation.principal = "Operator::\"spiffe://example.org/operator/alice\", in no group".to_owned();
        explanation
    }

    #[test]
    fn each_policy_has_its_line_and_the_end_says_what_to_do() {
        let told = told(&explanation("NOT_PERMITTED", &["permit a (x.cedar:1) is for \u{1b}[31mothers"]));
        assert_eq!(
            told,
            "; no policy permits it, and these would but for one thing:\n\
             \x20 permit a (x.cedar:1) is for \\u{1b}[31mothers\n\
             \x20 you are Operator::\"spiffe://example.org/operator/alice\", in no group\n\
             \x20 next: show this to who keeps the broker's policies and groups; `leasehold policy explain` tries a change"
        );
    }

    #[test]
    fn what_is_permitted_is_not_there() {
        let told = told(&explanation("PERMITTED", &[]));
        assert!(told.contains("no such thing") && !told.contains("next:"), "{told}");
        assert!(super::told(&explanation("NOT_PERMITTED", &[])).starts_with("; no policy permits it, nor"));
        assert!(super::told(&explanation("FORBIDDEN", &["f"])).starts_with("; a policy forbids it:\n  f\n"));
        assert!(super::told(&explanation("NEWER", &["f"])).starts_with("; policy says why:"));
    }
}
