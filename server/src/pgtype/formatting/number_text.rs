//! Numbers by a template.
//!
//! 1. The number is written with the digits that the template has room for, or as `#` where it has
//!    not enough ([`Digits`]).
//! 2. The template is walked, and each pattern takes a digit or leaves a blank ([`Writing`]).

use bigdecimal::num_bigint::Sign;
use bigdecimal::{BigDecimal, RoundingMode, Zero};

use super::number::{Description, Digit, NumberTemplate, SignPlace};
use super::ordinal;
use super::template::{Case, Node};
use crate::error::{SqlError, SqlResult};
use crate::pgtype::numeric::Numeric;

/// How wide a Roman numeral is.
const ROMAN_WIDTH: usize = 15;

/// The greatest number that Roman numerals have here.
const ROMAN_MAX: i64 = 3999;

/// A number on its way into a template.
struct Digits {
    /// Without sign.
    text: String,
    /// Blanks before it.
    blanks: usize,
    is_negative: bool,
}

impl Digits {
    /// Digits with a point, in the room before it that a template has.
    fn fitted(text: String, is_negative: bool, description: &Description) -> Digits {
        let before = text.find('.').unwrap_or(text.len());
        let mut digits = Digits { text, blanks: description.before.saturating_sub(before), is_negative };
        if before > description.before {
            let mut overflow = "#".repeat(description.before + description.behind + 1);
            overflow.replace_range(description.before..=description.before, ".");
            digits.text = overflow;
        }
        digits
    }
}

/// An integer by a template. An empty template gives an empty text.
///
/// # Errors
/// 42601 for a template that is none.
pub fn integer(value: i64, template: &str) -> SqlResult<String> {
    let NumberTemplate { nodes, mut description } = NumberTemplate::parse(template)?;
    if description.is_roman {
        return Ok(write(&nodes, description, roman_digits(Some(value))));
    }
    if description.has_exponent {
        let text = exponential(&BigDecimal::from(value), description.behind);
        return Ok(if value < 0 { text } else { format!(" {text}") });
    }
    let mut shifted = BigDecimal::from(value);
    if description.shifts {
        shifted *= power_of_ten(description.shift)?;
        description.before += description.shift;
    }
    let (units, _) = shifted.with_scale(0).into_bigint_and_scale();
    let mut text = units.magnitude().to_string();
    if description.behind > 0 {
        text.push('.');
        text.push_str(&"0".repeat(description.behind));
    }
    let digits = Digits::fitted(text, units.sign() == Sign::Minus, &description);
    Ok(write(&nodes, description, digits))
}

/// A numeric by a template.
///
/// # Errors
/// 42601 for a template that is none.
pub fn numeric(value: &Numeric, template: &str) -> SqlResult<String> {
    let NumberTemplate { nodes, mut description } = NumberTemplate::parse(template)?;
    let finite = match value {
        Numeric::Finite(value) => Some(value),
        _ => None,
    };
    if description.is_roman {
        let rounded = finite.map(|value| value.with_scale_round(0, RoundingMode::HalfUp));
        let rounded = rounded.and_then(|value| bigdecimal::ToPrimitive::to_i64(&value));
        return Ok(write(&nodes, description, roman_digits(rounded)));
    }
    if description.has_exponent {
        return Ok(match finite {
            None => no_exponential(&description),
            Some(value) => {
                let text = exponential(value, description.behind);
                if value.sign() == Sign::Minus { text } else { format!(" {text}") }
            }
        });
    }
    let Some(value) = finite else {
        let (text, is_negative) = match value {
            Numeric::NegativeInfinity => ("Infinity", true),
            Numeric::Infinity => ("Infinity", false),
            _ => ("NaN", false),
        };
        let digits = Digits::fitted(text.to_owned(), is_negative, &description);
        return Ok(write(&nodes, description, digits));
    };
    let mut shifted = value.clone();
    if description.shifts {
        shifted *= power_of_ten(description.shift)?;
        description.before += description.shift;
    }
    let scale = i64::try_from(description.behind).map_err(SqlError::internal)?;
    let rounded = shifted.with_scale_round(scale, RoundingMode::HalfUp);
    let is_negative = rounded.sign() == Sign::Minus;
    let digits = Digits::fitted(Numeric::Finite(rounded.abs()).to_string(), is_negative, &description);
    Ok(write(&nodes, description, digits))
}

