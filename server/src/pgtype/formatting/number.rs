//! Templates of numbers: what their patterns ask for together.

use super::template::{Case, Node, parse_numbers};
use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// A pattern of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digit {
    /// `,`
    Comma,
    /// `.`
    Point,
    /// `0`
    Zero,
    /// `9`
    Nine,
    /// `B`
    Blank,
    /// `D`
    LocalePoint,
    /// `EEEE`
    Exponent,
    /// `FM`
    Fill,
    /// `G`
    Group,
    /// `L`
    Currency,
    /// `MI`
    Minus,
    /// `PL`
    Plus,
    /// `PR`
    Bracket,
    /// `RN`
    Roman(Case),
    /// `SG`
    PlusMinus,
    /// `S`
    Sign,
    /// `TH`
    Ordinal(Case),
    /// `V`
    Shift,
    /// `C` and `SP`, which are known and mean nothing
    Other,
}

/// Where the sign of `S` stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignPlace {
    /// There is none.
    #[default]
    None,
    /// Before the number.
    Before,
    /// Behind it.
    Behind,
}

/// What the patterns of a template ask for.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// Digits before the point.
    pub before: usize,
    /// Digits behind it.
    pub behind: usize,
    /// Where `S` puts the sign.
    pub sign: SignPlace,
    /// How many digits stood before `S`.
    pub before_sign: usize,
    /// Digits by which `V` shifts.
    pub shift: usize,
    /// The first place that is filled with zeros.
    pub zero_start: usize,
    /// The last place with a `0`.
    pub zero_end: usize,
    /// There is a point.
    pub has_point: bool,
    /// `FM`
    pub fills: bool,
    /// `0`
    pub has_zero: bool,
    /// `B`
    pub is_blank: bool,
    /// `PR`
    pub has_bracket: bool,
    /// `MI` or `SG`
    pub has_minus: bool,
    /// `PL` or `SG`
    pub has_plus: bool,
    /// `RN`
    pub is_roman: bool,
    /// `V`
    pub shifts: bool,
    /// `EEEE`
    pub has_exponent: bool,
}

/// A template of a number with what it asks for.
#[derive(Clone, Debug)]
pub struct NumberTemplate {
    /// Its parts.
    pub nodes: Vec<Node<Digit>>,
    /// What they ask for.
    pub description: Description,
}

fn syntax(message: &str) -> SqlError {
    SqlError::new(sqlstate::SYNTAX_ERROR, message)
}

impl NumberTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// 42601 where its patterns do not go together.
    pub fn parse(text: &str) -> SqlResult<NumberTemplate> {
        let nodes = parse_numbers(text);
        let mut description = Description::default();
        for node in &nodes {
            if let Node::Pattern(digit, _) = node {
                description.add(*digit)?;
            }
        }
        Ok(NumberTemplate { nodes, description })
    }
}

impl Description {
    fn has_sign(&self) -> bool {
        self.sign != SignPlace::None
    }

    fn add(&mut self, digit: Digit) -> SqlResult<()> {
        if self.has_exponent && digit != Digit::Exponent {
            return Err(syntax("\"EEEE\" must be the last pattern used"));
        }
        match digit {
            Digit::Nine if self.has_bracket => return Err(syntax("\"9\" must be ahead of \"PR\"")),
            Digit::Nine if self.shifts => self.shift += 1,
            Digit::Nine if self.has_point => self.behind += 1,
            Digit::Nine => self.before += 1,
            Digit::Zero if self.has_bracket => return Err(syntax("\"0\" must be ahead of \"PR\"")),
            Digit::Zero => {
                if !self.has_zero && !self.has_point {
                    self.has_zero = true;
                    self.zero_start = self.before;
                }
                *(if self.has_point { &mut self.behind } else { &mut self.before }) += 1;
                self.zero_end = self.before + self.behind;
            }
            Digit::Blank => self.is_blank |= self.before == 0 && self.behind == 0 && !self.has_zero,
            Digit::Point | Digit::LocalePoint => {
                if self.has_point {
                    return Err(syntax("multiple decimal points"));
                }
                if self.shifts {
                    return Err(syntax("cannot use \"V\" and decimal point together"));
                }
                self.has_point = true;
            }
            Digit::Fill => self.fills = true,
            Digit::Roman(_) => self.is_roman = true,
            Digit::Shift if self.has_point => {
                return Err(syntax("cannot use \"V\" and decimal point together"));
            }
            Digit::Shift => self.shifts = true,
            Digit::Exponent => self.add_exponent()?,
            Digit::Sign | Digit::Minus | Digit::Plus | Digit::PlusMinus | Digit::Bracket => {
                self.add_sign(digit)?;
            }
            Digit::Comma | Digit::Group | Digit::Currency | Digit::Ordinal(_) | Digit::Other => {}
        }
        Ok(())
    }

    fn add_sign(&mut self, digit: Digit) -> SqlResult<()> {
        let name = match digit {
            Digit::Minus => "MI",
            Digit::Plus => "PL",
            _ => "SG",
        };
        match digit {
            Digit::Sign => {
                if self.has_sign() {
                    return Err(syntax("cannot use \"S\" twice"));
                }
                if self.has_plus || self.has_minus || self.has_bracket {
                    return Err(syntax("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
                }
                if self.has_point {
                    self.sign = SignPlace::Behind;
                } else {
                    self.sign = SignPlace::Before;
                    self.before_sign = self.before;
                }
            }
            Digit::Bracket => {
                if self.has_sign() || self.has_plus || self.has_minus {
                    return Err(syntax("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together"));
                }
                self.has_bracket = true;
            }
            _ if self.has_sign() => {
                return Err(syntax(&format!("cannot use \"S\" and \"{name}\" together")));
            }
            _ => {
                self.has_minus |= digit != Digit::Plus;
                self.has_plus |= digit != Digit::Minus;
            }
        }
        Ok(())
    }

    fn add_exponent(&mut self) -> SqlResult<()> {
        if self.has_exponent {
            return Err(syntax("cannot use \"EEEE\" twice"));
        }
        let others = [
            self.is_blank,
            self.fills,
            self.has_sign(),
            self.has_bracket,
            self.has_minus,
            self.has_plus,
            self.is_roman,
            self.shifts,
        ];
        if others.contains(&true) {
            return Err(syntax("\"EEEE\" is incompatible with other formats")
                .with_detail("\"EEEE\" may only be used together with digit and decimal point patterns."));
        }
        self.has_exponent = true;
        Ok(())
    }
}
