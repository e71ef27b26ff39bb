//! `COPY … FROM STDIN`: one connection, one COPY after another.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::{Client, CopyInSink};

use crate::dataset::{TABLE, column_list};
use crate::encode::Format;
use tidemark_tests::failure::Result;

/// Rows go into messages of this size, as drivers send them: the server must not have to take a
/// batch of a megabyte at once.
const MESSAGE_BYTES: usize = 64 << 10;

/// A COPY that is under way.
pub(crate) struct Copy {
    format: Format,
    sink: Pin<Box<CopyInSink<Bytes>>>,
    pub(crate) row_count: u64,
}

pub(crate) async fn begin(client: &Client, format: Format) -> Result<Copy> {
    let name = match format {
        Format::Csv => "csv",
        Format::Text => "text",
        Format::Binary => "binary",
        Format::Line => return Err("line protocol is not sent by COPY".into()),
    };
    let statement = format!("COPY {TABLE} ({}) FROM STDIN (FORMAT {name})", column_list());
    let mut sink = Box::pin(client.copy_in(&statement).await?);
    sink.feed(Bytes::from_static(format.header())).await?;
    Ok(Copy { format, sink, row_count: 0 })
}

impl Copy {
    pub(crate) async fn send(&mut self, mut text: Bytes, row_count: u64) -> Result<()> {
        while !text.is_empty() {
            let message = text.split_to(text.len().min(MESSAGE_BYTES));
            self.sink.feed(message).await?;
        }
        self.row_count += row_count;
        Ok(())
    }

    /// Ends the COPY; the server must say that it took as many rows as were sent.
    pub(crate) async fn finish(mut self) -> Result<u64> {
        self.sink.feed(Bytes::from_static(self.format.trailer())).await?;
        let taken = self.sink.as_mut().finish().await?;
        if taken != self.row_count {
            return Err(format!("{} rows were sent, COPY says {taken}", self.row_count).into());
        }
        Ok(taken)
    }
}
