//! Which tokens the blocks of a text column have: filters that never miss one, and are wrong about one
//! in a hundred of the others.
//!
//! The filters of a column of a row group are one piece of the file, behind the row group's pages; other
//! readers of Parquet pass over it. A piece is little-endian:
//!
//! ```text
//! | 0   | rows of a block: u32 | blocks, n: u32 |
//! | 8   | cells of each block: n × u32           |
//! | …   | cells, block after block: 32 bytes each |
//! ```
//!
//! A filter is a split block Bloom filter as Parquet's are: the upper half of a token's hash chooses a
//! cell, eight words of 32 bits, the lower half one bit of each word. A block without tokens has no
//! cells. Where pieces are is in the footer's metadata, under `tidemark.token_filters`, in base64:
//!
//! ```text
//! | version: u8, 1 | for each piece: column: u32 | row group: u32 | offset: u64 | bytes: u32 | CRC32C: u32 |
//! ```
//!
//! A segment without the entry, or with one of another version, has no filters: all of it is read.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::types::ColumnType;

use crate::tokens::{self, TokenHash};

const VERSION: u8 = 1;

/// For each distinct token; then one in a hundred tokens that are not there seems to be.
const BITS_PER_TOKEN: usize = 10;

const CELL_WORDS: usize = 8;
const CELL_BYTES: usize = 4 * CELL_WORDS;
const HEADER_BYTES: usize = 8;
const ENTRY_BYTES: usize = 24;

/// What Parquet multiplies a hash by for each word of a cell.
const SALT: [u32; CELL_WORDS] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// Whether the texts of a column are searched by tokens.
pub(crate) fn has_filters(column_type: &ColumnType) -> bool {
    matches!(column_type, ColumnType::Text | ColumnType::Varchar(_))
}

/// Where the filters of a column of a row group are in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) column: ColumnId,
    pub(crate) row_group: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
    pub(crate) crc32c: u32,
}

/// Places as the footer has them.
pub(crate) fn encode_places(places: &[Place]) -> String {
    let mut bytes = vec![VERSION];
    for place in places {
        bytes.extend(place.column.0.to_le_bytes());
        bytes.extend(place.row_group.to_le_bytes());
        bytes.extend(place.offset.to_le_bytes());
        bytes.extend(place.bytes.to_le_bytes());
        bytes.extend(place.crc32c.to_le_bytes());
    }
    BASE64.encode(bytes)
}

/// The places in a footer's entry, by column and row group; `None` when the entry is broken.
pub(crate) fn decode_places(entry: &str) -> Option<HashMap<(ColumnId, usize), Place>> {
    let bytes = BASE64.decode(entry).ok()?;
    let (version, rest) = bytes.split_first()?;
    if *version != VERSION {
        return Some(HashMap::new());
    }
    let u32_at =
        |entry: &[u8], at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().expect("four bytes"));
    let (entries, []) = rest.as_chunks::<ENTRY_BYTES>() else { return None };
    let places = entries.iter().map(|entry| Place {
        column: ColumnId(u32_at(entry, 0)),
        row_group: u32_at(entry, 4),
        offset: u64::from_le_bytes(entry[8..16].try_into().expect("eight bytes")),
        bytes: u32_at(entry, 16),
        crc32c: u32_at(entry, 20),
    });
    Some(places.map(|place| ((place.column, place.row_group as usize), place)).collect())
}

/// The filters of a text column of a row group.
pub(crate) fn build(array: &ArrayRef, block_rows: usize) -> Vec<u8> {
    let texts = array.as_string_view();
    let starts = (0..texts.len()).step_by(block_rows);
    let (mut counts, mut cells) = (Vec::new(), Vec::new());
    let mut found = Found::default();
    for start in starts {
        found.clear();
        for row in start..texts.len().min(start + block_rows) {
            if texts.is_valid(row) {
                found_in(texts.value(row), &mut found);
            }
        }
        let count = (found.len() * BITS_PER_TOKEN).div_ceil(8 * CELL_BYTES);
        counts.push(u32::try_from(count).expect("a block of texts fits in memory"));
        let first = cells.len();
        cells.resize(first + count, [0u32; CELL_WORDS]);
        for token in &found {
            let cell = &mut cells[first + cell_of(*token, count)];
            cell.iter_mut().zip(mask(*token)).for_each(|(word, bit)| *word |= bit);
        }
    }
    let header = [block_rows, counts.len()].map(|it| u32::try_from(it).expect("a row group has fewer rows"));
    let words = header.iter().chain(&counts).chain(cells.as_flattened());
    words.flat_map(|word| word.to_le_bytes()).collect()
}

/// Distinct tokens.
type Found = HashSet<TokenHash, BuildHasherDefault<AlreadyHashed>>;

fn found_in(text: &str, found: &mut Found) {
    tokens::for_each(text, |token| {
        found.insert(token);
    });
}

