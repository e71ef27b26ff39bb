//! CALL: the procedures that there are, and how they get their arguments.
//!
//! A procedure is an entry of [`PROCEDURES`]: its parameters, by name and type, and what it does, which
//! may block. Arguments are constants, by position or by name.

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments};
use tidemark_catalog::ids::CollectionId;
use tidemark_engine::engine::Engine;
use tidemark_engine::error::JobError;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::{CatalogContext, split_qualified};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::text::parse_text;
use crate::pgtype::types::{NO_TYPMOD, family, format_type};
use crate::plan::parameters::parameter_number;
use crate::sql::defaults::constant;
use crate::sql::names::{self, Resolver, no_relation};
use crate::sql::rows::job_error;
use crate::sqlstate;

/// The schema of all procedures.
const NAMESPACE: &str = "tidemark";

/// A procedure.
#[derive(Debug)]
pub struct Procedure {
    name: &'static str,
    parameters: &'static [Parameter],
    run: fn(&Engine, &Arguments<'_>) -> SqlResult<()>,
}

/// A parameter of a procedure.
#[derive(Debug)]
struct Parameter {
    name: &'static str,
    pg_type: PgType,
    required: bool,
}

const fn required(name: &'static str, pg_type: PgType) -> Parameter {
    Parameter { name, pg_type, required: true }
}

/// What can be called.
const PROCEDURES: &[Procedure] = &[
    // Writes what a table has in memory to segments.
    Procedure {
        name: "flush",
        parameters: &[required("table", PgType::TEXT)],
        run: |engine, arguments| unless_dropped(engine.flush(arguments.table("table")?)),
    },
    // Merges the segments of each partition of a table into one.
    Procedure {
        name: "merge",
        parameters: &[required("table", PgType::TEXT)],
        run: |engine, arguments| unless_dropped(engine.merge(arguments.table("table")?)),
    },
    // Writes what all tables have in memory to segments.
    Procedure {
        name: "checkpoint",
        parameters: &[],
        run: |engine, _| {
            let ids: Vec<CollectionId> = engine.view().collections().map(|it| it.collection.id).collect();
            ids.into_iter().try_for_each(|id| unless_dropped(engine.flush(id)))
        },
    },
];

/// A table that was dropped meanwhile needs nothing.
fn unless_dropped(done: Result<(), JobError>) -> SqlResult<()> {
    match done {
        Err(JobError::Dropped(_)) => Ok(()),
        other => other.map_err(|error| job_error(&error)),
    }
}

/// A CALL as it is written.
#[derive(Clone, Debug)]
pub struct Call {
    name: Vec<String>,
    arguments: Vec<(Option<String>, Expr)>,
}

impl Call {
    /// Reads a CALL.
    ///
    /// # Errors
    /// It has a form that no procedure takes.
    pub fn of(function: &Function) -> SqlResult<Call> {
        let name = names::parts(&function.name)?;
        let arguments = match &function.args {
            FunctionArguments::None => &[][..],
            FunctionArguments::List(list) => &list.args,
            FunctionArguments::Subquery(_) => return Err(cannot_be("a subquery")),
        };
        let arguments = arguments.iter().map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok((None, expr.clone())),
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(expr),
                operator: FunctionArgOperator::RightArrow | FunctionArgOperator::Assignment,
            } => Ok((Some(names::fold(name)), expr.clone())),
            other => Err(cannot_be(&other.to_string())),
        });
        Ok(Call { name, arguments: arguments.collect::<SqlResult<_>>()? })
    }

    /// What CHECKPOINT calls.
    pub fn checkpoint() -> Call {
        Call { name: vec![NAMESPACE.to_owned(), "checkpoint".to_owned()], arguments: Vec::new() }
    }

    /// The types of its parameters.
    pub fn parameters(&self, declared: &[Option<PgType>]) -> Vec<PgType> {
        let numbers = self.arguments.iter().filter_map(|(_, expr)| parameter_number(expr));
        let count = numbers.map(|number| number + 1).max().unwrap_or(0).max(declared.len());
        let declared = |at: usize| declared.get(at).cloned().flatten();
        (0..count).map(|at| declared(at).unwrap_or(PgType::TEXT)).collect()
    }
}

fn cannot_be(what: &str) -> SqlError {
    SqlError::unsupported(format!("{what} as an argument of a procedure"))
}

/// A call that is ready: a procedure with its arguments.
#[derive(Debug)]
pub struct Prepared {
    procedure: &'static Procedure,
    values: Vec<Datum>,
}

