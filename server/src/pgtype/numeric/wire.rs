//! The binary form of `numeric`.
//!
//! ```text
//! group count  i16
//! weight       i16   the power of 10,000 that the first group stands for
//! sign         u16   0x0000 plus, 0x4000 minus, 0xC000 NaN, 0xD000 infinity, 0xF000 -infinity
//! scale        u16   how many digits after the point are shown
//! groups       group count × i16, 0 to 9,999; none at either end is 0
//! ```

use bigdecimal::Zero;
use bigdecimal::num_bigint::{BigInt, Sign};
use bytes::{BufMut, BytesMut};

use super::Numeric;
use crate::error::{SqlError, SqlResult};
use crate::pgtype::binary::Reader;
use crate::sqlstate;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// The bits that a scale can have.
const SCALE_MASK: u16 = 0x3FFF;

/// What PostgreSQL writes as the scale of an infinity.
const INFINITY_SCALE: u16 = 0x20;

/// Digits of a group.
const GROUP_DIGITS: i32 = 4;

/// What a group counts to.
const GROUP_BASE: u16 = 10_000;

/// As many groups as an `i128` holds in any case.
const SMALL_GROUPS_MAX: usize = 9;

/// Writes a number.
pub fn write(out: &mut BytesMut, value: &Numeric) {
    let special = |out: &mut BytesMut, sign: u16, scale: u16| {
        out.put_u32(0);
        out.put_u16(sign);
        out.put_u16(scale);
    };
    match value {
        Numeric::NaN => special(out, NAN, 0),
        Numeric::Infinity => special(out, INFINITY, INFINITY_SCALE),
        Numeric::NegativeInfinity => special(out, NEGATIVE_INFINITY, INFINITY_SCALE),
        Numeric::Finite(value) => {
            let (units, scale) = value.as_bigint_and_scale();
            let digits = units.magnitude().to_string();
            let scale = i32::try_from(scale).expect("a numeric's scale is at most 16383");
            write_digits(out, units.sign() == Sign::Minus, digits.as_bytes(), scale);
        }
    }
}

/// Writes the number whose decimal digits these are, so many of them after the point.
pub fn write_digits(out: &mut BytesMut, is_negative: bool, digits: &[u8], scale: i32) {
    let start = out.len();
    out.put_u64(0);
    let mut groups = Groups { out, weight: None, written: 0, significant: 0 };
    let mut group = 0_u16;
    // The power of ten that the digit stands for.
    let mut power = i32::try_from(digits.len()).expect("fewer digits than bytes") - 1 - scale;
    for digit in digits {
        group = group * 10 + u16::from(digit - b'0');
        if power.rem_euclid(GROUP_DIGITS) == 0 {
            groups.push(group, power);
            group = 0;
        }
        power -= 1;
    }
    // The last group is filled up with zeros.
    let missing = (power + 1).rem_euclid(GROUP_DIGITS);
    if missing != 0 {
        groups.push(group * 10_u16.pow(missing.unsigned_abs()), power + 1 - missing);
    }
    let (weight, count) = (groups.weight.unwrap_or(0), groups.significant);
    out.truncate(start + 8 + 2 * usize::from(count));
    let sign = if is_negative && count > 0 { NEGATIVE } else { POSITIVE };
    let header = &mut out[start..start + 8];
    header[0..2].copy_from_slice(&count.to_be_bytes());
    header[2..4].copy_from_slice(&weight.to_be_bytes());
    header[4..6].copy_from_slice(&sign.to_be_bytes());
    header[6..8].copy_from_slice(&u16::try_from(scale).unwrap_or(0).to_be_bytes());
}

/// Groups on their way out: leading zeros are not written, trailing ones are not counted.
struct Groups<'a> {
    out: &'a mut BytesMut,
    weight: Option<i16>,
    written: u16,
    significant: u16,
}

impl Groups<'_> {
    fn push(&mut self, group: u16, power: i32) {
        if group == 0 && self.weight.is_none() {
            return;
        }
        self.weight.get_or_insert(i16::try_from(power.div_euclid(GROUP_DIGITS)).unwrap_or(i16::MAX));
        self.out.put_u16(group);
        self.written += 1;
        if group != 0 {
            self.significant = self.written;
        }
    }
}

