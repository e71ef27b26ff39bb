//! What clients are sent, as the protocol's messages.

use bytes::{BufMut, BytesMut};
use pgwire::messages::data::{FieldDescription, RowDescription};
use pgwire::messages::response::{CommandComplete, ErrorResponse, NoticeResponse};

use crate::error::{SqlError, SqlResult};
use crate::pgtype::encode::Format;
use crate::pgtype::types::type_size;
use crate::session::field::Field;
use crate::sqlstate;

/// The longest text of an error: a client need not read megabytes of a statement back.
const ERROR_TEXT_BYTES_MAX: usize = 8 << 10;

/// An error as a message.
pub(crate) fn error_response(error: &SqlError) -> ErrorResponse {
    ErrorResponse::new(fields(error))
}

/// A notice as a message.
pub(crate) fn notice_response(notice: &SqlError) -> NoticeResponse {
    NoticeResponse::new(fields(notice))
}

fn fields(error: &SqlError) -> Vec<(u8, String)> {
    let fields = error.fields();
    let severity = fields.severity.as_str().to_owned();
    let mut list = vec![
        (b'S', severity.clone()),
        (b'V', severity),
        (b'C', fields.state.code().to_owned()),
        (b'M', shortened(&fields.message)),
    ];
    let optional = [
        (b'D', &fields.detail),
        (b'H', &fields.hint),
        (b'W', &fields.context),
        (b's', &fields.schema),
        (b't', &fields.table),
        (b'c', &fields.column),
    ];
    for (tag, text) in optional {
        list.extend(text.as_ref().map(|text| (tag, shortened(text))));
    }
    list.extend(fields.position.map(|position| (b'P', position.to_string())));
    list
}

/// The text without zero bytes, which would end the field, and not too long.
fn shortened(text: &str) -> String {
    let mut text = text.replace('\0', "");
    if text.len() > ERROR_TEXT_BYTES_MAX {
        let end = (0..=ERROR_TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The form of the protocol's code.
pub(crate) fn format_from_code(code: i16) -> Option<Format> {
    match code {
        0 => Some(Format::Text),
        1 => Some(Format::Binary),
        _ => None,
    }
}

fn format_code(format: Format) -> i16 {
    match format {
        Format::Text => 0,
        Format::Binary => 1,
    }
}

/// The columns of a result.
pub(crate) fn row_description(fields: &[Field], formats: impl Fn(usize) -> Format) -> RowDescription {
    let fields = fields.iter().enumerate().map(|(at, field)| {
        FieldDescription::new(
            field.name.clone(),
            field.table.cast_signed(),
            field.column,
            field.pg_type.oid(),
            type_size(&field.pg_type),
            field.typmod,
            format_code(formats(at)),
        )
    });
    RowDescription::new(fields.collect())
}

/// The end of a statement.
pub(crate) fn command_complete(tag: &str) -> CommandComplete {
    CommandComplete::new(tag.to_owned())
}

/// A longer row than this cannot be sent: the protocol counts in 31 bits, and nobody wants to wait for
/// one to be put together.
const ROW_BYTES_MAX: usize = 1 << 30;

/// Puts the length of a message that starts at `start` where it belongs; takes the message back when
/// it could not be written.
fn end_message(output: &mut BytesMut, start: usize, body: SqlResult<()>) -> SqlResult<()> {
    let len = output.len() - start - 1;
    let body = body.and_then(|()| {
        if len <= ROW_BYTES_MAX {
            return Ok(());
        }
        let message = format!("a row of more than {ROW_BYTES_MAX} bytes cannot be sent");
        Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message))
    });
    match body {
        Ok(()) => {
            let len = u32::try_from(len).expect("at most 2^30");
            output[start + 1..start + 5].copy_from_slice(&len.to_be_bytes());
            Ok(())
        }
        Err(error) => {
            output.truncate(start);
            Err(error)
        }
    }
}

/// A line of COPY TO under construction in an output buffer.
pub(crate) fn write_copy_data(
    output: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> SqlResult<()>,
) -> SqlResult<()> {
    let start = output.len();
    output.put_u8(b'd');
    output.put_u32(0);
    let written = write(output);
    end_message(output, start, written)
}

/// A row under construction in an output buffer.
pub(crate) struct RowWriter<'a> {
    output: &'a mut BytesMut,
    start: usize,
}

impl<'a> RowWriter<'a> {
    /// Starts a row with so many columns; the caller writes them one after another.
    pub(crate) fn start(output: &'a mut BytesMut, columns: usize) -> RowWriter<'a> {
        let start = output.len();
        output.put_u8(b'D');
        output.put_u32(0);
        output.put_u16(u16::try_from(columns).expect("results have at most 1664 columns"));
        RowWriter { output, start }
    }

    /// Where the columns are written.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        self.output
    }

    /// Ends the row; one whose columns could not be written is taken back.
    pub(crate) fn end(self, columns: SqlResult<()>) -> SqlResult<()> {
        end_message(self.output, self.start, columns)
    }
}

/// The tag of a statement that gave rows.
pub(crate) fn rows_tag(word: &str, row_count: u64) -> String {
    match word {
        // These say nothing of their number.
        "SHOW" | "EXPLAIN" => word.to_owned(),
        word => format!("{word} {row_count}"),
    }
}
