//! COPY over the protocol.

use bytes::BytesMut;
use pgwire::messages::copy::{CopyData, CopyDone, CopyInResponse, CopyOutResponse};

use crate::error::{SqlError, SqlResult};
use crate::pgtype::encode::{ColumnEncoder, Format};
use crate::pgtype::text::write_text;
use crate::session::control::StatementControl;
use crate::session::outcome::Rows;
use crate::session::prepared::{Body, Prepared};
use crate::sql::copy::{CopyIn, CopyOut};
use crate::sqlstate;
use crate::wire::encode::write_copy_data;
use crate::wire::message::{self, Frontend};
use crate::wire::serve::Client;
use crate::wire::stream::{Broken, FLUSH_BYTES, MESSAGE_BYTES_MAX};

/// Text, for the whole and for each column.
const FORMAT_TEXT: i8 = 0;

impl Client {
    /// Takes the data of a COPY FROM; its tag.
    pub(crate) async fn copy_in(
        &mut self,
        mut copy: CopyIn,
        prepared: &Prepared,
        control: &StatementControl,
    ) -> Result<SqlResult<String>, Broken> {
        let Body::CopyIn { target, .. } = &prepared.body else {
            return Ok(Err(SqlError::internal("COPY without a target")));
        };
        let collection = target.collection.id;
        let columns = i16::try_from(copy.columns).expect("a table has at most 1600 columns");
        let formats = vec![0; copy.columns];
        if let Err(error) = self.connection.send(&CopyInResponse::new(FORMAT_TEXT, columns, formats)) {
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
                Ok(Frontend::CopyData(data)) => match control.run(copy.data(data)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) | Err(error) => return self.give_up_copy(error).await,
                },
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
        let columns = i16::try_from(copy.fields.len()).expect("results have at most 1664 columns");
        let formats = vec![0; copy.fields.len()];
        if let Err(error) = self.connection.send(&CopyOutResponse::new(FORMAT_TEXT, columns, formats)) {
            return Ok(Err(error));
        }
        if let Some(header) = copy.header()
            && let Err(error) = self.connection.send(&CopyData::new(header.freeze()))
        {
            return Ok(Err(error));
        }
        let mut row_count: u64 = 0;
        loop {
            let next = match control.run(copy.rows.next()).await {
                Ok(Ok(next)) => next,
                Ok(Err(error)) | Err(error) => return Ok(Err(error)),
            };
            let Some(mut rows) = next else { break };
            while !rows.is_empty() {
                match self.write_lines(&copy, &mut rows) {
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
        Ok(self.connection.send(&CopyDone::new()).map(|()| format!("COPY {row_count}")))
    }

    /// Writes lines until there is enough to hand over; how many.
    fn write_lines(&mut self, copy: &CopyOut, rows: &mut Rows) -> SqlResult<u64> {
        let settings = self.session.format();
        let output = &mut self.connection.output;
        let mut value = BytesMut::new();
        let mut written = 0;
        match rows {
            Rows::Datums(rows) => {
                while output.len() < FLUSH_BYTES
                    && let Some(row) = rows.pop_front()
                {
                    write_copy_data(output, |line| {
                        copy.write_line(line, |at| {
                            value.clear();
                            if row[at].is_null() {
                                return Ok(None);
                            }
                            write_text(&mut value, &row[at], &copy.fields[at].pg_type, &settings);
                            Ok(Some(value.split()))
                        })
                    })?;
                    written += 1;
                }
            }
            Rows::Batch { batch, next } => {
                let columns = batch.columns().iter().zip(copy.fields.iter());
                let encoders = columns
                    .map(|(array, field)| ColumnEncoder::new(array, &field.pg_type, Format::Text, &settings));
                let encoders = encoders.collect::<SqlResult<Vec<_>>>()?;
                while *next < batch.num_rows() && output.len() < FLUSH_BYTES {
                    write_copy_data(output, |line| {
                        copy.write_line(line, |at| {
                            value.clear();
                            if encoders[at].is_null(*next) {
                                return Ok(None);
                            }
                            encoders[at].write_value(*next, &mut value)?;
                            Ok(Some(value.split()))
                        })
                    })?;
                    *next += 1;
                    written += 1;
                }
            }
        }
        Ok(written)
    }
}
