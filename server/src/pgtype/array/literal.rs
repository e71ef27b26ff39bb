//! Taking the text of an array apart.
//!
//! Quotes, escapes and braces are followed by what was before them, as PostgreSQL does, so that its
//! complaints are the same: a `State` says what may come next.

use super::{ArrayLiteral, DIMENSIONS_MAX, element_count, malformed, too_many_dimensions};
use crate::error::{SqlError, SqlResult};
use crate::pgtype::boolean::{is_space, is_space_byte};
use crate::pgtype::datum::Dimension;
use crate::sqlstate;

const UNEVEN: &str = "Multidimensional arrays must have sub-arrays with matching dimensions.";

/// Takes the text of an array apart.
pub fn parse(text: &str) -> SqlResult<ArrayLiteral> {
    let (declared, rest) = declared_dimensions(text)?;
    let is_declared = !declared.is_empty();
    let contents = match is_declared {
        true => rest
            .strip_prefix('=')
            .ok_or_else(|| malformed(text, "Missing \"=\" after array dimensions."))?
            .trim_start_matches(is_space),
        false => rest,
    };
    if !contents.starts_with('{') {
        return Err(malformed(
            text,
            match is_declared {
                true => "Array contents must start with \"{\".",
                false => "Array value must start with \"{\" or dimension information.",
            },
        ));
    }
    let mut reader = Reader::new(contents);
    reader.read()?;
    if !reader.is_even {
        return Err(malformed(text, UNEVEN));
    }
    let lengths = reader.lengths();
    let dimensions = if !is_declared {
        lengths.iter().map(|length| Dimension { length: *length, lower_bound: 1 }).collect()
    } else if declared.iter().map(|dimension| dimension.length).eq(lengths) {
        declared
    } else {
        return Err(malformed(text, "Specified array dimensions do not match array contents."));
    };
    if element_count(&dimensions)? != reader.elements.len() {
        return Err(malformed(text, UNEVEN));
    }
    Ok(ArrayLiteral { dimensions, elements: reader.elements })
}

/// Reads `[lower:upper]` and `[length]`, as often as there is one.
fn declared_dimensions(text: &str) -> SqlResult<(Vec<Dimension>, &str)> {
    let mut dimensions = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while let Some(after) = rest.strip_prefix('[') {
        if dimensions.len() == DIMENSIONS_MAX {
            return Err(too_many_dimensions(DIMENSIONS_MAX + 1));
        }
        let (first, after) = bound(after)
            .ok_or_else(|| malformed(text, "\"[\" must introduce explicitly-specified array dimensions."))?;
        let (lower_bound, upper_bound, after) = match after.strip_prefix(':') {
            Some(second) => {
                let (upper, after) =
                    bound(second).ok_or_else(|| malformed(text, "Missing array dimension value."))?;
                (first, upper, after)
            }
            None => (1, first, after),
        };
        rest = after
            .strip_prefix(']')
            .ok_or_else(|| malformed(text, "Missing \"]\" after array dimensions."))?
            .trim_start_matches(is_space);
        if upper_bound < lower_bound {
            let message = "upper bound cannot be less than lower bound";
            return Err(SqlError::new(sqlstate::ARRAY_SUBSCRIPT_ERROR, message));
        }
        let length = i64::from(upper_bound) - i64::from(lower_bound) + 1;
        let length = i32::try_from(length).unwrap_or(i32::MAX);
        dimensions.push(Dimension { length, lower_bound });
    }
    Ok((dimensions, rest))
}

/// Reads digits and signs as C's `atoi` does.
fn bound(text: &str) -> Option<(i32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '-' && c != '+').unwrap_or(text.len());
    if end == 0 {
        return None;
    }
    let (number, rest) = text.split_at(end);
    let (is_negative, digits) = match number.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let value = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0_i64, |value, byte| value.saturating_mul(10).saturating_add(i64::from(byte - b'0')));
    Some(((if is_negative { -value } else { value }) as i32, rest))
}

/// What was last before the character that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Opened,
    Element,
    Quoted,
    QuotedDone,
    ElementDelimiter,
    Closed,
    LevelDelimiter,
}

struct Reader<'a> {
    /// The text from the first brace on, which is what complaints about it show.
    contents: &'a str,
    rest: &'a [u8],
    state: State,
    /// How many elements or arrays each open level has so far.
    counts: Vec<i32>,
    /// How many the closed ones of each level had.
    lengths: [Option<i32>; DIMENSIONS_MAX],
    depth_max: usize,
    /// The level of the first element, and whether all others are on it.
    element_depth: Option<usize>,
    is_even: bool,
    element: Vec<u8>,
    /// How much of the element stays when blanks at its end are cut off.
    kept_len: usize,
    /// Whether the element has quotes or escapes, so that it is not NULL.
    is_literal: bool,
    elements: Vec<Option<String>>,
}

