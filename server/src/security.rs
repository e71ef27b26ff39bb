//! What several ways in have in common to keep the server safe.

/// Compares in a time that does not tell where the difference is.
pub fn same_bytes(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).fold(0, |all, (left, right)| all | (left ^ right)) == 0
}
