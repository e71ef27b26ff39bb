//! Where lines end, in text and in CSV.
//!
//! As in PostgreSQL, the first line says how all of them end: by a newline, by a carriage return, or by
//! both. What ends other lines is then no end but an error. A line of only `\.` ends the data. In text a
//! character after a backslash ends nothing; in CSV nothing does between quotes.

use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    Newline,
    Return,
    ReturnNewline,
}

/// The characters around fields of CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quotes {
    pub(crate) quote: u8,
    /// Before a quote within quotes, where it is another character.
    pub(crate) escape: Option<u8>,
}

/// Finds lines, however the data is cut.
#[derive(Debug)]
pub(crate) struct LineFinder {
    /// In CSV.
    quotes: Option<Quotes>,
    end: Option<LineEnd>,
    /// How far the line under way was looked at.
    scanned: usize,
    within_quotes: bool,
    after_escape: bool,
    /// Ends of lines within quotes.
    inner_lines: u64,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A line.
    Line {
        /// Where it ends.
        end: usize,
        /// Where the one after it starts.
        next: usize,
        /// How many lines it is, as they are counted in messages.
        lines: u64,
    },
    /// The mark that ends the data; before it on its line there may be something.
    Mark {
        /// Where the mark is.
        end: usize,
    },
    /// The end is not there yet.
    More,
}

/// What a backslash turned out to be.
enum Backslash {
    /// The start of the mark that ends the data.
    Mark,
    /// Nothing that matters here; so many bytes are read over.
    Skip(usize),
    /// What follows it is not there yet.
    More,
}

impl LineFinder {
    pub(crate) fn new(quotes: Option<Quotes>) -> LineFinder {
        LineFinder {
            quotes,
            end: None,
            scanned: 0,
            within_quotes: false,
            after_escape: false,
            inner_lines: 0,
        }
    }

    /// The line that starts at `start`. At the end of the data it may be one without an end.
    ///
    /// # Errors
    /// It does not end as those before it do.
    pub(crate) fn next(&mut self, data: &[u8], start: usize, at_end: bool) -> SqlResult<Found> {
        let mut at = start + self.scanned;
        loop {
            // A backslash at the very end of the data stands before nothing.
            at += self.boring(data.get(at..).unwrap_or_default());
            let Some(byte) = data.get(at).copied() else { break };
            if byte == b'\r' && at + 1 == data.len() && !at_end {
                break;
            }
            self.note_quotes(byte);
            match byte {
                b'\r' | b'\n' if !self.within_quotes => {
                    let next = self.end_of_line(data, at)?;
                    return Ok(self.found(Found::Line { end: at, next, lines: 1 }));
                }
                b'\\' if self.quotes.is_none() || at == start => {
                    match self.backslash(&data[at + 1..], at_end)? {
                        Backslash::Mark => return Ok(self.found(Found::Mark { end: at })),
                        Backslash::Skip(count) => at += count,
                        Backslash::More => {
                            self.forget(byte);
                            break;
                        }
                    }
                }
                _ => {}
            }
            at += 1;
        }
        let at = at.min(data.len());
        if at_end && at > start {
            return Ok(self.found(Found::Line { end: at, next: at, lines: 1 }));
        }
        self.scanned = at - start;
        Ok(Found::More)
    }

    fn found(&mut self, mut found: Found) -> Found {
        if let Found::Line { lines, .. } = &mut found {
            *lines += self.inner_lines;
        }
        (self.scanned, self.inner_lines) = (0, 0);
        (self.within_quotes, self.after_escape) = (false, false);
        found
    }

    /// How many lines are counted besides the one under way, so far.
    pub(crate) fn inner_lines(&self) -> u64 {
        self.inner_lines
    }

    /// How many bytes come before the next that may matter.
    fn boring(&self, data: &[u8]) -> usize {
        let found = match self.quotes {
            None => memchr::memchr3(b'\n', b'\r', b'\\', data),
            Some(_) if self.scanned == 0 && data.first() == Some(&b'\\') => Some(0),
            Some(_) if self.after_escape => Some(0),
            Some(Quotes { quote, escape: Some(escape) }) if self.within_quotes => {
                let line = memchr::memchr2(b'\n', b'\r', data);
                let special = memchr::memchr2(quote, escape, data);
                line.into_iter().chain(special).min()
            }
            Some(Quotes { quote, .. }) => memchr::memchr3(b'\n', b'\r', quote, data),
        };
        found.unwrap_or(data.len())
    }

