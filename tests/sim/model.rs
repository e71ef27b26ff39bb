//! What the engine must hold, said as simply as possible.

use std::collections::{BTreeMap, BTreeSet};

/// The rows of all collections: collection and the row's number.
pub(crate) type Rows = BTreeSet<(String, i64)>;

/// Commits that were made, and what became of them.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Rows of commits that were acknowledged, or found after a crash.
    settled: Rows,
    /// Rows of commits whose outcome is not known, commit by commit.
    unknown: Vec<Rows>,
    /// Rows whose deletion has an outcome that is not known, delete by delete.
    unknown_deletes: Vec<Rows>,
}

impl Model {
    /// A commit was acknowledged.
    pub(crate) fn acknowledge(&mut self, rows: Rows) {
        self.settled.extend(rows);
    }

    /// A commit was under way when the world ended.
    pub(crate) fn leave_unknown(&mut self, rows: Rows) {
        self.unknown.push(rows);
    }

    /// A delete was acknowledged.
    pub(crate) fn delete(&mut self, rows: &Rows) {
        self.settled.retain(|row| !rows.contains(row));
    }

    /// A delete was under way when the world ended.
    pub(crate) fn leave_delete_unknown(&mut self, rows: Rows) {
        self.unknown_deletes.push(rows);
    }

    /// Compares with what was found; what was unknown is known from now on.
    pub(crate) fn settle(&mut self, found: &BTreeMap<(String, i64), usize>) {
        for (row, count) in found {
            assert_eq!(*count, 1, "{row:?} is there {count} times");
        }
        for rows in std::mem::take(&mut self.unknown_deletes) {
            let there = rows.iter().filter(|row| found.contains_key(*row)).count();
            assert!(there == 0 || there == rows.len(), "{there} of {} rows of a delete", rows.len());
            if there == 0 {
                self.delete(&rows);
            }
        }
        for row in &self.settled {
            assert!(found.contains_key(row), "{row:?} was acknowledged and is lost");
        }
        for rows in std::mem::take(&mut self.unknown) {
            let there = rows.iter().filter(|row| found.contains_key(*row)).count();
            assert!(there == 0 || there == rows.len(), "{there} of {} rows of a commit", rows.len());
            if there > 0 {
                self.settled.extend(rows);
            }
        }
        let found: Rows = found.keys().cloned().collect();
        assert_eq!(found, self.settled, "rows that nobody committed");
    }
}
