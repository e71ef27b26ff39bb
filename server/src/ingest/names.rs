//! Names of collections and columns from systems whose names may be longer than ours.

use std::borrow::Cow;

use tidemark_catalog::schema::IDENTIFIER_BYTES_MAX;

/// What a long name ends in: an underscore and eight hexadecimal digits.
const DIGEST_LEN: usize = 9;

/// A name that fits: the name itself, or its start and a digest of all of it.
pub fn fitting(name: &str) -> Cow<'_, str> {
    if name.len() <= IDENTIFIER_BYTES_MAX {
        return Cow::Borrowed(name);
    }
    let mut kept = IDENTIFIER_BYTES_MAX - DIGEST_LEN;
    while !name.is_char_boundary(kept) {
        kept -= 1;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let digest = u32::from_be_bytes(digest.as_ref()[..4].try_into().expect("a digest is longer"));
    Cow::Owned(format!("{}_{digest:08x}", &name[..kept]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let fits = "a".repeat(63);
        assert_eq!(fitting(&fits), fits);
        let long = format!("{}b", "a".repeat(63));
        let other = format!("{}c", "a".repeat(63));
        assert_eq!(fitting(&long), format!("{}_97aa7c54", "a".repeat(54)));
        assert_ne!(fitting(&long), fitting(&other));
        let wide = "ä".repeat(40);
        assert!(fitting(&wide).starts_with(&"ä".repeat(27)) && fitting(&wide).len() == 63);
    }
}
