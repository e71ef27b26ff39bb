//! What users say of their tables: options, defaults, comments.

use tidemark_catalog::collection::{Collection, MERGE_AFTER_DEFAULT, SYMBOL_LIMIT_DEFAULT};
use tidemark_catalog::comment::ObjectRef;
use tidemark_catalog::ids::{CollectionId, ColumnId, NamespaceId};

use crate::pg_catalog::names::quote_ident;
use crate::pg_catalog::plan::Row;
use crate::pg_catalog::relations::made::text;
use crate::pg_catalog::run::Run;
use crate::pgtype::datum::Datum;

/// `pg_class` as a thing that has comments.
pub(crate) const CLASS_RELATION: u32 = 1259;

/// `pg_namespace` as a thing that has comments.
pub(crate) const CLASS_NAMESPACE: u32 = 2615;

/// The options with which the table would be made again.
pub(crate) fn options(collection: &Collection) -> Vec<String> {
    let declared = collection.timeseries();
    let name = |id: &ColumnId| {
        let column = collection.schema.column(*id);
        quote_ident(&column.expect("an invariant of the catalog: keys are columns").name)
    };
    let list = |ids: &[ColumnId]| ids.iter().map(name).collect::<Vec<_>>().join(", ");
    let mut options = vec![
        "kind=timeseries".to_owned(),
        format!("time_key={}", name(&declared.time_key)),
        format!("partition_by={}", declared.partition_by),
    ];
    if !declared.series_key.is_empty() {
        options.push(format!("series_key={}", list(&declared.series_key)));
    }
    if !declared.dedup_key.is_empty() {
        options.push(format!("dedup_key={}", list(&declared.dedup_key)));
    }
    if let Some(ttl) = declared.ttl {
        options.push(format!("ttl={ttl}"));
    }
    if declared.merge_after != MERGE_AFTER_DEFAULT {
        options.push(format!("merge_after={}", declared.merge_after));
    }
    if declared.symbol_limit != SYMBOL_LIMIT_DEFAULT {
        options.push(format!("symbol_limit={}", declared.symbol_limit));
    }
    options
}

/// The rows of `pg_attrdef`.
pub(super) fn defaults(run: &Run<'_>) -> Vec<Row> {
    let collections = run.context.view.collections();
    let defaults = collections.flat_map(|view| {
        let id = view.collection.id;
        let columns = view.collection.schema.columns().iter();
        columns.filter_map(move |column| {
            let default = column.default.as_deref()?;
            Some(Row::from(vec![
                Datum::Oid(default_oid(id, column.id)),
                Datum::Oid(id.0),
                Datum::Int2(i16::try_from(column.id.0).unwrap_or(i16::MAX)),
                text(default),
            ]))
        })
    });
    defaults.collect()
}

/// Defaults have no oids of their own; these are beyond those that objects get.
fn default_oid(collection: CollectionId, column: ColumnId) -> u32 {
    const FIRST: u32 = 1 << 31;
    const PER_COLLECTION: u32 = 2048;
    FIRST | (collection.0.wrapping_mul(PER_COLLECTION).wrapping_add(column.0) & (FIRST - 1))
}

/// The rows of `pg_description` that users made.
pub(super) fn comments(run: &Run<'_>) -> Vec<Row> {
    let row = |(object, comment): (ObjectRef, &str)| {
        let (object, class, column) = match object {
            ObjectRef::Namespace(id) => (id.0, CLASS_NAMESPACE, 0),
            ObjectRef::Collection(id) => (id.0, CLASS_RELATION, 0),
            ObjectRef::Column(id, column) => (id.0, CLASS_RELATION, column.0),
        };
        let column = Datum::Int4(i32::try_from(column).unwrap_or(i32::MAX));
        Row::from(vec![Datum::Oid(object), Datum::Oid(class), column, text(comment)])
    };
    run.context.view.comments().map(row).collect()
}

/// What users say of an object; of any kind, where no class is named.
pub(crate) fn comment(run: &Run<'_>, oid: u32, class: Option<u32>, column: u32) -> Option<String> {
    let view = &run.context.view;
    let objects = [
        (
            CLASS_RELATION,
            match column {
                0 => ObjectRef::Collection(CollectionId(oid)),
                column => ObjectRef::Column(CollectionId(oid), ColumnId(column)),
            },
        ),
        (CLASS_NAMESPACE, ObjectRef::Namespace(NamespaceId(oid))),
    ];
    let mut wanted = objects.iter().filter(|(of, _)| class.is_none_or(|class| class == *of));
    wanted.find_map(|(_, object)| view.comment(*object)).map(str::to_owned)
}
