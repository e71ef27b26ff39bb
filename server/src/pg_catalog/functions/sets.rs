//! Functions that give rows.

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::functions::{SetBody, SetRows, flag, int, text};
use crate::pg_catalog::relations::KEYWORDS;
use crate::pg_catalog::run::Run;
use crate::pgtype::datum::Datum;
use crate::sqlstate;

/// A series has so many values at most; longer ones are DataFusion's business.
const SERIES_MAX: i64 = 1_000_000;

pub(super) const FUNCTIONS: &[(&str, SetBody)] = &[
    ("unnest(anyarray) setof anyelement", |_, values| Ok(elements(&values[0]).map(|it| vec![it]).collect())),
    ("generate_series(int4,int4) setof int4", |_, values| series(values, 1, int32)),
    ("generate_series(int4,int4,int4) setof int4", |_, values| series(values, int(values, 2), int32)),
    ("generate_series(int8,int8) setof int8", |_, values| series(values, 1, Datum::Int8)),
    ("generate_series(int8,int8,int8) setof int8", |_, values| series(values, int(values, 2), Datum::Int8)),
    ("generate_subscripts(anyarray,int4) setof int4", subscripts),
    ("generate_subscripts(anyarray,int4,bool) setof int4", |run, values| {
        let mut rows = subscripts(run, values)?;
        if flag(values, 2) {
            rows.reverse();
        }
        Ok(rows)
    }),
    ("_pg_expandarray(anyarray) setof (x anyelement,n int4)", |_, values| {
        Ok(elements(&values[0]).zip(1..).map(|(value, at)| vec![value, Datum::Int4(at)]).collect())
    }),
    ("pg_get_keywords() setof (word text,catcode char,barelabel bool,catdesc text,baredesc text)", keywords),
    ("pg_options_to_table(text[]) setof (option_name text,option_value text)", |_, values| {
        let pair = |value: Datum| {
            let option = crate::pg_catalog::operators::text(&value).to_owned();
            let (name, value) = option.split_once('=').unwrap_or((&option, ""));
            vec![Datum::Text(name.to_owned()), Datum::Text(value.to_owned())]
        };
        Ok(elements(&values[0]).map(pair).collect())
    }),
    ("aclexplode(_aclitem) setof (grantor oid,grantee oid,privilege_type text,is_grantable bool)", none),
    ("pg_partition_tree(regclass) setof (relid regclass,parentrelid regclass,isleaf bool,level int4)", none),
    ("pg_listening_channels() setof text", none),
    ("pg_get_publication_tables(text) setof oid", none),
    ("pg_partition_ancestors(regclass) setof regclass", none),
    ("string_to_table(text,text) setof text", |_, values| {
        let (whole, separator) = (text(values, 0), text(values, 1));
        let parts: Vec<&str> = match separator {
            _ if whole.is_empty() => Vec::new(),
            "" => vec![whole],
            separator => whole.split(separator).collect(),
        };
        Ok(parts.into_iter().map(|part| vec![Datum::Text(part.to_owned())]).collect())
    }),
];

fn none(_: &Run<'_>, _: &[Datum]) -> SqlResult<SetRows> {
    Ok(Vec::new())
}

fn int32(value: i64) -> Datum {
    i32::try_from(value).map_or(Datum::Null, Datum::Int4)
}

fn elements(array: &Datum) -> impl Iterator<Item = Datum> {
    let values = match array {
        Datum::Array(array) => array.values.clone(),
        _ => Vec::new(),
    };
    values.into_iter()
}

fn series(values: &[Datum], step: i64, datum: impl Fn(i64) -> Datum) -> SqlResult<SetRows> {
    let (start, stop) = (int(values, 0), int(values, 1));
    if step == 0 {
        return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, "step size cannot equal zero"));
    }
    let span = if step > 0 { stop.checked_sub(start) } else { start.checked_sub(stop) };
    if span.is_none_or(|span| span / step.saturating_abs() >= SERIES_MAX) {
        let message = format!("a series of more than {SERIES_MAX} values in a query without tables");
        return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
    }
    let mut rows = Vec::new();
    let mut value = Some(start);
    while let Some(at) = value.filter(|at| if step > 0 { *at <= stop } else { *at >= stop }) {
        rows.push(vec![datum(at)]);
        value = at.checked_add(step);
    }
    Ok(rows)
}

fn subscripts(_: &Run<'_>, values: &[Datum]) -> SqlResult<SetRows> {
    let Datum::Array(array) = &values[0] else { return Ok(Vec::new()) };
    let at = usize::try_from(int(values, 1)).ok().and_then(|at| at.checked_sub(1));
    let Some(dimension) = at.and_then(|at| array.dimensions.get(at)) else { return Ok(Vec::new()) };
    let all = dimension.lower_bound..dimension.lower_bound + dimension.length;
    Ok(all.map(|at| vec![Datum::Int4(at)]).collect())
}

fn keywords(_: &Run<'_>, _: &[Datum]) -> SqlResult<SetRows> {
    let row = |fields: &Vec<&str>| {
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        vec![
            Datum::Text(field(0).to_owned()),
            Datum::Char(field(1).bytes().next().unwrap_or(b' ')),
            Datum::Bool(field(2) == "t"),
            Datum::Text(field(3).to_owned()),
            Datum::Text(field(4).to_owned()),
        ]
    };
    Ok(KEYWORDS.iter().map(row).collect())
}