/// The fields before the groups.
struct Header {
    group_count: usize,
    weight: i16,
    sign: u16,
    scale: u16,
}

fn read_header(reader: &mut Reader<'_>) -> SqlResult<Header> {
    let group_count = usize::from(reader.u16()?);
    let header = Header { group_count, weight: reader.i16()?, sign: reader.u16()?, scale: reader.u16()? };
    let is_known = [POSITIVE, NEGATIVE, NAN, INFINITY, NEGATIVE_INFINITY].contains(&header.sign);
    if !is_known {
        return Err(invalid("sign"));
    }
    if header.scale & !SCALE_MASK != 0 {
        return Err(invalid("scale"));
    }
    Ok(header)
}

fn read_group(reader: &mut Reader<'_>) -> SqlResult<u16> {
    let group = reader.u16()?;
    if group < GROUP_BASE { Ok(group) } else { Err(invalid("digit")) }
}

fn invalid(what: &str) -> SqlError {
    let message = format!("invalid {what} in external \"numeric\" value");
    SqlError::new(sqlstate::INVALID_BINARY_REPRESENTATION, message)
}

/// Reads a number. Digits beyond the scale are cut off.
pub fn read(reader: &mut Reader<'_>) -> SqlResult<Numeric> {
    let header = read_header(reader)?;
    let mut groups = Vec::new();
    for _ in 0..header.group_count {
        groups.push(read_group(reader)?);
    }
    match header.sign {
        NAN => return Ok(Numeric::NaN),
        INFINITY => return Ok(Numeric::Infinity),
        NEGATIVE_INFINITY => return Ok(Numeric::NegativeInfinity),
        _ => {}
    }
    let scale = i64::from(header.scale);
    let first = groups.iter().position(|group| *group != 0).unwrap_or(groups.len());
    if first == groups.len() {
        return Ok(Numeric::from_scaled(BigInt::zero(), scale));
    }
    let digits: String = groups.iter().map(|group| format!("{group:04}")).collect();
    // The power of ten of the last digit, seen from the last digit that is shown.
    let last_power = GROUP_DIGITS as i64 * (i64::from(header.weight) + 1) - digits.len() as i64 + scale;
    let shown = match usize::try_from(last_power) {
        Ok(zeros) => format!("{digits}{}", "0".repeat(zeros)),
        Err(_) => {
            let cut = usize::try_from(-last_power).unwrap_or(usize::MAX);
            digits[..digits.len().saturating_sub(cut)].to_owned()
        }
    };
    let magnitude = BigInt::parse_bytes(shown.as_bytes(), 10).unwrap_or_default();
    let units = if header.sign == NEGATIVE { -magnitude } else { magnitude };
    Ok(Numeric::from_scaled(units, scale))
}

/// Reads a number of few digits, none of them beyond its scale, as so many units of its last digit;
/// `None` where that takes more care.
pub fn read_small(bytes: &[u8]) -> Option<(i128, u32)> {
    let mut reader = Reader::new(bytes);
    let header = read_header(&mut reader).ok()?;
    if header.group_count > SMALL_GROUPS_MAX || bytes.len() != 8 + 2 * header.group_count {
        return None;
    }
    let mut magnitude = 0_i128;
    for _ in 0..header.group_count {
        magnitude = magnitude * i128::from(GROUP_BASE) + i128::from(read_group(&mut reader).ok()?);
    }
    let scale = i32::from(header.scale);
    let groups_after_first = i32::try_from(header.group_count).ok()? - 1;
    let last_power = GROUP_DIGITS * (i32::from(header.weight) - groups_after_first) + scale;
    let units = match u32::try_from(last_power) {
        _ if magnitude == 0 => 0,
        Ok(zeros) => magnitude.checked_mul(10_i128.checked_pow(zeros)?)?,
        Err(_) => {
            let beyond = 10_i128.checked_pow(last_power.unsigned_abs())?;
            if magnitude % beyond != 0 {
                return None;
            }
            magnitude / beyond
        }
    };
    match header.sign {
        POSITIVE => Some((units, header.scale.into())),
        NEGATIVE => Some((-units, header.scale.into())),
        _ => None,
    }
}