    fn note_quotes(&mut self, byte: u8) {
        let Some(Quotes { quote, escape }) = self.quotes else { return };
        if self.within_quotes && Some(byte) == escape {
            self.after_escape = !self.after_escape;
        }
        if byte == quote && !self.after_escape {
            self.within_quotes = !self.within_quotes;
        }
        if Some(byte) != escape {
            self.after_escape = false;
        }
        let counted = if self.end == Some(LineEnd::Newline) { b'\n' } else { b'\r' };
        if self.within_quotes && byte == counted {
            self.inner_lines += 1;
        }
    }

    /// Takes back what [`LineFinder::note_quotes`] made of a backslash that is looked at again.
    fn forget(&mut self, byte: u8) {
        if let Some(Quotes { quote, escape }) = self.quotes {
            // It is the first of its line, so nothing was open before it.
            debug_assert!(byte == b'\\');
            if byte == quote || Some(byte) == escape {
                (self.within_quotes, self.after_escape) = (false, false);
            }
        }
    }

    /// Where the line after this one starts, if the byte ends lines as it should.
    fn end_of_line(&mut self, data: &[u8], at: usize) -> SqlResult<usize> {
        let with_newline = data[at] == b'\r' && data.get(at + 1) == Some(&b'\n');
        let end = match data[at] {
            b'\n' => LineEnd::Newline,
            // Where lines end by a carriage return alone, a newline after it starts the next one.
            _ if with_newline && self.end != Some(LineEnd::Return) => LineEnd::ReturnNewline,
            _ => LineEnd::Return,
        };
        if *self.end.get_or_insert(end) != end {
            return Err(self.literal_end(data[at] == b'\r'));
        }
        Ok(if end == LineEnd::ReturnNewline { at + 2 } else { at + 1 })
    }

