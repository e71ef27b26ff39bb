//! `COPY … FROM STDIN (FORMAT csv)`: one connection, one COPY after another.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::{Client, CopyInSink};

use crate::dataset::{TABLE, column_list};
use tidemark_tests::failure::Result;

/// Rows go into messages of this size, as drivers send them: the server must not have to take a
/// batch of a megabyte at once.
const MESSAGE_BYTES: usize = 64 << 10;

/// A COPY that is under way.
pub(crate) struct Copy {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    pub(crate) row_count: u64,
}

pub(crate) async fn begin(client: &Client) -> Result<Copy> {
    let statement = format!("COPY {TABLE} ({}) FROM STDIN (FORMAT csv)", column_list());
    let sink = Box::pin(client.copy_in(&statement).await?);
    Ok(Copy { sink, row_count: 0 })
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
        let taken = self.sink.as_mut().finish().await?;
        if taken != self.row_count {
            return Err(format!("{} rows were sent, COPY says {taken}", self.row_count).into());
        }
        Ok(taken)
    }
}