/// Finds the procedure of a call, and computes its arguments. `parameters` are values with their types.
///
/// # Errors
/// There is no such procedure, or it takes other arguments.
pub fn prepare(
    call: &Call,
    parameters: (&[Datum], &[PgType]),
    context: &CatalogContext,
) -> SqlResult<Prepared> {
    let arguments = call.arguments.iter().map(|(name, expr)| {
        let value = match parameter_number(expr) {
            Some(number) => {
                let value = parameters.0.get(number).cloned().unwrap_or(Datum::Null);
                (value, parameters.1.get(number).cloned().unwrap_or(PgType::TEXT))
            }
            None => constant(expr, context)?,
        };
        Ok((name.as_deref(), value.0, value.1))
    });
    let arguments = arguments.collect::<SqlResult<Vec<Argument<'_>>>>()?;
    let procedure = match call.name.as_slice() {
        [namespace, name] if namespace == NAMESPACE => PROCEDURES.iter().find(|it| it.name == *name),
        _ => None,
    };
    let missing = || no_procedure(&call.name, &arguments);
    let procedure = procedure.ok_or_else(missing)?;
    let places = places(procedure, &arguments).ok_or_else(missing)?;
    let mut values = vec![Datum::Null; procedure.parameters.len()];
    for (place, (_, datum, pg_type)) in places.into_iter().zip(&arguments) {
        values[place] = procedure.parameters[place].value(procedure, datum, pg_type, context)?;
    }
    Ok(Prepared { procedure, values })
}

/// An argument: its name, where it has one, its value and type.
type Argument<'a> = (Option<&'a str>, Datum, PgType);

/// For each argument the place of its parameter; `None` when they do not fit.
fn places(procedure: &Procedure, arguments: &[Argument<'_>]) -> Option<Vec<usize>> {
    let mut places = Vec::with_capacity(arguments.len());
    let mut named = false;
    for (at, (name, _, pg_type)) in arguments.iter().enumerate() {
        // After a name come names only.
        let place = match name {
            Some(name) => procedure.parameters.iter().position(|it| it.name == *name)?,
            None if named => return None,
            None => at,
        };
        named |= name.is_some();
        let parameter = procedure.parameters.get(place)?;
        let fits = *pg_type == PgType::UNKNOWN || family(pg_type) == family(&parameter.pg_type);
        let is_text = family(pg_type).is_text() && parameter.pg_type != PgType::TEXT;
        if places.contains(&place) || !(fits || is_text) {
            return None;
        }
        places.push(place);
    }
    let mut required = (0..procedure.parameters.len()).filter(|at| procedure.parameters[*at].required);
    required.all(|at| places.contains(&at)).then_some(places)
}

fn no_procedure(name: &[String], arguments: &[Argument<'_>]) -> SqlError {
    let arguments = arguments.iter().map(|(name, _, pg_type)| {
        let pg_type = format_type(pg_type);
        name.map_or(pg_type.clone(), |name| format!("{name} => {pg_type}"))
    });
    let arguments = arguments.collect::<Vec<_>>().join(", ");
    let message = format!("procedure {}({arguments}) does not exist", name.join("."));
    SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).with_hint(
        "No procedure matches the given name and argument types. You might need to add explicit type casts.",
    )
}

impl Parameter {
    fn value(
        &self,
        procedure: &Procedure,
        datum: &Datum,
        pg_type: &PgType,
        context: &CatalogContext,
    ) -> SqlResult<Datum> {
        match datum {
            Datum::Null if self.required => {
                let message = format!(
                    "argument \"{}\" of procedure {NAMESPACE}.{} must not be null",
                    self.name, procedure.name
                );
                Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
            }
            Datum::Text(text) if family(pg_type).is_text() => {
                parse_text(text, &self.pg_type, NO_TYPMOD, &context.format)
            }
            other => Ok(other.clone()),
        }
    }
}

/// The arguments of a procedure that runs.
#[derive(Debug)]
pub struct Arguments<'a> {
    procedure: &'static Procedure,
    values: &'a [Datum],
    resolver: &'a Resolver,
}

impl Arguments<'_> {
    /// The argument of this name; NULL where it was left out.
    fn get(&self, name: &str) -> &Datum {
        let at = self.procedure.parameters.iter().position(|parameter| parameter.name == name);
        &self.values[at.expect("a procedure asks for its own parameters")]
    }

    /// The table that an argument names.
    fn table(&self, name: &str) -> SqlResult<CollectionId> {
        let Datum::Text(text) = self.get(name) else {
            return Err(SqlError::internal(format!("argument {name} is no text")));
        };
        let (namespace, table) = split_qualified(text)?;
        let found = self.resolver.find(namespace.as_deref(), &table)?;
        found.map(|found| found.id).ok_or_else(|| no_relation(namespace.as_deref(), &table))
    }
}

impl Prepared {
    /// Does it; blocks.
    ///
    /// # Errors
    /// What the procedure raises.
    pub fn run(&self, engine: &Engine, resolver: &Resolver) -> SqlResult<()> {
        let arguments = Arguments { procedure: self.procedure, values: &self.values, resolver };
        (self.procedure.run)(engine, &arguments)
    }

    /// The name of the procedure.
    pub fn name(&self) -> &'static str {
        self.procedure.name
    }
}
