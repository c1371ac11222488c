//! Keys of one journal, and the value that keeps its newest trim.

use bytes::Bytes;

/// Longest name of a journal, in bytes.
const NAME_BYTES_MAX: usize = 64;
const TRIM_MAGIC: [u8; 4] = [0xc1, b'J', b'T', 1];

/// Whether a journal can have this name.
pub(super) fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_plain)
}

/// The keys of one journal.
pub(super) struct Keys {
    entries: String,
    /// Behind the keys of all entries.
    end: String,
    pub(super) trim: String,
}

impl Keys {
    pub(super) fn new(name: &str) -> Self {
        Self {
            entries: format!("{name}/e/"),
            end: format!("{name}/e0"),
            trim: format!("{name}/trim"),
        }
    }

    pub(super) fn entry(&self, seq: u64) -> String {
        format!("{}{seq:020}", self.entries)
    }

    /// The first key behind all entries.
    pub(super) fn end(&self) -> &str {
        &self.end
    }

    /// The seq in the key of an entry; `None` for any other key.
    pub(super) fn seq(&self, key: &[u8]) -> Option<u64> {
        let digits = key.strip_prefix(self.entries.as_bytes())?;
        let is_digits = digits.len() == 20 && digits.iter().all(u8::is_ascii_digit);
        let digits = is_digits.then(|| std::str::from_utf8(digits).ok()).flatten()?;
        digits.parse().ok().filter(|seq| *seq > 0)
    }
}

/// The newest trim:
///
/// ```text
/// 0             4       12     20         24
/// | c1 4a 54 01 | epoch | upto | checksum | base
/// ```
/// The checksum is CRC-32C of bytes 0 to 19; the base has its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trim {
    pub(super) epoch: u64,
    pub(super) upto: u64,
    pub(super) base: Bytes,
}

impl Trim {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = TRIM_MAGIC.to_vec();
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.upto.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(&self.base);
        bytes
    }

    /// `None` if the bytes were changed.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, base) = bytes.split_at_checked(24)?;
        let (covered, stored) = head.split_last_chunk::<4>()?;
        if crc32c::crc32c(covered) != u32::from_le_bytes(*stored) {
            return None;
        }
        let (epoch, upto) = covered.strip_prefix(&TRIM_MAGIC)?.split_first_chunk::<8>()?;
        Some(Self {
            epoch: u64::from_le_bytes(*epoch),
            upto: u64::from_le_bytes(*upto.first_chunk::<8>()?),
            base: Bytes::copy_from_slice(base),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_the_seqs() {
        let keys = Keys::new("im");
        let ordered = [keys.entry(1), keys.entry(9), keys.entry(10), keys.entry(u64::MAX)];
        assert!(ordered.is_sorted() && ordered.iter().all(|key| **key < *keys.end()));
        assert!(keys.trim.as_str() > keys.end());
        for (seq, key) in [1, 9, 10, u64::MAX].into_iter().zip(&ordered) {
            assert_eq!(keys.seq(key.as_bytes()), Some(seq));
        }
    }

    #[test]
    fn a_foreign_key_is_no_entry() {
        let keys = Keys::new("im");
        let texts = ["", "im/e/", "im/e/1", "im/e/+0000000000000000001", "im/trim"];
        let zero_and_more = ["im/e/00000000000000000000", "im/e/99999999999999999999"];
        for key in texts.into_iter().chain(zero_and_more) {
            assert_eq!(keys.seq(key.as_bytes()), None, "{key}");
        }
        assert_eq!(Keys::new("i").seq(b"im/e/00000000000000000001"), None);
    }

    #[test]
    fn a_changed_bit_of_a_trim_is_found() {
        let trim = Trim { epoch: 3, upto: 70_000, base: Bytes::from_static(b"base") };
        let bytes = trim.encode();
        assert_eq!(Trim::decode(&bytes), Some(trim));
        for at in 0..24 {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            assert_eq!(Trim::decode(&changed), None, "byte {at}");
            assert_eq!(Trim::decode(&bytes[..at]), None, "{at} bytes");
        }
    }
}