fn cell_of(token: TokenHash, cells: usize) -> usize {
    let cell = ((token.0 >> 32) * cells as u64) >> 32;
    usize::try_from(cell).expect("it is below the number of cells")
}

fn mask(token: TokenHash) -> [u32; CELL_WORDS] {
    let low = u32::try_from(token.0 & u64::from(u32::MAX)).expect("it has 32 bits");
    SALT.map(|salt| 1 << (low.wrapping_mul(salt) >> 27))
}

/// A hash is hashed by itself.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a token's hash is written as a number");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The filters of a column of a row group, as they are in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenFilters<'a> {
    block_rows: usize,
    counts: &'a [[u8; 4]],
    cells: &'a [[u8; CELL_BYTES]],
}

impl<'a> TokenFilters<'a> {
    /// `None` when the bytes contradict themselves.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<TokenFilters<'a>> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let ([block_rows, blocks], []) = header.as_chunks::<4>() else { return None };
        let block_rows = u32::from_le_bytes(*block_rows) as usize;
        let counts_bytes = (u32::from_le_bytes(*blocks) as usize).checked_mul(4)?;
        let (counts, cells) = rest.split_at_checked(counts_bytes)?;
        let (counts, _) = counts.as_chunks::<4>();
        let (cells, []) = cells.as_chunks::<CELL_BYTES>() else { return None };
        let sum: u64 = counts.iter().map(|count| u64::from(u32::from_le_bytes(*count))).sum();
        (block_rows > 0 && sum == cells.len() as u64).then_some(TokenFilters { block_rows, counts, cells })
    }

    /// The rows of each block of so many rows, and whether it may have all tokens of any of the sets.
    pub(crate) fn blocks(
        self,
        rows: usize,
        any_of: &[Vec<TokenHash>],
    ) -> impl Iterator<Item = (Range<usize>, bool)> {
        let mut cells = self.cells;
        self.counts.iter().enumerate().map(move |(block, count)| {
            let (own, rest) = cells.split_at(u32::from_le_bytes(*count) as usize);
            cells = rest;
            let start = rows.min(block * self.block_rows);
            let range = start..rows.min(start + self.block_rows);
            (range, any_of.iter().any(|all| all.iter().all(|token| may_have(own, *token))))
        })
    }
}

