//! Producers: who writes batches that may be sent again.

use serde::{Deserialize, Serialize};

use crate::format::Record;
use crate::ids::Lsn;
use crate::producer::Producer;

#[derive(Serialize, Deserialize)]
pub(crate) struct ProducerV1 {
    sequence: u64,
    lsn: u64,
    system_time_us: i64,
}

impl Record for Producer {
    const KIND: u8 = 8;
    const VERSION: u8 = 1;
    const TABLE: &'static str = "producers";
    type Layout = ProducerV1;

    fn to_layout(&self) -> ProducerV1 {
        let Producer { sequence, lsn, system_time_us } = *self;
        ProducerV1 { sequence, lsn: lsn.0, system_time_us }
    }

    fn from_layout(layout: ProducerV1) -> Option<Producer> {
        let ProducerV1 { sequence, lsn, system_time_us } = layout;
        Some(Producer { sequence, lsn: Lsn(lsn), system_time_us })
    }
}
