//! Finding bytes of two kinds in a record: delimiters, and what makes a field special.
//!
//! Fields are short, so a search that starts anew after each of them costs more than the bytes it looks
//! at. Here 64 bytes at a time become as many bits, which are then taken one by one.

/// How many bytes are looked at at once.
const BLOCK: usize = 64;

/// The places of two bytes in a part of some data, in their order.
#[derive(Debug)]
pub(crate) struct Marks<'a> {
    data: &'a [u8],
    /// Where the part ends.
    end: usize,
    wanted: [u8; 2],
    /// Where the block starts that the bits are of.
    block: usize,
    /// A bit for each place that was not taken.
    bits: u64,
}

impl<'a> Marks<'a> {
    /// In the data from `start` to `end`.
    pub(crate) fn new(data: &'a [u8], start: usize, end: usize, wanted: [u8; 2]) -> Marks<'a> {
        let mut marks = Marks { data, end, wanted, block: start, bits: 0 };
        marks.look();
        marks
    }

    /// The next place.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<usize> {
        while self.bits == 0 {
            self.block += BLOCK;
            if self.block >= self.end {
                return None;
            }
            self.look();
        }
        let place = self.block + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        (place < self.end).then_some(place)
    }

    /// Goes on from this place, which is not before the last one taken.
    pub(crate) fn skip_to(&mut self, place: usize) {
        match place.checked_sub(self.block) {
            Some(distance) if distance < BLOCK => self.bits &= u64::MAX << distance,
            _ => {
                self.block = place;
                self.look();
            }
        }
    }

    fn look(&mut self) {
        self.bits = match self.data[self.block.min(self.end)..].first_chunk::<BLOCK>() {
            Some(block) => bits_of(block, self.wanted),
            None => {
                let rest = &self.data[self.block.min(self.end)..];
                let mut block = [0; BLOCK];
                block[..rest.len()].copy_from_slice(rest);
                // Zero bytes after the end of the data are beyond the part's end too.
                bits_of(&block, self.wanted)
            }
        };
    }
}

/// A bit for each byte that is one of two.
#[inline]
fn bits_of(block: &[u8; BLOCK], [one, other]: [u8; 2]) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // Multiplied by this, the upper bits of eight bytes come to lie next to each other.
    const GATHER: u64 = 0x0002_0408_1020_4081;
    let (one, other) = (LOW * u64::from(one), LOW * u64::from(other));
    // The upper bit of each byte that is zero.
    let zeros = |word: u64| !(((word & !HIGH) + !HIGH) | word | !HIGH);
    let mut bits = 0;
    for (at, bytes) in block.chunks_exact(8).enumerate() {
        let word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let found = zeros(word ^ one) | zeros(word ^ other);
        bits |= ((found >> 7).wrapping_mul(GATHER) >> 49 & 0xff) << (at * 8);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(data: &[u8], start: usize, end: usize) -> Vec<usize> {
        let mut marks = Marks::new(data, start, end, [b',', b'"']);
        std::iter::from_fn(|| marks.next()).collect()
    }

    #[test]
    fn every_place_is_found_in_its_order() {
        let mut data: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for place in [0, 1, 7, 8, 63, 64, 65, 127, 128, 500, 998, 999] {
            data[place] = if place % 2 == 0 { b',' } else { b'"' };
        }
        for (start, end) in [(0, 1000), (1, 999), (64, 128), (63, 64), (500, 500), (990, 1000), (3, 70)] {
            let expected: Vec<usize> =
                (start..end).filter(|place| matches!(data[*place], b',' | b'"')).collect();
            assert_eq!(places(&data, start, end), expected, "{start}..{end}");
        }
    }

    #[test]
    fn places_that_are_skipped_are_not_found() {
        let data = vec![b','; 300];
        for (first, skipped) in [(0, 1), (0, 5), (10, 64), (10, 150), (10, 299), (10, 300)] {
            let mut marks = Marks::new(&data, first, 300, [b',', b'"']);
            assert_eq!(marks.next(), Some(first));
            marks.skip_to(skipped.max(first + 1));
            assert_eq!(marks.next(), (skipped.max(first + 1) < 300).then_some(skipped.max(first + 1)));
        }
    }

    #[test]
    fn zero_bytes_are_found_where_they_are_wanted() {
        let data = [1, 0, 2, 0];
        let mut marks = Marks::new(&data, 0, 4, [0, b'"']);
        assert_eq!([marks.next(), marks.next(), marks.next()], [Some(1), Some(3), None]);
    }
}