/// A double, or a `float4` with six digits, by a template.
///
/// # Errors
/// 42601 for a template that is none.
pub fn float(value: f64, digits_max: usize, template: &str) -> SqlResult<String> {
    let NumberTemplate { nodes, mut description } = NumberTemplate::parse(template)?;
    if description.is_roman {
        let rounded = value.round_ties_even();
        let rounded = (rounded.abs() <= ROMAN_MAX as f64).then_some(rounded as i64);
        return Ok(write(&nodes, description, roman_digits(rounded)));
    }
    if description.has_exponent {
        if !value.is_finite() {
            return Ok(no_exponential(&description));
        }
        let text = c_exponential(value, description.behind);
        return Ok(if value.is_sign_negative() { text } else { format!(" {text}") });
    }
    let mut shifted = value;
    if description.shifts {
        shifted *= 10_f64.powi(i32::try_from(description.shift).map_err(SqlError::internal)?);
        description.before += description.shift;
    }
    let text = if shifted.is_nan() {
        "NaN".to_owned()
    } else if shifted.is_infinite() {
        "Infinity".to_owned()
    } else {
        let before = format!("{:.0}", shifted.abs()).len();
        if before >= digits_max {
            description.behind = 0;
        } else if before + description.behind > digits_max {
            description.behind = digits_max - before;
        }
        format!("{:.*}", description.behind, shifted.abs())
    };
    let is_negative = shifted.is_sign_negative() && !shifted.is_nan();
    let digits = Digits::fitted(text, is_negative, &description);
    Ok(write(&nodes, description, digits))
}

fn power_of_ten(power: usize) -> SqlResult<BigDecimal> {
    Ok(BigDecimal::new(1.into(), -i64::try_from(power).map_err(SqlError::internal)?))
}

