//! Log lines that are searched, against a search of every line.
//!
//! Lines are written to a collection that keeps some in memory, some in small segments and some in merged
//! ones. Patterns are made of the lines' own words and pieces. What a scan finds must be what an
//! independent reading of the pattern finds in all lines, whatever blocks were passed over.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use regex::{Regex, RegexBuilder};
use tidemark_catalog::collection::{CalendarInterval, IntervalUnit, TimeseriesOptions};
use tidemark_catalog::ids::{BOOTSTRAP_ROLE, CollectionId, ColumnId, NAMESPACE_PUBLIC};
use tidemark_catalog::schema::{NewColumn, Nullability};
use tidemark_catalog::types::{ColumnType, TimeUnit};
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::engine::{Durability, Engine, NewTimeseries, Write};
use tidemark_engine::env::sim::World;
use tidemark_engine::options::EngineOptions;
use tidemark_engine::read::predicate::{Comparison, Predicate};
use tidemark_engine::read::text::{Case, TextCondition};
use tidemark_engine::read::{RowIds, ScanRequest, ScanStatistics, plan};
use tidemark_engine::recovery::NewDirectory;
use tidemark_engine::tokens::Token;

const LINE: ColumnId = ColumnId(3);

const WORDS: &[&str] = &[
    "GET",
    "POST",
    "/api/v1/users",
    "/health",
    "connection",
    "reset",
    "by",
    "peer:",
    "timeout",
    "user_id=",
    "Übergröße",
    "naïve—caf\u{e9}",
    "[retry]",
    "(cache)",
    "miss",
    "hit",
    "100%",
    "a_b",
    "É",
    "C:\\temp\\x",
];

pub(crate) struct Logs {
    world: World,
    engine: Engine,
    id: CollectionId,
    lines: Vec<Option<String>>,
}

