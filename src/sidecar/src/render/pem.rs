//! PEM blocks (RFC 7468) by their label, as they stand in a text.

/// The blocks whose label is `label`, or ends with a space and `label` (`PRIVATE KEY` also means `EC PRIVATE KEY`), each with
/// a line end behind it.
pub(super) fn blocks(text: &str, label: &str) -> String {
    let mut found = String::new();
    let mut block: Option<(&str, String)> = None;
    for line in text.lines() {
        if let Some(begun) =
            line.trim().strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----"))
        {
            block = Some((begun, String::new()));
        }
        let Some((begun, lines)) = &mut block else { continue };
        lines.push_str(line.trim_end());
        lines.push('\n');
        let ended = line.trim().strip_prefix("-----END ").and_then(|rest| rest.strip_suffix("-----"));
        if ended == Some(*begun) {
            let wanted = begun.strip_suffix(label);
            if wanted.is_some_and(|before| before.is_empty() || before.ends_with(' ')) {
                found.push_str(lines);
            }
            block = None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_picked_by_label() {
        let cert = |n: u8| format!("-----BEGIN CERTIFICATE-----\nAAA{n}\n-----END CERTIFICATE-----\n");
        let key = "-----BEGIN EC PRIVATE KEY-----\nBBBB\n-----END EC PRIVATE KEY-----\n";
        let text = format!("subject=x\n{}{key}\n{}", cert(1), cert(2).replace('\n', "\r\n"));
        assert_eq!(blocks(&text, "CERTIFICATE"), format!("{}{}", cert(1), cert(2)));
        assert_eq!(blocks(&text, "PRIVATE KEY"), key);
        assert_eq!(blocks(&text, "VATE KEY"), "");
        assert_eq!(blocks("-----BEGIN A-----\nx", "A"), "");
    }
}