/// `#` where there is no number to be written with an exponent.
fn no_exponential(description: &Description) -> String {
    let mut text = vec![b'#'; description.before + description.behind + 6];
    text[0] = b' ';
    if let Some(point) = text.get_mut(description.before + 1) {
        *point = b'.';
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// `1.50e+03`, with so many digits behind the point.
fn exponential(value: &BigDecimal, behind: usize) -> String {
    let (mut exponent, mut units) = (0_i64, value.clone());
    let scale = i64::try_from(behind).unwrap_or(i64::MAX);
    if !value.is_zero() {
        let digits = |it: &BigDecimal| i64::try_from(it.digits()).unwrap_or(0) - it.fractional_digit_count();
        exponent = digits(value) - 1;
        units = (value * BigDecimal::new(1.into(), exponent)).with_scale_round(scale, RoundingMode::HalfUp);
        // 9.99 may have been rounded to 10.
        if digits(&units) > 1 {
            exponent += 1;
            units =
                (value * BigDecimal::new(1.into(), exponent)).with_scale_round(scale, RoundingMode::HalfUp);
        }
    }
    let mantissa = Numeric::Finite(units.with_scale(scale)).to_string();
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// As C writes `%.*e`.
fn c_exponential(value: f64, behind: usize) -> String {
    let text = format!("{value:.behind$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn roman_digits(value: Option<i64>) -> Digits {
    let text = match value.filter(|value| (1..=ROMAN_MAX).contains(value)) {
        Some(value) => roman(value),
        None => "#".repeat(ROMAN_WIDTH),
    };
    Digits { text, blanks: 0, is_negative: false }
}

fn roman(mut value: i64) -> String {
    const NUMERALS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut out = String::new();
    for (number, numeral) in NUMERALS {
        while value >= number {
            out.push_str(numeral);
            value -= number;
        }
    }
    out
}

/// A number while it is written.
struct Writing<'a> {
    description: Description,
    digits: &'a Digits,
    out: String,
    /// The next character of the number.
    next: usize,
    /// Patterns of digits so far.
    place: usize,
    /// The place of the last digit; before the first, of a template that has none.
    place_last: Option<usize>,
    /// The last character that says something, where zeros at the end are left away.
    last_relevant: Option<usize>,
    sign_is_written: bool,
    /// A digit was written last.
    in_number: bool,
}

fn write(nodes: &[Node<Digit>], mut description: Description, digits: Digits) -> String {
    if description.is_roman {
        description = Description { is_roman: true, fills: description.fills, ..Description::default() };
    }
    let mut writing = Writing::new(description, &digits);
    for node in nodes {
        match node {
            Node::Pattern(digit, _) => writing.pattern(*digit),
            Node::Separator(it) | Node::Space(it) | Node::Character(it) => writing.out.push(*it),
        }
    }
    writing.out
}

impl<'a> Writing<'a> {
    fn new(mut description: Description, digits: &'a Digits) -> Writing<'a> {
        let is_negative = digits.is_negative;
        let sign_is_written = if description.has_plus || description.has_minus {
            // These write the sign themselves.
            !description.has_plus || description.has_minus
        } else {
            if !is_negative && description.has_bracket && description.fills {
                description.has_bracket = false;
            }
            if description.sign == SignPlace::Before && description.before == description.before_sign {
                description.sign = SignPlace::Behind;
            }
            !is_negative && description.fills && description.sign == SignPlace::None
        };
        let mut count = description.behind + description.before;
        let mut last_relevant = None;
        if description.fills && description.has_point {
            last_relevant = last_relevant_digit(&digits.text);
            if let Some(last) = last_relevant
                && description.zero_end > digits.blanks
            {
                let kept = (digits.text.len() - 1).min(description.zero_end - digits.blanks);
                last_relevant = Some(last.max(kept));
            }
        }
        if !sign_is_written && digits.blanks == 0 {
            count += 1;
        }
        Writing {
            description,
            digits,
            out: String::new(),
            next: 0,
            place: 0,
            place_last: count.checked_sub(1),
            last_relevant,
            sign_is_written,
            in_number: false,
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.digits.text.as_bytes().get(at).copied()
    }

    /// The last relevant character is the point itself.
    fn ends_at_point(&self) -> bool {
        self.last_relevant.is_some_and(|at| self.byte(at) == Some(b'.'))
    }

    /// `0.1` in `9.9` has no zero.
    fn is_zero_before_point(&self) -> bool {
        !self.description.has_zero
            && self.next == 0
            && self.byte(0) == Some(b'0')
            && self.description.behind != 0
    }

    fn unless_filled(&mut self, blank: char) {
        if !self.description.fills {
            self.out.push(blank);
        }
    }

    fn pattern(&mut self, digit: Digit) {
        let is_negative = self.digits.is_negative;
        match digit {
            Digit::Nine | Digit::Zero | Digit::Point | Digit::LocalePoint => self.digit(digit),
            Digit::Comma | Digit::Group if self.in_number => self.out.push(','),
            Digit::Comma | Digit::Group => self.unless_filled(' '),
            Digit::Currency => self.out.push(' '),
            Digit::Roman(case) => {
                let numeral = match case {
                    Case::Lower => self.digits.text.to_ascii_lowercase(),
                    _ => self.digits.text.clone(),
                };
                let width = if self.description.fills { 0 } else { ROMAN_WIDTH };
                self.out.push_str(&format!("{numeral:>width$}"));
            }
            Digit::Ordinal(case) => {
                let has_none = self.description.is_roman
                    || self.digits.text.starts_with('#')
                    || is_negative
                    || self.description.has_point;
                if !has_none {
                    let suffix = ordinal(&self.digits.text);
                    self.out.push_str(&match case {
                        Case::Upper => suffix.to_ascii_uppercase(),
                        _ => suffix.to_owned(),
                    });
                }
            }
            Digit::Minus if is_negative => self.out.push('-'),
            Digit::Plus if !is_negative => self.out.push('+'),
            Digit::Minus | Digit::Plus => self.unless_filled(' '),
            Digit::PlusMinus => self.out.push(if is_negative { '-' } else { '+' }),
            _ => {}
        }
    }

    fn digit(&mut self, digit: Digit) {
        if self.description.is_roman {
            return;
        }
        self.in_number = false;
        self.sign_before();
        let is_before_number = self.place < self.digits.blanks;
        let is_filled = self.description.has_zero && self.description.zero_start <= self.place;
        if is_before_number && !is_filled {
            self.unless_filled(' ');
        } else if is_before_number {
            self.out.push('0');
            self.in_number = true;
        } else {
            self.digit_of_number(digit);
        }
        self.sign_behind();
        self.place += 1;
    }

    fn digit_of_number(&mut self, digit: Digit) {
        match self.byte(self.next) {
            Some(b'.') => {
                if !self.ends_at_point() || self.description.fills {
                    self.out.push('.');
                }
            }
            // Zeros at the end.
            _ if self.last_relevant.is_some_and(|last| self.next > last) && digit != Digit::Zero => {}
            _ if self.is_zero_before_point() => {
                if !self.description.fills {
                    self.out.push(' ');
                } else if self.ends_at_point() {
                    self.out.push('0');
                }
            }
            Some(byte) => {
                self.out.push(char::from(byte));
                self.in_number = true;
            }
            None => self.in_number = true,
        }
        if self.next < self.digits.text.len() {
            self.next += 1;
        }
    }

    fn sign_before(&mut self) {
        let has_come = self.place >= self.digits.blanks
            || (self.description.has_zero && self.description.zero_start == self.place);
        if self.sign_is_written || !has_come || (self.is_zero_before_point() && !self.ends_at_point()) {
            return;
        }
        let is_negative = self.digits.is_negative;
        match self.description.sign {
            SignPlace::Before => self.out.push(if is_negative { '-' } else { '+' }),
            SignPlace::Behind => return,
            SignPlace::None if self.description.has_bracket => {
                self.out.push(if is_negative { '<' } else { ' ' });
            }
            SignPlace::None if is_negative => self.out.push('-'),
            SignPlace::None => self.unless_filled(' '),
        }
        self.sign_is_written = true;
    }

    fn sign_behind(&mut self) {
        let more = usize::from(self.digits.blanks > 0) + usize::from(self.description.has_point);
        let end = match self.place_last {
            _ if self.last_relevant == Some(self.next) => Some(self.place),
            Some(last) => Some(last + more),
            None => more.checked_sub(1),
        };
        if end != Some(self.place + 1) {
            return;
        }
        let is_negative = self.digits.is_negative;
        if self.sign_is_written && self.description.has_bracket {
            self.out.push(if is_negative { '>' } else { ' ' });
        } else if self.description.sign == SignPlace::Behind {
            self.out.push(if is_negative { '-' } else { '+' });
        }
    }
}

/// The last digit behind the point that is not 0, or the point.
fn last_relevant_digit(text: &str) -> Option<usize> {
    let point = text.find('.')?;
    let last = text.bytes().rposition(|byte| byte != b'0' && byte != b'.');
    Some(last.filter(|at| *at > point).unwrap_or(point))
}
