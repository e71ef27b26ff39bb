//! The values of a chunk, each once, and which of them each row has.

use arrow::array::{Array, ArrowPrimitiveType, AsArray, DictionaryArray, PrimitiveArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};

use super::Form;

/// The values of a chunk.
pub(super) struct Dictionary {
    /// The values by place, as a dictionary page has them.
    pub(super) plain: Vec<u8>,
    /// Where each value's bytes end in [`Dictionary::plain`], and how many there are.
    values: Vec<(u32, u32)>,
    /// Of each value among all, in their order.
    ranks: Vec<u32>,
    /// Places by rank.
    by_rank: Vec<u32>,
    /// The place of each row that has a value.
    pub(super) places: Vec<u32>,
    pub(super) bit_width: u8,
    kind: Kind,
}

/// What the values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Float,
    Integer,
}

impl Dictionary {
    /// The texts of symbols.
    pub(super) fn of_symbols(symbols: &DictionaryArray<Int32Type>, form: Form) -> Option<Dictionary> {
        const UNUSED: u32 = u32::MAX;
        let all = symbols.values().as_string_opt::<i32>().filter(|all| all.null_count() == 0)?;
        let mut place_of = vec![UNUSED; all.len()];
        let mut used = Vec::new();
        let mut place = |number: i32| {
            let number = usize::try_from(number).expect("numbers start at 0");
            if place_of[number] == UNUSED {
                place_of[number] = u32::try_from(used.len()).expect("numbers have 31 bits");
                used.push(all.value(number).as_bytes());
            }
            place_of[number]
        };
        let keys = symbols.keys();
        let places: Vec<u32> = match keys.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => keys.values().iter().map(|number| place(*number)).collect(),
            Some(_) => keys.iter().flatten().map(place).collect(),
        };
        let bytes: usize = used.iter().map(|text| size_of::<u32>() + text.len()).sum();
        let is_short = |text: &&[u8]| text.len() <= form.bound_bytes_max;
        if bytes > form.dictionary_bytes_max || !used.iter().all(is_short) {
            return None;
        }
        let (mut plain, mut values) = (Vec::with_capacity(bytes), Vec::with_capacity(used.len()));
        for text in &used {
            let length = u32::try_from(text.len()).ok()?;
            plain.extend_from_slice(&length.to_le_bytes());
            plain.extend_from_slice(text);
            values.push((u32::try_from(plain.len()).ok()?, length));
        }
        Dictionary::new(plain, values, places, &used, Kind::Text)
    }

    /// Numbers, none of which is NaN.
    pub(super) fn of_numbers<T: Number>(numbers: &PrimitiveArray<T>, form: Form) -> Option<Dictionary> {
        let width = size_of::<T::Native>();
        let mut found = Found::new(form.dictionary_bytes_max / width);
        let mut places = Vec::with_capacity(numbers.len() - numbers.null_count());
        if numbers.null_count() == 0 {
            for value in numbers.values() {
                places.push(found.place(T::key(*value))?);
            }
        } else {
            for value in numbers.iter().flatten() {
                places.push(found.place(T::key(value))?);
            }
        }
        let mut plain = Vec::with_capacity(found.keys.len() * width);
        found.keys.iter().for_each(|key| T::put(*key, &mut plain));
        let width = u32::try_from(width).expect("a few bytes");
        let values = (1..).map(|number| (number * width, width)).take(found.keys.len()).collect();
        Dictionary::new(plain, values, places, &found.keys, T::KIND)
    }

    fn new<K: Ord>(
        plain: Vec<u8>,
        values: Vec<(u32, u32)>,
        places: Vec<u32>,
        keys: &[K],
        kind: Kind,
    ) -> Option<Dictionary> {
        let count = u32::try_from(keys.len()).ok().filter(|count| *count > 0)?;
        let mut by_rank: Vec<u32> = (0..count).collect();
        by_rank.sort_unstable_by_key(|place| &keys[*place as usize]);
        let mut ranks = vec![0; keys.len()];
        for (place, rank) in by_rank.iter().zip(0..) {
            ranks[*place as usize] = rank;
        }
        let bit_width = u8::try_from(u32::BITS - (count - 1).leading_zeros()).expect("at most 32");
        Some(Dictionary { plain, values, ranks, by_rank, places, bit_width, kind })
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The bytes of the texts of some rows; `None` where values are not texts.
    pub(super) fn text_bytes(&self, places: &[u32]) -> Option<usize> {
        let lengths = || places.iter().map(|place| self.values[*place as usize].1 as usize);
        (self.kind == Kind::Text).then(|| lengths().sum())
    }

    /// The least and the greatest rank among places; `None` for none.
    pub(super) fn bounds(&self, places: &[u32]) -> Option<(u32, u32)> {
        let mut last = *places.first()?;
        let first = self.ranks[last as usize];
        let (mut min, mut max) = (first, first);
        for place in places {
            // Rows that follow one another often have the same.
            if *place != last {
                let rank = self.ranks[*place as usize];
                (min, max) = (min.min(rank), max.max(rank));
                last = *place;
            }
        }
        Some((min, max))
    }

    /// The value of a rank as a lower bound: of the two zeros it is the negative one, as Parquet wants it.
    pub(super) fn lower_bound(&self, rank: u32) -> Vec<u8> {
        self.bound(rank, -0.0)
    }

    /// The value of a rank as an upper bound, with the positive zero.
    pub(super) fn upper_bound(&self, rank: u32) -> Vec<u8> {
        self.bound(rank, 0.0)
    }

    fn bound(&self, rank: u32, zero: f64) -> Vec<u8> {
        let (end, length) = self.values[self.by_rank[rank as usize] as usize];
        let value = &self.plain[(end - length) as usize..end as usize];
        if self.kind == Kind::Float && [0.0_f64, -0.0].iter().any(|zero| value == zero.to_le_bytes()) {
            return zero.to_le_bytes().to_vec();
        }
        value.to_vec()
    }
}