impl<'a> Reader<'a> {
    fn new(contents: &'a str) -> Reader<'a> {
        Reader {
            contents,
            rest: contents.as_bytes(),
            state: State::Start,
            counts: Vec::new(),
            lengths: [None; DIMENSIONS_MAX],
            depth_max: 0,
            element_depth: None,
            is_even: true,
            element: Vec::new(),
            kept_len: 0,
            is_literal: false,
            elements: Vec::new(),
        }
    }

    fn lengths(&self) -> Vec<i32> {
        if self.elements.is_empty() {
            return Vec::new();
        }
        self.lengths[..self.depth_max].iter().map(|length| length.unwrap_or(0)).collect()
    }

    fn malformed(&self, detail: impl Into<String>) -> SqlError {
        malformed(self.contents, detail)
    }

    fn expect(&self, before: &[State], detail: &str) -> SqlResult<()> {
        if before.contains(&self.state) { Ok(()) } else { Err(self.malformed(detail)) }
    }

    fn read(&mut self) -> SqlResult<()> {
        loop {
            let Some(byte) = self.take() else {
                return Err(self.malformed("Unexpected end of input."));
            };
            match byte {
                b'\\' => self.escape()?,
                b'"' => self.quote()?,
                _ if self.state == State::Quoted => self.keep(byte),
                b'{' => self.open()?,
                b'}' => {
                    self.close()?;
                    if self.counts.is_empty() {
                        break;
                    }
                }
                b',' => self.delimiter()?,
                _ if is_space_byte(byte) => self.space(byte),
                _ => {
                    let before = [State::Opened, State::Element, State::ElementDelimiter];
                    self.expect(&before, "Unexpected array element.")?;
                    self.state = State::Element;
                    self.keep(byte);
                }
            }
        }
        match self.rest.iter().all(|byte| is_space_byte(*byte)) {
            true => Ok(()),
            false => Err(self.malformed("Junk after closing right brace.")),
        }
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn keep(&mut self, byte: u8) {
        self.element.push(byte);
        self.kept_len = self.element.len();
    }

    /// Blanks count only between other characters of an element.
    fn space(&mut self, byte: u8) {
        if self.state == State::Element {
            self.element.push(byte);
        }
    }

    fn escape(&mut self) -> SqlResult<()> {
        let before = [State::Opened, State::Element, State::Quoted, State::ElementDelimiter];
        self.expect(&before, "Unexpected \"\\\" character.")?;
        if self.state != State::Quoted {
            self.state = State::Element;
        }
        let Some(escaped) = self.take() else {
            return Err(self.malformed("Unexpected end of input."));
        };
        self.is_literal = true;
        self.keep(escaped);
        Ok(())
    }

    fn quote(&mut self) -> SqlResult<()> {
        self.expect(&[State::Opened, State::Quoted, State::ElementDelimiter], "Unexpected array element.")?;
        self.is_literal = true;
        self.state = if self.state == State::Quoted { State::QuotedDone } else { State::Quoted };
        Ok(())
    }

    fn open(&mut self) -> SqlResult<()> {
        let before = [State::Start, State::Opened, State::LevelDelimiter];
        self.expect(&before, "Unexpected \"{\" character.")?;
        if self.counts.len() == DIMENSIONS_MAX {
            return Err(too_many_dimensions(DIMENSIONS_MAX + 1));
        }
        self.state = State::Opened;
        self.counts.push(0);
        self.depth_max = self.depth_max.max(self.counts.len());
        Ok(())
    }

    fn close(&mut self) -> SqlResult<()> {
        let is_empty_array = self.counts.len() == 1 && self.state == State::Opened;
        if !is_empty_array {
            let before = [State::Element, State::QuotedDone, State::Closed];
            self.expect(&before, "Unexpected \"}\" character.")?;
            self.end_element()?;
        }
        self.state = State::Closed;
        let count = self.counts.pop().unwrap_or(0);
        let level = self.counts.len();
        if self.lengths[level].is_some_and(|length| length != count) {
            return Err(self.malformed(UNEVEN));
        }
        self.lengths[level] = Some(count);
        if let Some(outer) = self.counts.last_mut() {
            *outer += 1;
        }
        Ok(())
    }

    fn delimiter(&mut self) -> SqlResult<()> {
        self.expect(&[State::Element, State::QuotedDone, State::Closed], "Unexpected \",\" character.")?;
        if self.state == State::Closed {
            self.state = State::LevelDelimiter;
            return Ok(());
        }
        self.end_element()?;
        self.state = State::ElementDelimiter;
        Ok(())
    }

    fn end_element(&mut self) -> SqlResult<()> {
        if self.state == State::Closed {
            return Ok(());
        }
        let depth = self.counts.len();
        self.is_even &= *self.element_depth.get_or_insert(depth) == depth;
        let mut bytes = std::mem::take(&mut self.element);
        bytes.truncate(self.kept_len);
        self.kept_len = 0;
        let is_null = !self.is_literal && bytes.eq_ignore_ascii_case(b"null");
        self.is_literal = false;
        // Escapes and delimiters are single bytes of ASCII, so characters stay whole.
        let text = String::from_utf8(bytes).map_err(|_| self.malformed("Unexpected array element."))?;
        self.elements.push((!is_null).then_some(text));
        if let Some(count) = self.counts.last_mut() {
            *count += 1;
        }
        Ok(())
    }
}
