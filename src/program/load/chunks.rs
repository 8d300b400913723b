//! Bodies in chunks (RFC 9112 §7.1), in whatever pieces they come. What they hold is read and forgotten.

/// Hexadecimal digits that a number of 64 bits has.
const DIGITS: u8 = 16;
/// Octets of extensions and trailers, of one body, at most: nobody has asked for any.
const MAX_EXTRA: u32 = 16_384;

/// How far a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    place: Place,
    /// Octets of the chunk under way that are to come.
    left: u64,
    digits: u8,
    /// Octets of extensions and trailers so far.
    extra: u32,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Size,
    Extension,
    /// The LF behind the size.
    SizeEnd,
    Data,
    /// CR and LF behind the data.
    DataEnd,
    DataEndLf,
    /// The beginning of a line of the trailer section, or of the empty one behind it.
    TrailerStart,
    Trailer,
    TrailerEnd,
    /// The last LF.
    End,
    Over,
}

/// What became of octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// All of them are the body's, and more is to come.
    More,
    /// With so many of them the body is whole.
    Whole(usize),
    /// They are no chunks.
    Bad,
}

impl Chunks {
    /// Before the first chunk.
    pub const BEGIN: Self = Self { place: Place::Size, left: 0, digits: 0, extra: 0 };

    /// Takes the next octets.
    pub fn take(&mut self, octets: &[u8]) -> Taken {
        let mut at = 0;
        while at < octets.len() {
            if self.place == Place::Data {
                let piece = usize::try_from(self.left).unwrap_or(usize::MAX).min(octets.len() - at);
                self.left -= piece as u64;
                at += piece;
                if self.left == 0 {
                    self.place = Place::DataEnd;
                }
                continue;
            }
            let Some(next) = self.after(octets[at]) else { return Taken::Bad };
            self.place = next;
            at += 1;
            if next == Place::Over {
                return Taken::Whole(at);
            }
        }
        Taken::More
    }

    /// Where an octet leads that is none of the data; none where it must not be.
    fn after(&mut self, octet: u8) -> Option<Place> {
        Some(match (self.place, octet) {
            (Place::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if self.digits < DIGITS => {
                self.digits += 1;
                self.left = self.left << 4 | u64::from(char::from(octet).to_digit(16)?);
                Place::Size
            }
            (Place::Size, b'\r') if self.digits > 0 => Place::SizeEnd,
            (Place::Size, b';' | b' ' | b'\t') if self.digits > 0 => self.skip(Place::Extension)?,
            (Place::Extension, b'\r') => Place::SizeEnd,
            (Place::SizeEnd, b'\n') => {
                self.digits = 0;
                if self.left == 0 { Place::TrailerStart } else { Place::Data }
            }
            (Place::DataEnd, b'\r') => Place::DataEndLf,
            (Place::DataEndLf, b'\n') => Place::Size,
            (Place::TrailerStart, b'\r') => Place::End,
            (Place::Trailer, b'\r') => Place::TrailerEnd,
            (Place::TrailerEnd, b'\n') => Place::TrailerStart,
            (Place::End, b'\n') => Place::Over,
            // RFC 9112 §2.2: a line ends by CR and LF, and a bare LF is where readers begin to differ.
            (Place::Extension, other) if other != b'\n' => self.skip(Place::Extension)?,
            (Place::TrailerStart | Place::Trailer, other) if other != b'\n' => self.skip(Place::Trailer)?,
            _ => return None,
        })
    }

    /// Goes on to `place` over an octet that says nothing to us, if there were not too many of them.
    fn skip(&mut self, place: Place) -> Option<Place> {
        self.extra += 1;
        (self.extra <= MAX_EXTRA).then_some(place)
    }
}
