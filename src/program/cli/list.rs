//! Lists of numbers as one types them: `0,2-3`.

use std::str::FromStr;
use xskip_cli::host::cores::CORE_MAX;

/// Numbers, in the order they were typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberList<T>(Vec<T>);

impl<T: Copy> NumberList<T> {
    /// The numbers.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.0.iter().copied()
    }
}

impl<T> FromStr for NumberList<T>
where
    T: Copy + TryFrom<u64>,
{
    type Err = String;

    /// Reads numbers and ranges separated by commas; nothing at all is an empty list.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
        let numbers: Result<Vec<Vec<T>>, String> = parts.map(range).collect();
        numbers.map(|numbers| Self(numbers.concat()))
    }
}

/// A core's number, in a list. Whether there is such a core is for the machine to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core(pub usize);

impl TryFrom<u64> for Core {
    type Error = ();

    fn try_from(number: u64) -> Result<Self, ()> {
        usize::try_from(number).ok().filter(|&core| core <= CORE_MAX).map(Self).ok_or(())
    }
}

/// The longest range that is taken for meant.
const MAX_RANGE: u64 = 65_536;

fn range<T: TryFrom<u64>>(part: &str) -> Result<Vec<T>, String> {
    let bad = || format!("\"{part}\" is no number or range that fits; write a list like 0,2-3");
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let first: u64 = first.trim().parse().map_err(|_| bad())?;
    let last: u64 = last.trim().parse().map_err(|_| bad())?;
    if last < first || last - first >= MAX_RANGE {
        return Err(bad());
    }
    (first..=last).map(|number| T::try_from(number).map_err(|_| bad())).collect()
}

#[cfg(test)]
mod tests {
    use super::NumberList;

    fn list(text: &str) -> Option<Vec<u16>> {
        text.parse::<NumberList<u16>>().ok().map(|list| list.iter().collect())
    }

    #[test]
    fn numbers_and_ranges_in_the_order_typed() {
        assert_eq!(list("80"), Some(vec![80]));
        assert_eq!(list("3, 0-2"), Some(vec![3, 0, 1, 2]));
        assert_eq!(list(""), Some(vec![]));
        assert_eq!(list("65535"), Some(vec![65535]));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in ["65536", "a", "1,,2", "-", "3-1", "1-", "0-99999999999", "1.5", ","] {
            assert_eq!(list(bad), None, "{bad}");
        }
    }
}
