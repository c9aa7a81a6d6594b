//! Sets of bytes, and the classes of patterns that stand for them, as C's own functions tell them apart in its locale.

use super::items::ESCAPE;

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Set([u64; 4]);

impl Set {
    pub(super) const NONE: Self = Self([0; 4]);
    pub(super) const ALL: Self = Self([u64::MAX; 4]);

    pub(super) const fn one(byte: u8) -> Self {
        Self::NONE.with(byte)
    }

    const fn with(mut self, byte: u8) -> Self {
        self.0[byte as usize >> 6] |= 1 << (byte & 63);
        self
    }

    #[inline]
    pub(super) const fn has(&self, byte: u8) -> bool {
        self.0[byte as usize >> 6] >> (byte & 63) & 1 != 0
    }

    pub(super) const fn or(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a | e, b | f, c | g, d | h])
    }

    pub(super) const fn and(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a & e, b & f, c & g, d & h])
    }

    pub(super) const fn not(self) -> Self {
        let [a, b, c, d] = self.0;
        Self([!a, !b, !c, !d])
    }

    /// The only one, if there is one.
    fn single(&self) -> Option<u8> {
        let count: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        let word = self.0.iter().position(|word| *word != 0)?;
        let byte = u8::try_from(64 * word + self.0[word].trailing_zeros() as usize).ok();
        byte.filter(|_| count == 1)
    }

    /// The class that `%` and `letter` are.
    pub(super) const fn class(letter: u8) -> Self {
        let set = match letter.to_ascii_lowercase() {
            b'a' => LETTERS,
            b'c' => CONTROLS,
            b'd' => DIGITS,
            b'g' => GRAPHICS,
            b'l' => LOWER,
            b'p' => PUNCTUATION,
            b's' => SPACES,
            b'u' => UPPER,
            b'w' => ALPHANUMERIC,
            b'x' => HEXADECIMAL,
            b'z' => Self::one(0),
            _ => return Self::one(letter),
        };
        if letter.is_ascii_lowercase() { set } else { set.not() }
    }

    /// A set, written without its brackets.
    pub(super) fn bracketed(set: &[u8]) -> Self {
        let (is_in, mut set) = match set {
            [b'^', rest @ ..] => (false, rest),
            set => (true, set),
        };
        let mut made = Self::NONE;
        loop {
            set = match set {
                [] => return if is_in { made } else { made.not() },
                [ESCAPE, class, rest @ ..] => {
                    made = made.or(Self::class(*class));
                    rest
                }
                [first, b'-', last, rest @ ..] => {
                    made = (*first..=*last).fold(made, Self::with);
                    rest
                }
                [one, rest @ ..] => {
                    made = made.with(*one);
                    rest
                }
            };
        }
    }
}

/// The bytes for which `$is` holds.
macro_rules! those {
    ($byte:ident, $is:expr) => {{
        let (mut set, mut at) = (Set::NONE, 0_u8);
        loop {
            let $byte = at;
            if $is {
                set = set.with(at);
            }
            if at == u8::MAX {
                break set;
            }
            at += 1;
        }
    }};
}

const LETTERS: Set = those!(byte, byte.is_ascii_alphabetic());
const CONTROLS: Set = those!(byte, byte.is_ascii_control());
const DIGITS: Set = those!(byte, byte.is_ascii_digit());
const GRAPHICS: Set = those!(byte, byte.is_ascii_graphic());
const LOWER: Set = those!(byte, byte.is_ascii_lowercase());
const PUNCTUATION: Set = those!(byte, byte.is_ascii_punctuation());
const SPACES: Set = those!(byte, matches!(byte, b' ' | b'\t'..=b'\r'));
const UPPER: Set = those!(byte, byte.is_ascii_uppercase());
const ALPHANUMERIC: Set = those!(byte, byte.is_ascii_alphanumeric());
const HEXADECIMAL: Set = those!(byte, byte.is_ascii_hexdigit());

/// What one byte of the text is compared with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Class {
    Any,
    Byte(u8),
    /// All others.
    Not(u8),
    Set(Set),
}

impl Class {
    pub(super) fn of(set: Set) -> Self {
        if set == Set::ALL {
            return Self::Any;
        }
        match (set.single(), set.not().single()) {
            (Some(byte), _) => Self::Byte(byte),
            (_, Some(byte)) => Self::Not(byte),
            _ => Self::Set(set),
        }
    }

    #[inline]
    pub(super) fn has(&self, byte: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Byte(one) => *one == byte,
            Self::Not(one) => *one != byte,
            Self::Set(set) => set.has(byte),
        }
    }

    pub(super) fn set(&self) -> Set {
        match self {
            Self::Any => Set::ALL,
            Self::Byte(byte) => Set::one(*byte),
            Self::Not(byte) => Set::one(*byte).not(),
            Self::Set(set) => *set,
        }
    }

    /// How many of `text` in front are of it.
    pub(super) fn run(&self, text: &[u8]) -> usize {
        let end = match self {
            Self::Any => None,
            Self::Byte(one) => text.iter().position(|byte| byte != one),
            Self::Not(one) => memchr::memchr(*one, text),
            Self::Set(set) => text.iter().position(|byte| !set.has(*byte)),
        };
        end.unwrap_or(text.len())
    }
}
