//! Numbers read by a template.

use super::number::{Digit, NumberTemplate, SignPlace};
use super::template::Node;
use crate::error::{SqlError, SqlResult};
use crate::pgtype::numeric::Numeric;
use crate::pgtype::types::TYPMOD_HEADER;
use crate::sqlstate;

/// Reads a text by a template; an empty template gives nothing.
///
/// # Errors
/// 42601 for a template that is none, 22P02 for a text without a number.
pub fn read(text: &str, template: &str) -> SqlResult<Option<Numeric>> {
    if template.is_empty() {
        return Ok(None);
    }
    let template = NumberTemplate::parse(template)?;
    for (is_used, name) in
        [(template.description.is_roman, "RN"), (template.description.has_exponent, "EEEE")]
    {
        if is_used {
            let message = format!("\"{name}\" not supported for input");
            return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
    }
    let mut reading = Reading {
        template: &template,
        text: text.as_bytes(),
        at: 0,
        sign: b' ',
        digits: Vec::new(),
        before: 0,
        behind: 0,
        has_point: false,
    };
    for node in &template.nodes {
        if reading.is_at_end() {
            break;
        }
        reading.node(node);
    }
    let Reading { sign, mut digits, behind, .. } = reading;
    if digits.last() == Some(&b'.') {
        digits.pop();
    }
    let mut written = vec![sign];
    written.extend(digits);
    let written = String::from_utf8_lossy(&written).into_owned();
    let description = &template.description;
    let scale = i32::try_from(behind).map_err(SqlError::internal)?;
    let precision =
        i32::try_from(description.before + description.shift).map_err(SqlError::internal)? + scale;
    let typmod = ((precision << 16) | scale) + TYPMOD_HEADER;
    let value = Numeric::parse(&written, typmod)?;
    Ok(Some(match value {
        Numeric::Finite(value) if description.shifts => {
            let shift = i64::try_from(description.shift).map_err(SqlError::internal)?;
            let (units, scale) = value.into_bigint_and_scale();
            Numeric::Finite(bigdecimal::BigDecimal::new(units, scale + shift))
        }
        value => value,
    }))
}

/// A text while it is read.
struct Reading<'a> {
    template: &'a NumberTemplate,
    text: &'a [u8],
    at: usize,
    /// A blank until a sign was read.
    sign: u8,
    /// Digits and the point.
    digits: Vec<u8>,
    before: usize,
    behind: usize,
    has_point: bool,
}

impl Reading<'_> {
    fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    fn byte(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// Over one character of the text.
    fn skip_character(&mut self) {
        self.at += 1;
        while self.text.get(self.at).is_some_and(|byte| byte & 0xC0 == 0x80) {
            self.at += 1;
        }
    }

    /// Over so many characters that no number has.
    fn skip_others(&mut self, count: usize) {
        for _ in 0..count {
            if self.is_at_end() || b"0123456789.,+-".contains(&self.byte()) {
                return;
            }
            self.skip_character();
        }
    }

    fn node(&mut self, node: &Node<Digit>) {
        let Node::Pattern(digit, _) = node else { return self.skip_character() };
        match digit {
            Digit::Nine | Digit::Zero | Digit::Point | Digit::LocalePoint => {
                self.digit(*digit);
                self.at += 1;
            }
            // Nothing counts as within the number while one is read.
            Digit::Comma | Digit::Group if !self.template.description.fills && self.byte() == b',' => {
                self.at += 1;
            }
            Digit::Comma | Digit::Group => {}
            Digit::Currency => self.skip_others(1),
            Digit::Ordinal(_) => self.skip_others(2),
            Digit::Minus | Digit::Plus | Digit::PlusMinus => {
                let wanted: &[u8] = match digit {
                    Digit::Minus => b"-",
                    Digit::Plus => b"+",
                    _ => b"+-",
                };
                if wanted.contains(&self.byte()) {
                    self.sign = self.byte();
                    self.at += 1;
                } else {
                    self.skip_others(1);
                }
            }
            _ => {}
        }
    }

    /// Reads a digit or the point. What was read last is left to be passed over by the caller.
    fn digit(&mut self, digit: Digit) {
        if self.byte() == b' ' {
            self.at += 1;
        }
        if self.is_at_end() {
            return;
        }
        if self.sign == b' ' && matches!(digit, Digit::Zero | Digit::Nine) && self.before + self.behind == 0 {
            self.sign_before();
        }
        if self.is_at_end() {
            return;
        }
        let mut is_read = false;
        if self.byte().is_ascii_digit() {
            if self.has_point && self.behind == self.template.description.behind {
                return;
            }
            self.digits.push(self.byte());
            *(if self.has_point { &mut self.behind } else { &mut self.before }) += 1;
            is_read = true;
        } else if self.template.description.has_point && !self.has_point && self.byte() == b'.' {
            self.digits.push(b'.');
            self.has_point = true;
            is_read = true;
        }
        if self.sign == b' ' && self.before + self.behind > 0 {
            self.sign_behind(is_read);
        }
    }

    fn sign_before(&mut self) {
        let description = &self.template.description;
        let byte = self.byte();
        if byte == b'-' || (description.has_bracket && byte == b'<') {
            self.sign = b'-';
            self.at += 1;
        } else if byte == b'+' {
            self.sign = b'+';
            self.at += 1;
        }
    }

    /// Where exactly a sign behind the number stands cannot be told from the template.
    fn sign_behind(&mut self, is_read: bool) {
        let description = &self.template.description;
        if description.sign != SignPlace::None {
            let next = self.text.get(self.at + 1).copied();
            if is_read && let Some(sign @ (b'+' | b'-')) = next {
                self.sign = sign;
                self.at += 1;
            }
        } else if !is_read && !description.has_plus && !description.has_minus {
            let byte = self.byte();
            if byte == b'-' || byte == b'+' {
                self.sign = byte;
            }
        }
    }
}