/// Numbers that a dictionary can hold.
pub(super) trait Number: ArrowPrimitiveType {
    /// What values of this type are.
    const KIND: Kind;

    /// A key in the order of the values, of which no two have the same.
    fn key(value: Self::Native) -> u64;

    /// Writes the value of a key as Parquet does.
    fn put(key: u64, out: &mut Vec<u8>);
}

const SIGN: u64 = 1 << 63;

impl Number for Float64Type {
    const KIND: Kind = Kind::Float;

    fn key(value: f64) -> u64 {
        let bits = value.to_bits();
        if bits & SIGN == 0 { bits | SIGN } else { !bits }
    }

    fn put(key: u64, out: &mut Vec<u8>) {
        let bits = if key & SIGN == 0 { !key } else { key & !SIGN };
        out.extend_from_slice(&bits.to_le_bytes());
    }
}

impl Number for Int64Type {
    const KIND: Kind = Kind::Integer;

    fn key(value: i64) -> u64 {
        value.cast_unsigned() ^ SIGN
    }

    fn put(key: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&(key ^ SIGN).to_le_bytes());
    }
}

impl Number for Int32Type {
    const KIND: Kind = Kind::Integer;

    fn key(value: i32) -> u64 {
        Int64Type::key(value.into())
    }

    fn put(key: u64, out: &mut Vec<u8>) {
        let value = (key ^ SIGN).cast_signed();
        out.extend_from_slice(&i32::try_from(value).expect("it came from one").to_le_bytes());
    }
}

/// Keys that were met, each with its place: a table with open addressing.
struct Found {
    keys: Vec<u64>,
    /// In each slot 1 more than the place of a key; 0 where there is none.
    table: Vec<u32>,
    shift: u32,
    keys_max: usize,
    last: Option<(u64, u32)>,
}

impl Found {
    fn new(keys_max: usize) -> Found {
        let slots = (keys_max * 2).next_power_of_two().max(2);
        let shift = u64::BITS - slots.trailing_zeros();
        Found { keys: Vec::new(), table: vec![0; slots], shift, keys_max, last: None }
    }

    /// The place of a key; `None` where there are too many.
    #[inline]
    fn place(&mut self, key: u64) -> Option<u32> {
        // Multiplying carries every bit into the upper ones.
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        if let Some((last, place)) = self.last
            && last == key
        {
            return Some(place);
        }
        let mut slot = (key.wrapping_mul(ODD) >> self.shift) as usize;
        let place = loop {
            match self.table[slot] {
                0 => break self.add(slot, key)?,
                held if self.keys[held as usize - 1] == key => break held - 1,
                _ => slot = (slot + 1) & (self.table.len() - 1),
            }
        };
        self.last = Some((key, place));
        Some(place)
    }

    fn add(&mut self, slot: usize, key: u64) -> Option<u32> {
        if self.keys.len() >= self.keys_max {
            return None;
        }
        let place = u32::try_from(self.keys.len()).ok()?;
        self.keys.push(key);
        self.table[slot] = place + 1;
        Some(place)
    }
}
