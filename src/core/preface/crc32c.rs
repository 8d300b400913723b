//! The checksum CRC32c (Castagnoli's polynomial, RFC 3720 appendix B.4), an octet at a time: it is for a header a connection.

/// Castagnoli's polynomial, its bits in reverse order.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What each value of the lowest octet makes of the rest.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut word = index as u32;
        let mut bit = 0;
        while bit < 8 {
            word = if word & 1 == 1 { word >> 1 ^ POLYNOMIAL } else { word >> 1 };
            bit += 1;
        }
        table[index] = word;
        index += 1;
    }
    table
};

pub(super) fn crc32c(octets: impl Iterator<Item = u8>) -> u32 {
    !octets.fold(!0, |sum, octet| sum >> 8 ^ TABLE[usize::from(sum as u8 ^ octet)])
}
