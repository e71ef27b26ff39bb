//! Rows on their way to a client.

use bytes::{BufMut, BytesMut};

use crate::error::SqlResult;
use crate::pgtype::PgType;
use crate::pgtype::binary;
use crate::pgtype::datum::Datum;
use crate::pgtype::encode::{ColumnEncoder, Format};
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::text::write_text;
use crate::session::control::StatementControl;
use crate::session::field::{Field, Fields};
use crate::session::outcome::{RowSource, Rows};
use crate::wire::encode::{self, RowWriter};
use crate::wire::serve::Client;
use crate::wire::stream::Broken;

/// How far sending came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) row_count: u64,
    /// There may be more rows.
    pub(crate) suspended: bool,
}

impl Client {
    /// Sends the columns, all rows as text, and gives the tag.
    pub(crate) async fn send_result(
        &mut self,
        fields: &Fields,
        mut rows: RowSource,
        word: &'static str,
        control: &StatementControl,
    ) -> Result<SqlResult<String>, Broken> {
        if let Err(error) = self.connection.send(&encode::row_description(fields, |_| Format::Text)) {
            return Ok(Err(error));
        }
        let sent = self.send_rows(fields, |_| Format::Text, &mut rows, None, control).await?;
        Ok(sent.map(|sent| encode::rows_tag(word, sent.row_count)))
    }

    /// Sends rows until there are so many or no more; waits while the client is slow.
    pub(crate) async fn send_rows(
        &mut self,
        fields: &[Field],
        format: impl Fn(usize) -> Format,
        rows: &mut RowSource,
        rows_max: Option<usize>,
        control: &StatementControl,
    ) -> Result<SqlResult<Sent>, Broken> {
        let formats: Vec<Format> = (0..fields.len()).map(format).collect();
        let settings = self.session.format();
        let mut left = rows_max.unwrap_or(usize::MAX);
        let mut row_count = 0;
        while left > 0 {
            let next = match control.run(rows.next()).await {
                Ok(Ok(next)) => next,
                Ok(Err(error)) | Err(error) => return Ok(Err(error)),
            };
            let Some(mut some) = next else { return Ok(Ok(Sent { row_count, suspended: false })) };
            while left > 0 && !some.is_empty() {
                let written = match self.write_some(fields, &formats, &mut some, left, &settings) {
                    Ok(written) => written,
                    Err(error) => return Ok(Err(error)),
                };
                row_count += written as u64;
                left -= written;
                if self.connection.wants_flush() {
                    self.connection.flush().await?;
                }
                if let Err(error) = control.check() {
                    return Ok(Err(error));
                }
            }
            rows.put_back(some);
        }
        Ok(Ok(Sent { row_count, suspended: true }))
    }

    /// Writes rows into the output until it is worth handing over; how many.
    fn write_some(
        &mut self,
        fields: &[Field],
        formats: &[Format],
        rows: &mut Rows,
        rows_max: usize,
        settings: &FormatSettings,
    ) -> SqlResult<usize> {
        let mut written = 0;
        match rows {
            Rows::Datums(rows) => {
                while written < rows_max && !self.connection.wants_flush() {
                    let Some(row) = rows.pop_front() else { break };
                    self.write_datums(fields, formats, &row, settings)?;
                    written += 1;
                }
            }
            Rows::Batch { batch, next } => {
                let columns = batch.columns().iter().zip(fields).zip(formats);
                let encoders = columns.map(|((array, field), format)| {
                    ColumnEncoder::new(array, &field.pg_type, *format, settings)
                });
                let encoders = encoders.collect::<SqlResult<Vec<_>>>()?;
                while written < rows_max && *next < batch.num_rows() && !self.connection.wants_flush() {
                    let mut row = RowWriter::start(&mut self.connection.output, encoders.len());
                    let fields =
                        encoders.iter().try_for_each(|encoder| encoder.write_field(*next, row.buffer()));
                    row.end(fields)?;
                    *next += 1;
                    written += 1;
                }
            }
        }
        Ok(written)
    }

    fn write_datums(
        &mut self,
        fields: &[Field],
        formats: &[Format],
        row: &[Datum],
        settings: &FormatSettings,
    ) -> SqlResult<()> {
        let mut writer = RowWriter::start(&mut self.connection.output, row.len());
        for ((value, field), format) in row.iter().zip(fields).zip(formats) {
            let wrote = write_datum(value, &field.pg_type, *format, settings, writer.buffer());
            if wrote.is_err() {
                return writer.end(wrote);
            }
        }
        writer.end(Ok(()))
    }
}

/// A value with its length before it; -1 for NULL.
fn write_datum(
    value: &Datum,
    pg_type: &PgType,
    format: Format,
    settings: &FormatSettings,
    output: &mut BytesMut,
) -> SqlResult<()> {
    if format == Format::Binary {
        return binary::write_field(output, value, pg_type);
    }
    if value.is_null() {
        output.put_i32(-1);
        return Ok(());
    }
    binary::with_length(output, |output| {
        write_text(output, value, pg_type, settings);
        Ok(())
    })
}
