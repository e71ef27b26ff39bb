//! A collection that one client changes, one request after the other, and what it must hold.
//!
//! - What was acknowledged has happened; nothing else has.
//! - Of the one request without an answer everything has happened or nothing, and what it is at the
//!   first look, it stays.
//!
//! A row is known by its number; every value of it is compared. So a row that is lost, doubled, of an
//! earlier version or back after it was deleted is a fault.

use std::collections::BTreeMap;

/// The values of a row, as text, by the names of their columns; NULLs are left out.
pub(crate) type Values = BTreeMap<String, String>;

/// What a request changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Rows that go, by their numbers.
    pub(crate) removed: Vec<i64>,
    /// Rows that are there afterwards; one with the number of another takes its place.
    pub(crate) put: Vec<(i64, Values)>,
}

/// What became of the request without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// There was none, or it changed nothing that can be seen.
    Nothing,
    Happened,
    DidNotHappen,
}

/// A collection and what it must hold.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) collection: &'static str,
    rows: BTreeMap<i64, Values>,
    unanswered: Option<Change>,
    /// Requests that were acknowledged.
    pub(crate) acknowledged: u64,
}

impl Story {
    pub(crate) fn new(collection: &'static str) -> Story {
        Story { collection, rows: BTreeMap::new(), unanswered: None, acknowledged: 0 }
    }

    /// The rows that must be there.
    pub(crate) fn rows(&self) -> &BTreeMap<i64, Values> {
        &self.rows
    }

    /// A request is about to be sent.
    pub(crate) fn sent(&mut self, change: Change) {
        assert!(self.unanswered.is_none(), "{}: one request at a time", self.collection);
        self.unanswered = Some(change);
    }

    /// The request was acknowledged.
    pub(crate) fn acknowledged(&mut self) {
        let change = self.unanswered.take().expect("it was sent");
        apply(&mut self.rows, &change);
        self.acknowledged += 1;
    }

    /// Compares all that the server holds with all that it must, and settles the request without an
    /// answer.
    pub(crate) fn check(&mut self, found: Vec<(i64, Values)>) -> Settled {
        let name = self.collection;
        let mut held = BTreeMap::new();
        for (number, values) in found {
            if let Some(other) = held.insert(number, values) {
                panic!("{name}: row {number} is there twice, as {other:?} and as {:?}", held[&number]);
            }
        }
        let change = self.unanswered.take();
        if held == self.rows {
            return change.map_or(Settled::Nothing, |change| {
                apply(&mut held, &change);
                if held == self.rows { Settled::Nothing } else { Settled::DidNotHappen }
            });
        }
        let before = difference(&self.rows, &held);
        let Some(change) = change else { panic!("{name}: {before}") };
        apply(&mut self.rows, &change);
        let after = difference(&self.rows, &held);
        assert!(held == self.rows, "{name}: without the last request {before}; with it {after}");
        Settled::Happened
    }
}

fn apply(rows: &mut BTreeMap<i64, Values>, change: &Change) {
    for number in &change.removed {
        rows.remove(number);
    }
    rows.extend(change.put.iter().cloned());
}

/// The first rows that are not as they must be, and how many there are.
fn difference(expected: &BTreeMap<i64, Values>, held: &BTreeMap<i64, Values>) -> String {
    let lost: Vec<_> = expected.iter().filter(|(number, _)| !held.contains_key(number)).collect();
    let extra: Vec<_> = held.iter().filter(|(number, _)| !expected.contains_key(number)).collect();
    let other = expected.iter().filter_map(|(number, values)| {
        let found = held.get(number)?;
        (found != values).then_some((number, values, found))
    });
    let other: Vec<_> = other.collect();
    format!(
        "{} of {} rows are missing, such as {:?}, {} should not be there, such as {:?}, {} are other ones, \
         such as {:?}",
        lost.len(),
        expected.len(),
        lost.first(),
        extra.len(),
        extra.first(),
        other.len(),
        other.first()
    )
}

#[test]
fn a_story_finds_each_kind_of_fault() {
    let values = |version: i64| Values::from([("version".to_owned(), version.to_string())]);
    let put = |rows: &[(i64, i64)]| Change {
        removed: Vec::new(),
        put: rows.iter().map(|(number, version)| (*number, values(*version))).collect(),
    };
    // Rows 1 and 2 are acknowledged, 3 was deleted; then a request without an answer.
    let settle = |unanswered: Option<Change>, held: &[(i64, i64)]| {
        let mut story = Story::new("a");
        story.sent(put(&[(1, 10), (2, 20), (3, 30)]));
        story.acknowledged();
        story.sent(Change { removed: vec![3], put: Vec::new() });
        story.acknowledged();
        if let Some(change) = unanswered {
            story.sent(change);
        }
        let held = put(held).put;
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| story.check(held))).ok()
    };
    assert_eq!(settle(None, &[(1, 10), (2, 20)]), Some(Settled::Nothing));
    assert_eq!(settle(None, &[(1, 10)]), None, "lost");
    assert_eq!(settle(None, &[(1, 10), (2, 20), (2, 20)]), None, "doubled");
    assert_eq!(settle(None, &[(1, 10), (2, 20), (3, 30)]), None, "back again");
    assert_eq!(settle(None, &[(1, 10), (2, 21)]), None, "another value");
    let replaces = || Some(put(&[(1, 11), (2, 21)]));
    assert_eq!(settle(replaces(), &[(1, 10), (2, 20)]), Some(Settled::DidNotHappen));
    assert_eq!(settle(replaces(), &[(1, 11), (2, 21)]), Some(Settled::Happened));
    assert_eq!(settle(replaces(), &[(1, 11), (2, 20)]), None, "in part");
    let deletes = || Some(Change { removed: vec![1, 2], put: Vec::new() });
    assert_eq!(settle(deletes(), &[(1, 10), (2, 20)]), Some(Settled::DidNotHappen));
    assert_eq!(settle(deletes(), &[]), Some(Settled::Happened));
    assert_eq!(settle(deletes(), &[(2, 20)]), None, "in part");
}
