//! Parquet's `RLE` encoding of small numbers, as runs and packed bits.
//!
//! <https://parquet.apache.org/docs/file-format/data-pages/encodings/#run-length-encoding--bit-packing-hybrid-rle--3>

/// Values to a group of packed bits.
const GROUP: usize = 8;

/// Numbers of so many bits as runs and as groups of eight packed ones, as Parquet's `RLE` has them. A run is
/// worth it from a group's length on; groups before a run are filled up from it.
pub(super) fn encode_hybrid(out: &mut Vec<u8>, values: &[u32], bit_width: u8) {
    let (mut packed_from, mut at) = (0, 0);
    while at < values.len() {
        let value = values[at];
        let run = values[at..].iter().take_while(|other| **other == value).count();
        let missing = (at - packed_from).next_multiple_of(GROUP) - (at - packed_from);
        if run >= missing + GROUP {
            encode_packed(out, &values[packed_from..at + missing], bit_width);
            encode_run(out, value, run - missing, bit_width);
            packed_from = at + run;
        }
        at += run;
    }
    encode_packed(out, &values[packed_from..], bit_width);
}

pub(super) fn encode_run(out: &mut Vec<u8>, value: u32, count: usize, bit_width: u8) {
    put_varint(out, (count as u64) << 1);
    out.extend_from_slice(&value.to_le_bytes()[..usize::from(bit_width.div_ceil(8))]);
}

/// Values from the lowest bits up; the last group is filled with zeros.
fn encode_packed(out: &mut Vec<u8>, values: &[u32], bit_width: u8) {
    if values.is_empty() {
        return;
    }
    put_varint(out, (values.len().div_ceil(GROUP) as u64) << 1 | 1);
    let end = out.len() + values.len().div_ceil(GROUP) * usize::from(bit_width);
    let (mut bits, mut count) = (0_u64, 0);
    for value in values {
        bits |= u64::from(*value) << count;
        count += u32::from(bit_width);
        while count >= u8::BITS {
            out.push(bits as u8);
            bits >>= u8::BITS;
            count -= u8::BITS;
        }
    }
    if count > 0 {
        out.push(bits as u8);
    }
    out.resize(end, 0);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
