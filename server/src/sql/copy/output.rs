//! COPY TO: rows as lines or as binary rows.

use bytes::{BufMut, BytesMut};

use crate::error::{SqlError, SqlResult};
use crate::pgtype::binary::write_field;
use crate::pgtype::datum::Datum;
use crate::pgtype::encode::{ColumnEncoder, Format};
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::text::write_text;
use crate::session::field::Fields;
use crate::session::outcome::RowSource;
use crate::sql::copy::options::{Columns, CopyFormat, Header, Layout};
use crate::sql::copy::{binary, csv, text};

/// A COPY TO under way.
#[derive(Debug)]
pub struct CopyOut {
    /// Its columns.
    pub fields: Fields,
    /// Its rows.
    pub rows: RowSource,
    writer: RowWriter,
}

/// Writes rows.
#[derive(Debug)]
pub struct RowWriter {
    format: CopyFormat,
    fields: Fields,
    /// Columns that are quoted in any case, by place.
    force_quote: Vec<bool>,
    /// What comes before the first row was not written yet.
    is_new: bool,
    /// For a value or a line that cannot be written where it belongs at once.
    scratch: BytesMut,
}

impl CopyOut {
    /// Copies rows with these columns.
    ///
    /// # Errors
    /// An option names a column that there is not.
    pub fn new(
        fields: Fields,
        rows: RowSource,
        format: CopyFormat,
        columns: &Columns<'_>,
    ) -> SqlResult<CopyOut> {
        let force_quote = format.force_quote.flags("FORCE_QUOTE", columns)?;
        let writer = RowWriter {
            format,
            fields: Fields::clone(&fields),
            force_quote,
            is_new: true,
            scratch: BytesMut::new(),
        };
        Ok(CopyOut { fields, rows, writer })
    }

    /// The kind of file.
    pub fn layout(&self) -> Layout {
        self.writer.format.layout
    }

    /// The rows, and what writes them.
    pub fn parts(&mut self) -> (&mut RowSource, &mut RowWriter) {
        (&mut self.rows, &mut self.writer)
    }
}

impl RowWriter {
    /// Writes the line that names the columns; false where none is wanted.
    ///
    /// # Errors
    /// A name cannot be written in the file's encoding.
    pub fn write_header(&mut self, output: &mut BytesMut) -> SqlResult<bool> {
        if self.format.header == Header::Absent {
            return Ok(false);
        }
        self.line(output, |writer, line| {
            for (at, field) in writer.fields.iter().enumerate() {
                writer.write_delimiter(at, line);
                let name = field.name.as_bytes();
                match writer.format.layout {
                    Layout::Csv => {
                        csv::write_value(&writer.format, name, false, writer.fields.len() == 1, line)
                    }
                    _ => text::write_value(&writer.format, name, line),
                }
            }
            Ok(())
        })?;
        Ok(true)
    }

    /// Writes what ends the file; false where nothing does.
    pub fn write_end(&mut self, output: &mut BytesMut) -> bool {
        if self.format.layout != Layout::Binary {
            return false;
        }
        self.write_start(output);
        binary::write_trailer(output);
        true
    }

    /// A binary file starts in the message of its first row.
    fn write_start(&mut self, output: &mut BytesMut) {
        if std::mem::take(&mut self.is_new) {
            binary::write_header(output);
        }
    }

    /// The form of values in the file.
    pub fn value_format(&self) -> Format {
        if self.format.layout == Layout::Binary { Format::Binary } else { Format::Text }
    }

    /// Writes a row of single values.
    ///
    /// # Errors
    /// A value cannot be written.
    pub fn write_datums(
        &mut self,
        row: &[Datum],
        settings: &FormatSettings,
        output: &mut BytesMut,
    ) -> SqlResult<()> {
        if self.format.layout == Layout::Binary {
            self.write_count(output);
            let mut fields = row.iter().zip(self.fields.iter());
            return fields.try_for_each(|(value, field)| write_field(output, value, &field.pg_type));
        }
        self.line(output, |writer, line| {
            for (at, value) in row.iter().enumerate() {
                writer.write_delimiter(at, line);
                if value.is_null() {
                    line.put_slice(writer.format.null.as_bytes());
                    continue;
                }
                let start = line.len();
                write_text(line, value, &writer.fields[at].pg_type, settings);
                writer.escape(at, start, line);
            }
            Ok(())
        })
    }

    /// Writes a row of a batch.
    ///
    /// # Errors
    /// A value cannot be written.
    pub fn write_encoded(
        &mut self,
        encoders: &[ColumnEncoder],
        row: usize,
        output: &mut BytesMut,
    ) -> SqlResult<()> {
        if self.format.layout == Layout::Binary {
            self.write_count(output);
            return encoders.iter().try_for_each(|encoder| encoder.write_field(row, output));
        }
        self.line(output, |writer, line| {
            for (at, encoder) in encoders.iter().enumerate() {
                writer.write_delimiter(at, line);
                if encoder.is_null(row) {
                    line.put_slice(writer.format.null.as_bytes());
                    continue;
                }
                let start = line.len();
                encoder.write_value(row, line)?;
                writer.escape(at, start, line);
            }
            Ok(())
        })
    }

    fn write_count(&mut self, output: &mut BytesMut) {
        self.write_start(output);
        output.put_i16(i16::try_from(self.fields.len()).expect("results have at most 1664 columns"));
    }

    fn write_delimiter(&self, at: usize, line: &mut BytesMut) {
        if at > 0 {
            line.put_u8(self.format.delimiter);
        }
    }

    /// Writes a line, in the file's encoding.
    fn line(
        &mut self,
        output: &mut BytesMut,
        write: impl FnOnce(&mut RowWriter, &mut BytesMut) -> SqlResult<()>,
    ) -> SqlResult<()> {
        if self.format.encoding.is_utf8() {
            write(self, output)?;
        } else {
            let mut line = BytesMut::new();
            write(self, &mut line)?;
            let text = std::str::from_utf8(&line).map_err(SqlError::internal)?;
            self.format.encoding.encode(text, output)?;
        }
        output.put_u8(b'\n');
        Ok(())
    }

    /// Makes a value that was written from `start` on one that is read back. Most are as they are.
    fn escape(&mut self, at: usize, start: usize, line: &mut BytesMut) {
        let value = &line[start..];
        let only_column = self.fields.len() == 1;
        let is_plain = match self.format.layout {
            Layout::Csv => !csv::needs_quotes(&self.format, value, self.force_quote[at], only_column),
            _ => !text::needs_escapes(&self.format, value),
        };
        if is_plain {
            return;
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(value);
        line.truncate(start);
        match self.format.layout {
            Layout::Csv => {
                csv::write_value(&self.format, &self.scratch, self.force_quote[at], only_column, line)
            }
            _ => text::write_value(&self.format, &self.scratch, line),
        }
    }
}
