//! COPY over the protocol.

use std::sync::Arc;

use bytes::BytesMut;
use pgwire::messages::copy::{CopyDone, CopyInResponse, CopyOutResponse};

use crate::error::{SqlError, SqlResult};
use crate::pgtype::encode::ColumnEncoder;
use crate::session::control::StatementControl;
use crate::session::field::Field;
use crate::session::outcome::Rows;
use crate::session::prepared::{Body, Prepared, PreparedCopyIn};
use crate::sql::copy::input::CopyIn;
use crate::sql::copy::options::Layout;
use crate::sql::copy::output::{CopyOut, RowWriter};
use crate::sqlstate;
use crate::wire::encode::write_copy_data;
use crate::wire::message::{self, Frontend};
use crate::wire::serve::Client;
use crate::wire::stream::{Broken, FLUSH_BYTES, MESSAGE_BYTES_MAX};

/// The protocol's number of a format, for the whole and for each column.
fn format_codes(layout: Layout, columns: usize) -> (i8, i16, Vec<i16>) {
    let code = i16::from(layout == Layout::Binary);
    let count = i16::try_from(columns).expect("tables and results have at most 1664 columns");
    (i8::from(layout == Layout::Binary), count, vec![code; columns])
}

impl Client {
    /// Takes the data of a COPY FROM; its tag.
    pub(crate) async fn copy_in(
        &mut self,
        mut copy: CopyIn,
        prepared: &Prepared,
        control: &StatementControl,
    ) -> Result<SqlResult<String>, Broken> {
        let Body::CopyIn(PreparedCopyIn { target, .. }) = &prepared.body else {
            return Ok(Err(SqlError::internal("COPY without a target")));
        };
        let collection = target.collection.id;
        let (format, columns, formats) = format_codes(copy.layout, copy.columns);
        if let Err(error) = self.connection.send(&CopyInResponse::new(format, columns, formats)) {
            return Ok(Err(error));
        }
        self.connection.flush().await?;
        loop {
            let read = match control.run(self.connection.read_message(MESSAGE_BYTES_MAX)).await {
                Ok(read) => read?,
                Err(error) => return self.give_up_copy(error).await,
            };
            let (tag, body) = read;
            match message::decode(tag, body) {
                Ok(Frontend::CopyData(data)) => {
                    let more_is_there = self.connection.has_unread_message();
                    match control.run(copy.data(data, more_is_there)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) | Err(error) => return self.give_up_copy(error).await,
                    }
                }
                Ok(Frontend::CopyDone) => {
                    return Ok(self.session.finish_copy(copy, collection, control).await);
                }
                Ok(Frontend::CopyFail(reason)) => {
                    let message = format!("COPY from stdin failed: {reason}");
                    return Ok(Err(SqlError::new(sqlstate::QUERY_CANCELED, message)));
                }
                // As in PostgreSQL, Flush and Sync are ignored here.
                Ok(Frontend::Flush | Frontend::Sync) => {}
                Ok(other) => {
                    let error =
                        message::violation(format!("unexpected message during COPY from stdin: {other:?}"));
                    return Err(Broken::Told(error));
                }
                Err(error) => return Err(Broken::Told(error)),
            }
        }
    }

    /// A COPY that failed while its client still sends. The error is sent now; data that follows is
    /// read and dropped by the main loop.
    async fn give_up_copy(&mut self, error: SqlError) -> Result<SqlResult<String>, Broken> {
        Ok(Err(error))
    }

    /// Sends the rows of a COPY TO; its tag.
    pub(crate) async fn copy_out(
        &mut self,
        mut copy: CopyOut,
        control: &StatementControl,
    ) -> Result<SqlResult<String>, Broken> {
        let (format, columns, formats) = format_codes(copy.layout(), copy.fields.len());
        if let Err(error) = self.connection.send(&CopyOutResponse::new(format, columns, formats)) {
            return Ok(Err(error));
        }
        let fields = Arc::clone(&copy.fields);
        let (source, writer) = copy.parts();
        let output = &mut self.connection.output;
        if let Err(error) = write_optional(output, |output| writer.write_header(output)) {
            return Ok(Err(error));
        }
        let mut row_count: u64 = 0;
        loop {
            let next = match control.run(source.next()).await {
                Ok(Ok(next)) => next,
                Ok(Err(error)) | Err(error) => return Ok(Err(error)),
            };
            let Some(mut rows) = next else { break };
            while !rows.is_empty() {
                match self.write_rows(writer, &fields, &mut rows) {
                    Ok(written) => row_count += written,
                    Err(error) => return Ok(Err(error)),
                }
                if self.connection.wants_flush() {
                    self.connection.flush().await?;
                }
                if let Err(error) = control.check() {
                    return Ok(Err(error));
                }
            }
        }
        let ended = write_optional(&mut self.connection.output, |output| Ok(writer.write_end(output)));
        Ok(ended.and_then(|()| self.connection.send(&CopyDone::new())).map(|()| format!("COPY {row_count}")))
    }

    /// Writes rows until there is enough to hand over; how many.
    fn write_rows(&mut self, writer: &mut RowWriter, fields: &[Field], rows: &mut Rows) -> SqlResult<u64> {
        let settings = self.session.format();
        let output = &mut self.connection.output;
        let mut written = 0;
        match rows {
            Rows::Datums(rows) => {
                while output.len() < FLUSH_BYTES
                    && let Some(row) = rows.pop_front()
                {
                    write_copy_data(output, |output| writer.write_datums(&row, &settings, output))?;
                    written += 1;
                }
            }
            Rows::Batch { batch, next } => {
                let columns = batch.columns().iter().zip(fields);
                let format = writer.value_format();
                let encoders = columns
                    .map(|(array, field)| ColumnEncoder::new(array, &field.pg_type, format, &settings));
                let encoders = encoders.collect::<SqlResult<Vec<_>>>()?;
                while *next < batch.num_rows() && output.len() < FLUSH_BYTES {
                    write_copy_data(output, |output| writer.write_encoded(&encoders, *next, output))?;
                    *next += 1;
                    written += 1;
                }
            }
        }
        Ok(written)
    }
}

/// A message, unless there is nothing to write into it.
fn write_optional(
    output: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> SqlResult<bool>,
) -> SqlResult<()> {
    let start = output.len();
    let mut is_written = false;
    write_copy_data(output, |output| {
        is_written = write(output)?;
        Ok(())
    })?;
    if !is_written {
        output.truncate(start);
    }
    Ok(())
}
