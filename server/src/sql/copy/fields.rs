//! Where the fields of some records are: a table that is filled record by record and read column by
//! column.

use std::ops::Range;

/// The bit of [`Span::start`] that tells a field among those that were unescaped.
const UNESCAPED: u32 = 1 << 31;

/// A field: a run of bytes of the data, or of what was unescaped, or NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

/// No run of bytes starts after it ends.
const NULL: Span = Span { start: u32::MAX, end: 0 };

/// A record, to say where an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its bytes in the data.
    pub(crate) start: usize,
    /// Where they end, without what ends its line.
    pub(crate) end: usize,
    /// The number of its last line.
    pub(crate) line: u64,
}

/// Where the fields of some records are.
#[derive(Debug, Default)]
pub(crate) struct FieldTable {
    /// Fields of a record.
    width: usize,
    /// Record by record.
    spans: Vec<Span>,
    records: Vec<Record>,
    /// Fields that are not in the data as they are.
    unescaped: Vec<u8>,
}

#[inline]
fn offset(at: usize) -> u32 {
    u32::try_from(at).ok().filter(|at| *at < UNESCAPED).expect("a record has at most 64 MiB, a message too")
}

impl FieldTable {
    /// For records of so many fields.
    pub(crate) fn new(width: usize) -> FieldTable {
        FieldTable { width, ..FieldTable::default() }
    }

    /// Forgets all records.
    pub(crate) fn clear(&mut self) {
        self.spans.clear();
        self.records.clear();
        self.unescaped.clear();
    }

    /// The records.
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    /// How many fields the record under way has.
    pub(crate) fn field_count(&self) -> usize {
        self.spans.len() - self.records.len() * self.width
    }

    /// The record under way has another field.
    #[inline]
    pub(crate) fn push(&mut self, start: usize, end: usize) {
        self.spans.push(Span { start: offset(start), end: offset(end) });
    }

    /// The record under way has another field, and it is NULL.
    pub(crate) fn push_null(&mut self) {
        self.spans.push(NULL);
    }

    /// The record under way has another field: what was written to [`FieldTable::unescaped`] since it
    /// had that length.
    pub(crate) fn push_unescaped(&mut self, from: usize) {
        let end = offset(self.unescaped.len());
        self.spans.push(Span { start: offset(from) | UNESCAPED, end });
    }

    /// Where fields are written that are not in the data as they are.
    pub(crate) fn unescaped(&mut self) -> &mut Vec<u8> {
        &mut self.unescaped
    }

    /// The record under way is complete; it has as many fields as it must.
    pub(crate) fn end_record(&mut self, record: Record) {
        debug_assert_eq!(self.field_count(), self.width);
        self.records.push(record);
    }

    /// What is there of the record under way is forgotten.
    pub(crate) fn drop_record(&mut self) {
        self.spans.truncate(self.records.len() * self.width);
    }

    /// The fields of one column in the first records.
    pub(crate) fn column(&self, at: usize, row_count: usize) -> impl Iterator<Item = Place> + Clone + '_ {
        self.spans_of(at, row_count).map(place)
    }

    /// The fields of one column in the first records, as texts: of the data, or of what was unescaped.
    pub(crate) fn texts<'a>(
        &'a self,
        at: usize,
        row_count: usize,
        data: &'a str,
        unescaped: &'a str,
    ) -> impl Iterator<Item = Option<&'a str>> + 'a {
        self.spans_of(at, row_count).map(move |span| {
            let (start, end) = (span.start as usize, span.end as usize);
            if span.start & UNESCAPED == 0 {
                Some(&data[start..end])
            } else if *span == NULL {
                None
            } else {
                Some(&unescaped[start & !(UNESCAPED as usize)..end])
            }
        })
    }

    /// The fields of one column in the first records, as bytes of the data.
    pub(crate) fn bytes<'a>(
        &'a self,
        at: usize,
        row_count: usize,
        data: &'a [u8],
    ) -> impl Iterator<Item = Option<&'a [u8]>> + 'a {
        let field = |span: &Span| (*span != NULL).then(|| &data[span.start as usize..span.end as usize]);
        self.spans_of(at, row_count).map(field)
    }

    fn spans_of(&self, at: usize, row_count: usize) -> impl Iterator<Item = &Span> + Clone {
        self.spans.chunks_exact(self.width.max(1)).take(row_count).map(move |record| &record[at])
    }

    /// The fields of the record under way.
    pub(crate) fn fields(&self) -> impl Iterator<Item = Place> + '_ {
        self.spans[self.records.len() * self.width..].iter().map(place)
    }

    /// The fields that were unescaped, one after another.
    pub(crate) fn unescaped_bytes(&self) -> &[u8] {
        &self.unescaped
    }
}

/// Where a field is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere: it is NULL.
    Null,
    /// In the data.
    Data(Range<usize>),
    /// Among those that were unescaped.
    Unescaped(Range<usize>),
}

fn place(span: &Span) -> Place {
    if *span == NULL {
        return Place::Null;
    }
    let start = (span.start & !UNESCAPED) as usize;
    let range = start..span.end as usize;
    if span.start & UNESCAPED == 0 { Place::Data(range) } else { Place::Unescaped(range) }
}
