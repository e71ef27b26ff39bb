//! Changes of inputs that readers are likely to trip over.

use std::ops::Range;

/// Numbers at which lengths and counts go wrong.
const NUMBERS: [u64; 12] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, u64::MAX];

/// Longer inputs find nothing that shorter ones do not.
const BYTES_MAX: usize = 1 << 16;

/// Random choices; the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn range(&mut self, len: usize) -> Range<usize> {
        let start = self.below(len);
        let length =
            if self.below(4) == 0 { self.below(len - start) } else { self.below(16.min(len - start)) };
        start..start + length + usize::from(start < len)
    }
}

/// An input made of one of the corpus by a few changes, some with pieces of another.
pub(crate) fn mutated(random: &mut Random, corpus: &[Vec<u8>], words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(6) {
        let other = &corpus[random.below(corpus.len())];
        change(random, &mut bytes, other, words);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8], words: &[&[u8]]) {
    let at = random.below(bytes.len() + 1);
    match random.below(10) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 if at < bytes.len() => bytes[at] = random.next() as u8,
        3 if !bytes.is_empty() => {
            let range = random.range(bytes.len());
            bytes.drain(range);
        }
        4 if !bytes.is_empty() => {
            let range = random.range(bytes.len());
            let copy = bytes[range].to_vec();
            bytes.splice(at..at, copy);
        }
        5 if !other.is_empty() => {
            let range = random.range(other.len());
            bytes.splice(at..at, other[range].iter().copied());
        }
        6 if !words.is_empty() => {
            let word = words[random.below(words.len())];
            bytes.splice(at..at, word.iter().copied());
        }
        7 | 8 => number(random, bytes, at),
        9 => bytes.truncate(at),
        _ => bytes.insert(at, random.next() as u8),
    }
}

/// Writes a number over what is there, or a little more or less than what is there.
fn number(random: &mut Random, bytes: &mut [u8], at: usize) {
    let width = [1, 2, 4, 8][random.below(4)];
    let Some(place) = bytes.get_mut(at..at + width) else { return };
    let is_big_endian = random.below(2) == 0;
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(place);
    if is_big_endian {
        wide[..width].reverse();
    }
    let value = match random.below(3) {
        0 => u64::from_le_bytes(wide).wrapping_add(random.below(9) as u64).wrapping_sub(4),
        _ => NUMBERS[random.below(NUMBERS.len())],
    };
    wide = value.to_le_bytes();
    if is_big_endian {
        wide[..width].reverse();
    }
    place.copy_from_slice(&wide[..width]);
}