impl Logs {
    /// A collection without lines, whose blocks have so many rows.
    pub(crate) fn new(world: World, page_rows: usize) -> Logs {
        let options = EngineOptions {
            wal_segment_bytes: 64 << 10,
            segment_row_group_rows: 8 * page_rows,
            segment_page_rows: page_rows,
            ..EngineOptions::new(PathBuf::from("/data"))
        };
        let new = NewDirectory { superuser: "tidemark".to_owned(), verifier: None };
        let engine = Engine::open(world.env(), options, new).unwrap();
        let column = |name: &str, column_type, nullability| NewColumn::new(name, column_type, nullability);
        let day = CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Day };
        let new = NewTimeseries {
            namespace: NAMESPACE_PUBLIC,
            name: "logs".to_owned(),
            owner: BOOTSTRAP_ROLE,
            columns: vec![
                column("ts", ColumnType::Timestamptz(TimeUnit::Microsecond), Nullability::Required),
                column("row", ColumnType::Int8, Nullability::Required),
                column("line", ColumnType::Text, Nullability::Nullable),
            ],
            options: TimeseriesOptions::new(ColumnId(1), day),
        };
        engine.create_collection(new).unwrap();
        let view = engine.view();
        let id = view.collection_by_name(NAMESPACE_PUBLIC, "logs").unwrap().collection.id;
        Logs { world, engine, id, lines: Vec::new() }
    }

    fn choose<'a>(&self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.world.choose(from.len() as u64)).unwrap()]
    }

    /// A line of some words, with a number that no other line has.
    fn new_line(&self, row: usize) -> Option<String> {
        if self.world.choose(50) == 0 {
            return None;
        }
        let words: Vec<&str> = (0..self.world.choose(5) + 2).map(|_| self.choose(WORDS)).collect();
        Some(format!("{} request_id={row:06x} took {}ms", words.join(" "), self.world.choose(3000)))
    }

    /// Writes so many lines.
    pub(crate) fn write(&mut self, row_count: usize) {
        let first = self.lines.len();
        let lines: Vec<Option<String>> = (first..first + row_count).map(|row| self.new_line(row)).collect();
        let numbers: Vec<i64> = (first..first + row_count).map(|row| i64::try_from(row).unwrap()).collect();
        let times: TimestampMicrosecondArray = numbers.iter().map(|row| Some(row * 1000)).collect();
        let columns: Vec<(ColumnId, ArrayRef)> = vec![
            (ColumnId(1), Arc::new(times.with_timezone("UTC"))),
            (ColumnId(2), Arc::new(Int64Array::from(numbers))),
            (LINE, Arc::new(lines.iter().map(Option::as_deref).collect::<StringViewArray>())),
        ];
        let view = self.engine.view();
        let collection = &view.collection(self.id).unwrap().collection;
        let batch = WriteBatch::new(collection, columns).unwrap();
        let mut ticket = self.engine.write(vec![Write::new(self.id, batch)], Durability::Synced).unwrap();
        while ticket.poll().is_none() {
            assert!(self.engine.step(), "the log has something to do");
        }
        self.lines.extend(lines);
    }

    pub(crate) fn flush(&self) {
        self.engine.flush(self.id).unwrap();
    }

    pub(crate) fn merge(&self) {
        self.engine.merge(self.id).unwrap();
        assert_eq!(self.engine.verify_segments().len(), 0);
    }

    /// The rows that a scan finds, and what it passed over.
    pub(crate) fn find(&self, predicate: Predicate) -> (BTreeSet<usize>, ScanStatistics) {
        let (columns, row_ids) = (vec![ColumnId(2)], RowIds::NotGiven);
        let request = ScanRequest { columns, predicates: vec![predicate], batch_rows: 1000, row_ids };
        let snapshot = self.engine.snapshot(&[self.id]).unwrap();
        let scan = plan(snapshot.collection(self.id).unwrap(), request).unwrap();
        let mut rows = BTreeSet::new();
        for batch in scan.units().iter().flat_map(|unit| scan.read(unit).unwrap()) {
            let batch = batch.unwrap();
            let found = batch.column(0).as_primitive::<Int64Type>().values().iter();
            rows.extend(found.map(|row| usize::try_from(*row).unwrap()));
        }
        (rows, scan.statistics())
    }

    /// The lines of which the function holds.
    fn rows_where(&self, holds: impl Fn(&str) -> bool) -> BTreeSet<usize> {
        let lines = self.lines.iter().enumerate();
        lines.filter(|(_, line)| line.as_deref().is_some_and(&holds)).map(|(row, _)| row).collect()
    }

    /// The first row from this one on that has a line.
    pub(crate) fn row_with_line(&self, from: usize) -> usize {
        (from..).find(|row| self.lines[*row].is_some()).expect("the range has no end")
    }

    /// A line that is there; another, if none is.
    fn any_line(&self) -> &str {
        let lines: Vec<&str> = self.lines.iter().flatten().map(String::as_str).collect();
        if lines.is_empty() { "nothing" } else { self.choose(&lines) }
    }

    /// A piece of a line, now and then with its characters changed.
    fn any_piece(&self) -> String {
        let characters: Vec<char> = self.any_line().chars().collect();
        let number = |below: usize| usize::try_from(self.world.choose(below as u64)).unwrap();
        let start = number(characters.len());
        let end = start + 1 + number(characters.len() - start);
        let mut piece = characters[start..end.min(start + 30)].to_vec();
        if self.world.choose(4) == 0 {
            let at = number(piece.len());
            piece[at] = if self.world.choose(2) == 0 { ' ' } else { 'x' };
        }
        piece.into_iter().collect()
    }

    /// A condition of any kind, and the lines of which it holds.
    fn any_condition(&self) -> (Predicate, BTreeSet<usize>) {
        let case = if self.world.choose(2) == 0 { Case::Kept } else { Case::Ignored };
        let text = |condition| Predicate::Text { column: LINE, condition, wanted: true };
        match self.world.choose(5) {
            0 => {
                let piece = self.any_piece();
                let Some(token) = Token::new(&piece) else { return self.any_condition() };
                let exact =
                    Regex::new(&format!("(^|[^\\p{{L}}\\d_]){}($|[^\\p{{L}}\\d_])", regex::escape(&piece)));
                let exact = exact.unwrap();
                let rows = self.rows_where(|line| exact.is_match(line));
                (text(TextCondition::contains_token(token)), rows)
            }
            1 => {
                let pattern = self.any_like();
                let compiled = like(&pattern, case);
                let rows = self.rows_where(|line| compiled.is_match(line));
                (text(TextCondition::like(&pattern, case)), rows)
            }
            2 => {
                let bound = self.choose(&[r"\b", r"\s", "", "^", "[=/ ]"]);
                let pattern = format!("{bound}{}{bound}", regex::escape(&self.any_piece()));
                let compiled = RegexBuilder::new(&pattern).case_insensitive(case == Case::Ignored).build();
                let compiled = compiled.unwrap();
                let rows = self.rows_where(|line| compiled.is_match(line));
                (text(TextCondition::regex(&pattern, case).unwrap()), rows)
            }
            3 => {
                let line = self.any_line();
                let (comparison, value) = (Comparison::Equal, Arc::new(StringViewArray::from(vec![line])));
                (Predicate::Compare { column: LINE, comparison, value }, self.rows_where(|it| it == line))
            }
            _ => {
                let lines = [self.any_line(), self.any_line(), "no such line"];
                let values = Arc::new(StringViewArray::from(lines.to_vec()));
                (Predicate::OneOf { column: LINE, values }, self.rows_where(|it| lines.contains(&it)))
            }
        }
    }

    /// A pattern of LIKE: a piece of a line, with wildcards here and there.
    fn any_like(&self) -> String {
        let mut pattern = String::new();
        for character in self.any_piece().chars() {
            match self.world.choose(30) {
                0 => pattern.push('%'),
                1 => pattern.push('_'),
                _ if matches!(character, '%' | '_' | '\\') => pattern.extend(['\\', character]),
                _ => pattern.push(character),
            }
        }
        let (before, after) = (self.choose(&["%", "% ", ""]), self.choose(&["%", " %", ""]));
        format!("{before}{pattern}{after}")
    }

    /// Searches for so many patterns; gives how many blocks were asked, and how many passed over.
    pub(crate) fn check(&self, patterns: usize) -> (usize, usize) {
        let (mut asked, mut pruned) = (0, 0);
        for _ in 0..patterns {
            let (predicate, expected) = self.any_condition();
            let (found, statistics) = self.find(predicate.clone());
            assert_eq!(found, expected, "{}", predicate.describe("line"));
            asked += statistics.token_blocks;
            pruned += statistics.token_blocks_pruned;
        }
        (asked, pruned)
    }
}

/// A pattern of LIKE as a regular expression.
fn like(pattern: &str, case: Case) -> Regex {
    let mut out = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '\\' => out.push_str(&regex::escape(&characters.next().unwrap_or('\\').to_string())),
            other => out.push_str(&regex::escape(&other.to_string())),
        }
    }
    let mut builder = RegexBuilder::new(&format!("^{out}$"));
    builder.dot_matches_new_line(true).case_insensitive(case == Case::Ignored).build().unwrap()
}

/// The condition that lines have a token.
pub(crate) fn has_token(token: &str) -> Predicate {
    let condition = TextCondition::contains_token(Token::new(token).unwrap());
    Predicate::Text { column: LINE, condition, wanted: true }
}
