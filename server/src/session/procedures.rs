//! CALL: the procedures that there are, and how they get their arguments.
//!
//! A procedure is an entry of [`PROCEDURES`]: its parameters, by name and type, and what it does, which
//! may block. Arguments are constants, by position or by name. Of several procedures of a name the first
//! is called that takes the arguments; a string without a type is read as what each of them takes.
//!
//! Only the owner of a table, or a superuser, calls a procedure on it.

use std::sync::Arc;

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::CollectionId;
use tidemark_catalog::role::Role;
use tidemark_catalog::types::TimeUnit;
use tidemark_engine::engine::Engine;
use tidemark_engine::error::JobError;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::{CatalogContext, before, split_qualified};
use crate::pgtype::PgType;
use crate::pgtype::cast::{self, CastError};
use crate::pgtype::datum::Datum;
use crate::pgtype::text::parse_text;
use crate::pgtype::types::{Family, NO_TYPMOD, family, format_type};
use crate::plan::parameters::parameter_number;
use crate::sql::ddl::require_owner_of;
use crate::sql::defaults::constant;
use crate::sql::names::{self, Resolver, no_relation};
use crate::sql::rows::errors::job_error;
use crate::sqlstate;

/// The schema of all procedures.
const NAMESPACE: &str = "tidemark";

/// A procedure.
#[derive(Debug)]
pub struct Procedure {
    name: &'static str,
    parameters: &'static [Parameter],
    changes: Changes,
    run: fn(&Engine, &Arguments<'_>) -> SqlResult<Done>,
}

/// Whether rows that were there are not there after a procedure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Nobody can tell the difference.
    Nothing,
    /// Rows go, at once and for good.
    Rows,
}

/// What the client is told of what was done, if anything.
type Done = Option<String>;

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
        changes: Changes::Nothing,
        run: |engine, arguments| unless_dropped(engine.flush(arguments.table("table")?.id)),
    },
    // Merges the segments of each partition of a table into one.
    Procedure {
        name: "merge",
        parameters: &[required("table", PgType::TEXT)],
        changes: Changes::Nothing,
        run: |engine, arguments| unless_dropped(engine.merge(arguments.table("table")?.id)),
    },
    // Drops the partitions that ended at an instant or before it.
    Procedure {
        name: "drop_partitions",
        parameters: &[required("table", PgType::TEXT), required("before", PgType::TIMESTAMPTZ)],
        changes: Changes::Rows,
        run: |engine, arguments| drop_partitions(engine, arguments, arguments.instant("before")?),
    },
    // Drops the partitions that ended so long ago.
    Procedure {
        name: "drop_partitions",
        parameters: &[required("table", PgType::TEXT), required("older_than", PgType::INTERVAL)],
        changes: Changes::Rows,
        run: |engine, arguments| drop_partitions(engine, arguments, arguments.ago("older_than")?),
    },
    // Writes what all tables have in memory to segments.
    Procedure {
        name: "checkpoint",
        parameters: &[],
        changes: Changes::Nothing,
        run: |engine, _| {
            let ids: Vec<CollectionId> = engine.view().collections().map(|it| it.collection.id).collect();
            ids.into_iter().try_for_each(|id| unless_dropped(engine.flush(id)).map(drop))?;
            Ok(None)
        },
    },
];

fn drop_partitions(engine: &Engine, arguments: &Arguments<'_>, instant_us: i64) -> SqlResult<Done> {
    let table = arguments.table("table")?;
    let ended_by = match table.time_column().column_type.time_unit() {
        // Beyond what nanoseconds reach there are no rows.
        Some(TimeUnit::Nanosecond) => instant_us.saturating_mul(1000),
        _ => instant_us,
    };
    let dropped = engine.drop_partitions(table.id, ended_by).map_err(|error| job_error(&error))?;
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    let (partitions, rows) = (dropped.partitions, dropped.rows);
    let (of_partitions, of_rows) = (plural(partitions), plural(rows));
    Ok(Some(format!("dropped {partitions} partition{of_partitions} with {rows} row{of_rows}")))
}

