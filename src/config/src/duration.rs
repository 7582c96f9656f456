//! Durations as people write them: `15m`, `1h30m`, `250ms`. A bare number is refused: nobody remembers its unit.

use std::time::Duration;

use crate::element::{Element, Wrong, text};

/// The units, the longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Element for Duration {
    const SHAPE: &'static str = "a duration such as `15m`, `1h30m` or `250ms` (units: ms, s, m, h, d)";

    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Wrong> {
        parse(text::<Self>(value)?).ok_or_else(Wrong::shape::<Self>)
    }

    fn show(&self) -> String {
        let mut left = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let mut text = String::new();
        for (unit, millis) in UNITS {
            let count = left.checked_div(millis).unwrap_or(0);
            left = left.checked_rem(millis).unwrap_or(0);
            if count > 0 {
                text.push_str(&format!("{count}{unit}"));
            }
        }
        if text.is_empty() { "0s".to_owned() } else { text }
    }
}

/// Numbers with units, the longer unit first, each at most once.
fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0_u64;
    let mut units = UNITS.iter();
    while !rest.is_empty() || total == 0 && rest.len() == text.len() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at_checked(letters)?;
        let (_, millis) = units.by_ref().find(|(name, _)| *name == unit)?;
        total = number.parse::<u64>().ok()?.checked_mul(*millis)?.checked_add(total)?;
        rest = after;
    }
    Some(Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        let cases = [
            ("15m", Some(900_000)),
            ("1h30m", Some(5_400_000)),
            ("250ms", Some(250)),
            ("90s", Some(90_000)),
            ("7d", Some(604_800_000)),
            ("0s", Some(0)),
            ("1d2h3m4s5ms", Some(93_784_005)),
            ("", None),
            ("15", None),
            ("m", None),
            ("15 m", None),
            ("-1s", None),
            ("1.5h", None),
            ("30m1h", None),
            ("1m1m", None),
            ("15min", None),
            ("1H", None),
            ("99999999999999999999d", None),
            ("999999999999999999d", None),
        ];
        for (text, millis) in cases {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn they_are_shown_as_they_are_written() {
        for text in ["15m", "1h30m", "250ms", "1d", "0s", "1d2h3m4s5ms"] {
            assert_eq!(parse(text).unwrap().show(), text);
        }
    }
}
