//! Sizes as one types them: `64M`, `1G`.

use std::str::FromStr;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// Less is not worth the trouble.
const LEAST: u64 = 1 << 20;

impl FromStr for Size {
    type Err = String;

    /// Reads a whole number with K, M, G or T behind it, for as many times 1,024, or with nothing, for bytes.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("\"{text}\" is no size of 1M or more; write one like 64M or 1G");
        let (digits, shift) = match text.as_bytes().last() {
            Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
            Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
            Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
            Some(b'T' | b't') => (&text[..text.len() - 1], 40),
            _ => (text, 0),
        };
        let number = digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
        let bytes = number.and_then(|number| number.checked_mul(1 << shift));
        bytes.filter(|&bytes| bytes >= LEAST).map(Self).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    fn size(text: &str) -> Option<u64> {
        text.parse::<Size>().ok().map(|Size(bytes)| bytes)
    }

    #[test]
    fn units_are_powers_of_1024() {
        assert_eq!(size("1048576"), Some(1 << 20));
        assert_eq!(size("1024K"), Some(1 << 20));
        assert_eq!(size("64m"), Some(64 << 20));
        assert_eq!(size("3G"), Some(3 << 30));
        assert_eq!(size("1T"), Some(1 << 40));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in ["", "G", "1", "1023K", "0G", "-1G", "+1G", "1.5G", "1 G", "1GB", "16777216T", "\u{e9}"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}
