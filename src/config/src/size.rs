//! Sizes in bytes as people write them: `64MiB`. Powers of two only, so that nobody guesses what a `MB` is.

use crate::element::{Element, Wrong, text};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Size {
    /// The bytes, as the machine counts memory; the largest it can count when it is more.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The bytes as 32 bits; the most that they can say when it is more.
    pub fn bytes_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl Element for Size {
    const SHAPE: &'static str = "a size such as `64MiB` (units: B, KiB, MiB, GiB)";

    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Wrong> {
        parse(text::<Self>(value)?).ok_or_else(Wrong::shape::<Self>)
    }

    fn show(&self) -> String {
        UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.checked_rem(*bytes) == Some(0)).map_or_else(
            || "0B".to_owned(),
            |(unit, bytes)| format!("{}{unit}", self.0.checked_div(*bytes).unwrap_or(0)),
        )
    }
}

fn parse(text: &str) -> Option<Size> {
    let (number, unit) = text.split_at_checked(text.bytes().take_while(u8::is_ascii_digit).count())?;
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*bytes).map(Size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        let cases = [
            ("64MiB", Some(64 << 20)),
            ("1GiB", Some(1 << 30)),
            ("512KiB", Some(512 << 10)),
            ("100B", Some(100)),
            ("0B", Some(0)),
            ("64MB", None),
            ("64", None),
            ("MiB", None),
            ("", None),
            ("-1B", None),
            ("1.5GiB", None),
            ("64 MiB", None),
            ("99999999999GiB", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse(text), bytes.map(Size), "{text:?}");
        }
    }

    #[test]
    fn they_are_shown_as_they_are_written() {
        for text in ["64MiB", "1GiB", "1536KiB", "100B", "0B"] {
            assert_eq!(parse(text).unwrap().show(), text);
        }
    }
}