/// A table that was dropped meanwhile needs nothing.
fn unless_dropped(done: Result<(), JobError>) -> SqlResult<Done> {
    match done {
        Ok(()) | Err(JobError::Dropped(_)) => Ok(None),
        Err(error) => Err(job_error(&error)),
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
            FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
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
    role: Role,
    now_us: i64,
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
    let wanted = match call.name.as_slice() {
        [namespace, name] if namespace == NAMESPACE => Some(name.as_str()),
        _ => None,
    };
    let mut refused = None;
    for procedure in PROCEDURES.iter().filter(|it| Some(it.name) == wanted) {
        let Some(places) = places(procedure, &arguments) else { continue };
        match values(procedure, &places, &arguments, context) {
            Ok(values) => {
                let (role, now_us) = (context.role.clone(), context.format.now_us);
                return Ok(Prepared { procedure, values, role, now_us });
            }
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(|| no_procedure(&call.name, &arguments)))
}

fn values(
    procedure: &Procedure,
    places: &[usize],
    arguments: &[Argument<'_>],
    context: &CatalogContext,
) -> SqlResult<Vec<Datum>> {
    let mut values = vec![Datum::Null; procedure.parameters.len()];
    for (place, (_, datum, pg_type)) in places.iter().zip(arguments) {
        values[*place] = procedure.parameters[*place].value(procedure, datum, pg_type, context)?;
    }
    Ok(values)
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
        let is_day_or_local = matches!(family(pg_type), Family::Date | Family::Timestamp);
        let fits = *pg_type == PgType::UNKNOWN
            || family(pg_type) == family(&parameter.pg_type)
            || (is_day_or_local && parameter.pg_type == PgType::TIMESTAMPTZ);
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
            other => {
                cast::assign(other.clone(), &self.pg_type, NO_TYPMOD, &context.format).map_err(|error| {
                    match error {
                        CastError::Value(error) => error,
                        CastError::NoCast => SqlError::internal("an argument that fits is cast"),
                    }
                })
            }
        }
    }
}

/// The arguments of a procedure that runs.
#[derive(Debug)]
pub struct Arguments<'a> {
    procedure: &'static Procedure,
    values: &'a [Datum],
    resolver: &'a Resolver,
    role: &'a Role,
    now_us: i64,
}

impl Arguments<'_> {
    /// The argument of this name; NULL where it was left out.
    fn get(&self, name: &str) -> &Datum {
        let at = self.procedure.parameters.iter().position(|parameter| parameter.name == name);
        &self.values[at.expect("a procedure asks for its own parameters")]
    }

    /// The table that an argument names, which the caller may change.
    fn table(&self, name: &str) -> SqlResult<Arc<Collection>> {
        let Datum::Text(text) = self.get(name) else {
            return Err(SqlError::internal(format!("argument {name} is no text")));
        };
        let (namespace, table) = split_qualified(text)?;
        let found = self.resolver.find(namespace.as_deref(), &table)?;
        let found = found.ok_or_else(|| no_relation(namespace.as_deref(), &table))?;
        require_owner_of(found.owner, "table", &found.name, self.role)?;
        Ok(found)
    }

    /// The instant of an argument, in microseconds.
    fn instant(&self, name: &str) -> SqlResult<i64> {
        match self.get(name) {
            Datum::Timestamptz(us) => Ok(*us),
            _ => Err(SqlError::internal(format!("argument {name} is no instant"))),
        }
    }

    /// The instant so long before the transaction began, in microseconds.
    fn ago(&self, name: &str) -> SqlResult<i64> {
        match self.get(name) {
            Datum::Interval(interval) => before(self.now_us, *interval),
            _ => Err(SqlError::internal(format!("argument {name} is no interval"))),
        }
    }
}

impl Prepared {
    /// Does it; blocks. Gives what the client is told besides.
    ///
    /// # Errors
    /// What the procedure raises.
    pub fn run(&self, engine: &Engine, resolver: &Resolver) -> SqlResult<Option<String>> {
        let Prepared { procedure, values, role, now_us } = self;
        let arguments = Arguments { procedure, values, resolver, role, now_us: *now_us };
        (self.procedure.run)(engine, &arguments)
    }

    /// The name of the procedure.
    pub fn name(&self) -> &'static str {
        self.procedure.name
    }

    /// What it changes.
    pub fn changes(&self) -> Changes {
        self.procedure.changes
    }
}
