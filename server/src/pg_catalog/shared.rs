//! Functions of the interpreter, for those who compute with whole columns: DataFusion's queries call
//! them row by row.

use crate::error::SqlResult;
use crate::pg_catalog::CatalogContext;
use crate::pg_catalog::compile::{Resolved, function_of, resolve};
use crate::pg_catalog::convert::{Cast, cast};
use crate::pg_catalog::functions::{Implementation, Scalar};
use crate::pg_catalog::run::Run;
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