    fn literal_end(&self, is_return: bool) -> SqlError {
        let (name, escape) = if is_return { ("carriage return", "\\r") } else { ("newline", "\\n") };
        let (kind, hint) = match self.quotes {
            None => ("literal", format!("Use \"{escape}\" to represent {name}.")),
            Some(_) => ("unquoted", format!("Use quoted CSV field to represent {name}.")),
        };
        SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, format!("{kind} {name} found in data")).with_hint(hint)
    }

    /// Looks at what follows a backslash. In CSV only a line of nothing but the mark is one.
    fn backslash(&self, after: &[u8], at_end: bool) -> SqlResult<Backslash> {
        let is_csv = self.quotes.is_some();
        let Some((first, mut rest)) = after.split_first() else {
            return Ok(if at_end { Backslash::Skip(1) } else { Backslash::More });
        };
        if *first != b'.' {
            return Ok(Backslash::Skip(usize::from(!is_csv)));
        }
        // At the end of the data PostgreSQL finds a zero byte.
        let peek = |rest: &[u8]| match rest.first() {
            Some(byte) => Some(*byte),
            None if at_end => Some(0),
            None => None,
        };
        let wrong = |message: &str| match is_csv {
            true => Ok(Backslash::Skip(0)),
            false => Err(SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message)),
        };
        let corrupt = "end-of-copy marker corrupt";
        let mismatch = "end-of-copy marker does not match previous newline style";
        if self.end == Some(LineEnd::ReturnNewline) {
            match peek(rest) {
                None => return Ok(Backslash::More),
                Some(b'\n') => return wrong(mismatch),
                Some(b'\r') => rest = &rest[1..],
                Some(_) => return wrong(corrupt),
            }
        }
        let expected = match self.end {
            None => None,
            Some(LineEnd::Return) => Some(b'\r'),
            Some(LineEnd::Newline | LineEnd::ReturnNewline) => Some(b'\n'),
        };
        match peek(rest) {
            None => Ok(Backslash::More),
            Some(b'\r' | b'\n') if expected.is_none() || peek(rest) == expected => Ok(Backslash::Mark),
            Some(b'\r' | b'\n') => Err(SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, mismatch)),
            Some(_) => wrong(corrupt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: Option<Quotes> = Some(Quotes { quote: b'"', escape: None });

    /// The lines of some data, given in two parts; an error as its message.
    fn lines(quotes: Option<Quotes>, data: &str, cut: usize) -> Vec<String> {
        let (mut finder, mut found, mut start) = (LineFinder::new(quotes), Vec::new(), 0);
        for (part, at_end) in [(&data[..cut], false), (data, true)] {
            loop {
                match finder.next(part.as_bytes(), start, at_end) {
                    Ok(Found::Line { end, next, lines }) => {
                        found.push(format!("{lines} {:?}", &part[start..end]));
                        start = next;
                    }
                    Ok(Found::Mark { end }) => {
                        found.push(format!("mark {:?}", &part[start..end]));
                        return found;
                    }
                    Ok(Found::More) => break,
                    Err(error) => {
                        found.push(error.message().to_owned());
                        return found;
                    }
                }
            }
        }
        found
    }

    fn check(quotes: Option<Quotes>, data: &str, expected: &[&str]) {
        for cut in (0..=data.len()).filter(|cut| data.is_char_boundary(*cut)) {
            assert_eq!(lines(quotes, data, cut), expected, "{data:?} cut at {cut}");
        }
    }

    #[test]
    fn lines_of_text_end_as_the_first_does() {
        check(None, "a\nb\\\nc\nd", &["1 \"a\"", "1 \"b\\\\\\nc\"", "1 \"d\""]);
        check(None, "a\r\nb\r\n", &["1 \"a\"", "1 \"b\""]);
        check(None, "a\rb\r", &["1 \"a\"", "1 \"b\""]);
        check(None, "a\nb\rc\n", &["1 \"a\"", "literal carriage return found in data"]);
        check(None, "a\r\nb\n", &["1 \"a\"", "literal newline found in data"]);
        check(None, "a\r\nb\rc", &["1 \"a\"", "literal carriage return found in data"]);
        check(None, "\n\n", &["1 \"\"", "1 \"\""]);
        check(None, "a\\", &["1 \"a\\\\\""]);
    }

    #[test]
    fn the_mark_ends_the_data() {
        check(None, "a\n\\.\nb\n", &["1 \"a\"", "mark \"\""]);
        check(None, "\\.\n", &["mark \"\""]);
        check(None, "a\\.\nb", &["mark \"a\""]);
        check(None, "a\n\\.b\n", &["1 \"a\"", "end-of-copy marker corrupt"]);
        check(None, "a\n\\.", &["1 \"a\"", "end-of-copy marker corrupt"]);
        let mismatch = "end-of-copy marker does not match previous newline style";
        check(None, "a\n\\.\r\n", &["1 \"a\"", mismatch]);
        check(None, "a\r\n\\.\n", &["1 \"a\"", mismatch]);
        check(None, "a\r\n\\.\r\n", &["1 \"a\"", "mark \"\""]);
        check(CSV, "a\n\\.\nb\n", &["1 \"a\"", "mark \"\""]);
        check(CSV, "a\n\\.b\nb\\.\n", &["1 \"a\"", "1 \"\\\\.b\"", "1 \"b\\\\.\""]);
    }

    #[test]
    fn lines_of_csv_end_outside_quotes() {
        check(CSV, "a,\"b\n\"\"c\"\nd\n", &["1 \"a,\\\"b\\n\\\"\\\"c\\\"\"", "1 \"d\""]);
        check(CSV, "x\na,\"b\n\n\"\nd", &["1 \"x\"", "3 \"a,\\\"b\\n\\n\\\"\"", "1 \"d\""]);
        check(CSV, "a\nb\rc\n", &["1 \"a\"", "unquoted carriage return found in data"]);
        check(CSV, "a\n\"b\rc\"\n", &["1 \"a\"", "1 \"\\\"b\\rc\\\"\""]);
        check(CSV, "a\n\"b\nc", &["1 \"a\"", "2 \"\\\"b\\nc\""]);
        let escaped = Some(Quotes { quote: b'"', escape: Some(b'\\') });
        check(escaped, "\"a\\\"\n\\\\\"\nb\n", &["1 \"\\\"a\\\\\\\"\\n\\\\\\\\\\\"\"", "1 \"b\""]);
    }
}
