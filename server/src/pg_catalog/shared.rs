//! Functions and relations of the interpreter, for those who compute with whole columns: DataFusion's
//! queries call the functions row by row, and read the relations as tables.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::compile::{Resolved, function_of, resolve};
use crate::pg_catalog::convert::{Cast, cast};
use crate::pg_catalog::functions::{Implementation, Scalar};
use crate::pg_catalog::names::{self, Found, quote_ident};
use crate::pg_catalog::run::Run;
use crate::pg_catalog::{CatalogContext, CatalogQuery, NotAnswered, Reach};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::types::NO_TYPMOD;

/// A function for arguments of known types.
#[derive(Debug)]
pub struct SharedFunction {
    scalar: &'static Scalar,
    /// How each argument becomes what the function wants; `None` where it wants to be told its type.
    casts: Vec<(PgType, Option<Cast>)>,
    /// The type of its result.
    pub result: PgType,
}

impl SharedFunction {
    /// The function of a name that takes these types, where `unknown` is a string constant; `None`
    /// where there is none of the name, or it gives rows.
    ///
    /// # Errors
    /// There are some of the name, and none takes the types.
    pub fn find(name: &str, types: &[PgType]) -> SqlResult<Option<SharedFunction>> {
        let Some(Resolved { function, wanted, result }) = resolve(name, types)? else { return Ok(None) };
        let Implementation::Scalar(scalar) = &function.implementation else { return Ok(None) };
        let casts = types.iter().zip(wanted).map(|(given, wanted)| {
            let cast = wanted.map(|to| Cast { from: given.clone(), to, typmod: NO_TYPMOD });
            (given.clone(), cast)
        });
        Ok(Some(SharedFunction { scalar, casts: casts.collect(), result }))
    }

    /// Whether there is a function of a name.
    pub fn is_named(name: &str) -> bool {
        !crate::pg_catalog::functions::named(name).is_empty()
    }

    /// The function that an operator on JSON calls.
    pub fn of_operator(
        operator: &sqlparser::ast::BinaryOperator,
        left: &PgType,
        right: &PgType,
    ) -> Option<&'static str> {
        function_of(operator, left, right)
    }
}

/// Calls a function for many rows of one statement.
#[derive(Debug)]
pub struct Caller<'a> {
    function: &'a SharedFunction,
    run: Run<'a>,
}

impl<'a> Caller<'a> {
    /// In the context of a statement.
    pub fn new(function: &'a SharedFunction, context: &'a CatalogContext) -> Caller<'a> {
        Caller { function, run: Run::new(context, &[]) }
    }

    /// The function's value of these arguments.
    ///
    /// # Errors
    /// What the function raises.
    pub fn call(&self, values: impl IntoIterator<Item = Datum>) -> SqlResult<Datum> {
        let mut arguments = Vec::with_capacity(self.function.casts.len());
        for (value, (given, to)) in values.into_iter().zip(&self.function.casts) {
            arguments.push(match to {
                None => Datum::Record(vec![(given.clone(), value)]),
                Some(to) if to.from == to.to => value,
                Some(to) => cast(value, to, &self.run)?,
            });
        }
        if self.function.scalar.strict && arguments.iter().any(Datum::is_null) {
            return Ok(Datum::Null);
        }
        (self.function.scalar.eval)(&self.run, &arguments)
    }
}

/// A relation of the catalog: its name, and its columns with their types.
#[derive(Debug)]
pub struct SharedRelation {
    /// `pg_catalog` or `information_schema`
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// Its columns.
    pub columns: Vec<(String, PgType)>,
}

/// The relation of the catalog that a name means.
pub fn relation(namespace: Option<&str>, name: &str, context: &CatalogContext) -> Option<SharedRelation> {
    let Some(Found::Ours(found)) = names::relation(context, namespace, name) else { return None };
    let columns = found.columns.iter().map(|column| (column.name.clone(), column.pg_type.clone()));
    Some(SharedRelation {
        namespace: found.namespace.clone(),
        name: found.name.clone(),
        columns: columns.collect(),
    })
}

/// The rows of a relation of the catalog.
///
/// # Errors
/// A view of it cannot be computed: a bug.
pub fn rows(namespace: &str, name: &str, context: &CatalogContext) -> SqlResult<Vec<Vec<Datum>>> {
    let text = format!("SELECT * FROM {}.{}", quote_ident(namespace), quote_ident(name));
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(&text);
    let query = parser.and_then(|mut parser| parser.parse_query()).map_err(SqlError::internal)?;
    let compiled = CatalogQuery::analyze(&query, &[], context, Reach::Catalog);
    let compiled = compiled.map_err(|error| match error {
        NotAnswered::Error(error) => error,
        NotAnswered::NotOurs => SqlError::internal(format!("{text} is not the catalog's")),
    })?;
    Ok(compiled.run(&[], context)?.rows)
}
