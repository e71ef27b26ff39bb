//! The running server as the system views see it.

use std::path::Path;
use std::sync::Arc;

use tidemark_catalog::ids::{CollectionId, PartitionId, SegmentId};
use tidemark_catalog::producer::Producer;
use tidemark_engine::engine::{Engine, segment_file};
use tidemark_engine::inspect::{JobPhase, MemtableSize};

use crate::pg_catalog::system::{Job, Log, LogFile, Memtables, Merge, Symbols, System};

/// The engine, to be asked.
#[derive(Debug)]
pub struct RunningSystem(pub Arc<Engine>);

impl System for RunningSystem {
    fn is_sealed(&self, collection: CollectionId, partition: PartitionId) -> bool {
        self.0.is_sealed(collection, partition)
    }

    fn segment_file(&self, collection: CollectionId, segment: SegmentId) -> String {
        segment_file(Path::new(""), collection, segment).display().to_string()
    }

    fn memtables(&self) -> Vec<Memtables> {
        let size = |size: MemtableSize| (size.row_count, size.bytes);
        let states = self.0.memtables().into_iter().map(|state| Memtables {
            collection: state.collection,
            active: size(state.active),
            frozen: size(state.frozen),
            frozen_count: state.frozen_count,
            lsn_bounds: state.lsn_bounds,
            age: state.age,
        });
        states.collect()
    }

    fn log(&self) -> Log {
        let state = self.0.log_state();
        let files = state.files.into_iter();
        let files = files.map(|file| LogFile { name: file.name, first: file.first, bytes: file.bytes });
        Log { visible: state.visible, durable: state.durable, files: files.collect() }
    }

    fn jobs(&self) -> Vec<Job> {
        let jobs = self.0.jobs().into_iter().map(|job| {
            let (running_for, due_in) = match job.phase {
                JobPhase::Running(since) => (Some(since), None),
                JobPhase::Waiting(due_in) => (None, Some(due_in)),
            };
            Job { name: job.name, collection: job.collection, running_for, due_in }
        });
        jobs.collect()
    }

    fn symbols(&self) -> Vec<Symbols> {
        let states = self.0.dictionaries().into_iter().map(|state| Symbols {
            collection: state.collection,
            column: state.column,
            text_count: state.text_count,
            memory_bytes: state.memory_bytes,
        });
        states.collect()
    }

    fn merges(&self) -> Vec<Merge> {
        let records = self.0.merges().into_iter().map(|record| Merge {
            collection: record.collection,
            partition: record.partition,
            reason: record.reason.as_str(),
            started_us: record.started_us,
            duration: record.duration,
            inputs: record.inputs,
            input_bytes: record.input_bytes,
            output: record.output,
            output_rows: record.output_rows,
            output_bytes: record.output_bytes,
            error: record.error,
        });
        records.collect()
    }

    fn producers(&self) -> Vec<(String, Producer)> {
        self.0.producers()
    }
}
