//! Passphrases.

use diceware_wordlists::EFF_LONG_WORDLIST;
use leasehold_core::{SecretBytes, ports::NoEntropy};
use zeroize::Zeroizing;

use crate::choice::Choice;

/// So many words of the EFF's long list (Bonneau 2016), each as likely as the other.
pub(crate) fn passphrase(
    choice: &mut Choice<'_>,
    words: u32,
    separator: &str,
) -> Result<SecretBytes, NoEntropy> {
    // The longest word has nine letters; what grew by copying would leave copies behind.
    const LONGEST: usize = 9;
    let each = LONGEST.saturating_add(separator.len());
    let capacity = usize::try_from(words).map_err(|_| NoEntropy)?.saturating_mul(each);
    let mut phrase = Zeroizing::new(String::with_capacity(capacity));
    for nth in 0..words {
        if nth > 0 {
            phrase.push_str(separator);
        }
        phrase.push_str(choice.of(&EFF_LONG_WORDLIST)?);
    }
    Ok(SecretBytes::from(std::mem::take(&mut *phrase)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use leasehold_core::rotation::Generator;

    use super::*;

    #[test]
    fn the_list_is_what_its_bits_are_counted_by() {
        let words: BTreeSet<_> = EFF_LONG_WORDLIST.iter().collect();
        assert_eq!(words.len(), usize::try_from(Generator::WORD_LIST).unwrap());
        assert_eq!(words.iter().map(|word| word.len()).max(), Some(9));
    }
}