fn may_have(cells: &[[u8; CELL_BYTES]], token: TokenHash) -> bool {
    let Some(cell) = (!cells.is_empty()).then(|| cells[cell_of(token, cells.len())]) else { return false };
    let (words, _) = cell.as_chunks::<4>();
    words.iter().zip(mask(token)).all(|(word, bit)| u32::from_le_bytes(*word) & bit != 0)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Arc;

    use arrow::array::StringViewArray;
    use proptest::prelude::*;

    use super::*;
    use crate::read::text::{Case, TextCondition};
    use crate::tokens::Token;

    fn built(texts: &[Option<&str>], block_rows: usize) -> Vec<u8> {
        build(&(Arc::new(StringViewArray::from(texts.to_vec())) as ArrayRef), block_rows)
    }

    fn hash(token: &str) -> TokenHash {
        let mut found = None;
        tokens::for_each(token, |hash| found = Some(hash));
        found.unwrap()
    }

    fn kept(bytes: &[u8], rows: usize, any_of: &[&[&str]]) -> Vec<bool> {
        let any_of: Vec<Vec<TokenHash>> =
            any_of.iter().map(|all| all.iter().map(|token| hash(token)).collect()).collect();
        let filters = TokenFilters::new(bytes).unwrap();
        filters.blocks(rows, &any_of).map(|(_, kept)| kept).collect()
    }

    #[test]
    fn bytes_never_change() {
        let bytes = built(&[Some("GET /health 200"), None, None, None, Some("naïve")], 2);
        let mut shown = String::new();
        bytes.iter().for_each(|byte| write!(shown, "{byte:02x}").unwrap());
        let header = ["0200000003000000", "010000000000000001000000"];
        let get_health_200 = "20201000c0000800900008001001200000801040000402040080000902200002";
        let naive = "0001404000005080040004020005800040020800408100000000400200c40000";
        assert_eq!(shown, [&header.concat(), get_health_200, naive].concat());
        let place = Place { column: ColumnId(5), row_group: 1, offset: 4096, bytes: 84, crc32c: 7 };
        let entry = encode_places(&[place]);
        assert_eq!(entry, "AQUAAAABAAAAABAAAAAAAABUAAAABwAAAA==");
        assert_eq!(decode_places(&entry).unwrap(), HashMap::from([((ColumnId(5), 1), place)]));
    }

    #[test]
    fn a_block_is_kept_when_it_may_have_all_tokens_of_a_set() {
        let bytes = built(&[Some("GET /health 200"), None, None, None, Some("naïve")], 2);
        assert_eq!(kept(&bytes, 5, &[&["get"]]), [true, false, false]);
        assert_eq!(kept(&bytes, 5, &[&["HEALTH", "200"]]), [true, false, false]);
        assert_eq!(kept(&bytes, 5, &[&["health", "404"]]), [false, false, false]);
        assert_eq!(kept(&bytes, 5, &[&["404"], &["naïve"], &["200"]]), [true, false, true]);
        let filters = TokenFilters::new(&bytes).unwrap();
        let ranges: Vec<Range<usize>> = filters.blocks(5, &[]).map(|(range, _)| range).collect();
        assert_eq!(ranges, [0..2, 2..4, 4..5]);
    }

    #[test]
    fn one_token_in_a_hundred_seems_to_be_there() {
        let texts: Vec<String> = (0..8192).map(|row| format!("request {row} took {}ms", row * 7)).collect();
        let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
        let bytes = built(&texts, 8192);
        let wrong = (0..10_000).filter(|absent| kept(&bytes, 8192, &[&[&format!("absent{absent}")]])[0]);
        assert_eq!(wrong.count(), 126);
    }

    #[test]
    fn broken_bytes_are_refused() {
        let bytes = built(&[Some("GET /health 200"), None, Some("naïve")], 2);
        for length in 0..bytes.len() {
            assert!(TokenFilters::new(&bytes[..length]).is_none(), "{length}");
        }
        let mut no_rows = bytes.clone();
        no_rows[0] = 0;
        assert!(TokenFilters::new(&no_rows).is_none());
        for broken in ["?", "", "AQ=", &BASE64.encode([1, 2, 3])] {
            assert!(decode_places(broken).is_none(), "{broken:?}");
        }
        assert_eq!(decode_places(&BASE64.encode([2, 1, 2, 3])), Some(HashMap::new()), "of another version");
    }

    /// Texts and patterns of few different characters, so that they meet, those among them that fold,
    /// separate or neither.
    fn soup() -> impl Strategy<Value = String> {
        let pieces: &[&str] =
            &["a", "b", "A", "k", "\u{212a}", "s", "ſ", "é", "É", "½", " ", ":", "…", "_", "0", "\n"];
        proptest::collection::vec(proptest::sample::select(pieces), 0..8).prop_map(|it| it.concat())
    }

    fn like_pattern() -> impl Strategy<Value = String> {
        let wild = proptest::sample::select(&["%", "_", "", " ", "\\%", "\\", ":"]);
        proptest::collection::vec((wild, soup()), 1..4)
            .prop_map(|parts| parts.into_iter().map(|(wild, text)| format!("{wild}{text}")).collect())
    }

    fn regex_pattern() -> impl Strategy<Value = String> {
        let pieces: &[&str] = &[
            r"\b",
            r"\B",
            r"\s",
            r"\s+",
            r"\s*",
            r"\w",
            r"\W",
            ".",
            ".*",
            "^",
            "$",
            "(a|b)",
            "( a )+",
            "[ab]",
            "[^a]",
            "[^0-9A-Za-z_]",
            "[[:punct:]]",
            "a?",
            "b+",
            "(?-u:\\b)",
            "(?m)^",
            r"\b{start}",
            r"\b{end-half}",
        ];
        let special = proptest::sample::select(pieces);
        proptest::collection::vec((special, soup()), 1..4)
            .prop_map(|parts| parts.into_iter().map(|(piece, text)| format!("{piece}{text}")).collect())
    }

    /// A text that fulfils a condition has all tokens that are required of it.
    fn check_required(text: &str, condition: &TextCondition) -> Result<(), TestCaseError> {
        let array: ArrayRef = Arc::new(StringViewArray::from(vec![text]));
        let held = condition.evaluate(&array, true).unwrap().value(0);
        let known = built(&[Some(text)], 1);
        let filters = TokenFilters::new(&known).unwrap();
        let (_, kept) = filters.blocks(1, &[condition.required().to_vec()]).next().unwrap();
        prop_assert!(kept || !held, "{text:?} {}", condition.describe("it", true));
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn like_never_misses_a_text(text in soup(), pattern in like_pattern()) {
            for case in [Case::Kept, Case::Ignored] {
                check_required(&text, &TextCondition::like(&pattern, case))?;
            }
        }

        #[test]
        fn a_regular_expression_never_misses_a_text(text in soup(), pattern in regex_pattern()) {
            for case in [Case::Kept, Case::Ignored] {
                if let Some(condition) = TextCondition::regex(&pattern, case) {
                    check_required(&text, &condition)?;
                }
            }
        }

        #[test]
        fn contains_token_finds_what_tokens_say(text in soup(), token in soup()) {
            let Some(token) = Token::new(&token) else { return Ok(()) };
            check_required(&text, &TextCondition::contains_token(token.clone()))?;
            let separated = |it: char| crate::tokens::kind(it) == crate::tokens::Kind::Separator;
            prop_assert_eq!(token.is_in(&text), text.split(separated).any(|it| it == token.as_str()));
        }
    }
}
