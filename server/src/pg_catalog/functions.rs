//! The functions that the interpreter knows, by their signatures.
//!
//! A signature is written as `name(type,type) result`; `*` before it says that the function wants to
//! see NULLs; `variadic` before the last type, that it takes any number of them; `setof`, that it
//! gives rows. A value for `any` comes as a record of one field, so that its type comes along.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::run::Run;
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::types::type_by_name;

mod array;
mod catalog;
pub(crate) mod json;
mod json_parts;
mod number;
mod privilege;
mod regexp;
mod session;
mod sets;
mod string;

/// Rows of a set-returning function.
pub(crate) type SetRows = Vec<Vec<Datum>>;

pub(crate) type ScalarBody = fn(&Run<'_>, &[Datum]) -> SqlResult<Datum>;
pub(crate) type SetBody = fn(&Run<'_>, &[Datum]) -> SqlResult<SetRows>;

/// A function that gives one value.
#[derive(Debug)]
pub(crate) struct Scalar {
    /// NULL where an argument is.
    pub(crate) strict: bool,
    pub(crate) eval: ScalarBody,
}

/// A function to be called; equal only to itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callable(pub(crate) &'static Scalar);

impl PartialEq for Callable {
    fn eq(&self, other: &Callable) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

/// A function that gives rows; equal only to itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetFunction {
    strict: bool,
    body: SetBody,
    identity: usize,
}

impl PartialEq for SetFunction {
    fn eq(&self, other: &SetFunction) -> bool {
        self.identity == other.identity
    }
}

impl SetFunction {
    pub(crate) fn rows(&self, run: &Run<'_>, values: &[Datum]) -> SqlResult<SetRows> {
        if self.strict && values.iter().any(Datum::is_null) {
            return Ok(Vec::new());
        }
        (self.body)(run, values)
    }
}

/// A type in a signature.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Slot {
    Type(PgType),
    /// Any type, without being told which.
    Any,
    AnyElement,
    AnyArray,
}

/// What a function is.
#[derive(Debug)]
pub(crate) enum Implementation {
    Scalar(Scalar),
    /// The columns of its rows.
    Set(SetFunction, Vec<(String, Slot)>),
}

/// One of the functions with a name.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) arguments: Vec<Slot>,
    pub(crate) variadic: bool,
    pub(crate) result: Slot,
    pub(crate) implementation: Implementation,
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Vec<Function>>> = LazyLock::new(|| {
    let mut functions: HashMap<&'static str, Vec<Function>> = HashMap::new();
    let scalars = [
        array::FUNCTIONS,
        catalog::FUNCTIONS,
        json::FUNCTIONS,
        json_parts::FUNCTIONS,
        number::FUNCTIONS,
        privilege::FUNCTIONS,
        regexp::FUNCTIONS,
        session::FUNCTIONS,
        string::FUNCTIONS,
    ];
    for (signature, eval) in scalars.iter().copied().flatten() {
        let parsed = Signature::parse(signature).expect("signatures are written as they are read");
        let implementation = Implementation::Scalar(Scalar { strict: parsed.strict, eval: *eval });
        functions.entry(parsed.name).or_default().push(parsed.function(implementation));
    }
    let sets = sets::FUNCTIONS.iter().chain(json_parts::SETS).chain(number::SETS).chain(regexp::SETS);
    for (identity, (signature, body)) in sets.enumerate() {
        let parsed = Signature::parse(signature).expect("signatures are written as they are read");
        let set = SetFunction { strict: parsed.strict, body: *body, identity };
        let columns = parsed.columns.clone();
        functions.entry(parsed.name).or_default().push(parsed.function(Implementation::Set(set, columns)));
    }
    functions
});

/// The functions with this name.
pub(crate) fn named(name: &str) -> &'static [Function] {
    FUNCTIONS.get(name).map_or(&[], Vec::as_slice)
}

struct Signature {
    name: &'static str,
    strict: bool,
    arguments: Vec<Slot>,
    variadic: bool,
    result: Slot,
    columns: Vec<(String, Slot)>,
}

impl Signature {
    fn parse(text: &'static str) -> Option<Signature> {
        let (strict, text) = match text.strip_prefix('*') {
            Some(rest) => (false, rest),
            None => (true, text),
        };
        let (name, rest) = text.split_once('(')?;
        let (arguments, result) = rest.split_once(") ")?;
        let (variadic, arguments) = match arguments.split_once("variadic ") {
            Some((before, last)) => (true, format!("{before}{last}")),
            None => (false, arguments.to_owned()),
        };
        let arguments = arguments.split(',').filter(|it| !it.is_empty()).map(slot).collect::<Option<_>>()?;
        let mut columns = Vec::new();
        let result = match result.strip_prefix("setof ") {
            None => slot(result)?,
            Some(fields) if fields.starts_with('(') => {
                for field in fields.trim_matches(['(', ')']).split(',') {
                    let (name, field_type) = field.split_once(' ')?;
                    columns.push((name.to_owned(), slot(field_type)?));
                }
                Slot::Type(PgType::RECORD)
            }
            Some(one) => {
                columns.push((name.to_owned(), slot(one)?));
                slot(one)?
            }
        };
        Some(Signature { name, strict, arguments, variadic, result, columns })
    }

    fn function(self, implementation: Implementation) -> Function {
        Function { arguments: self.arguments, variadic: self.variadic, result: self.result, implementation }
    }
}

fn slot(name: &str) -> Option<Slot> {
    Some(match name {
        "any" => Slot::Any,
        "anyelement" => Slot::AnyElement,
        "anyarray" => Slot::AnyArray,
        other => Slot::Type(match other.strip_suffix("[]") {
            Some(element) => crate::pgtype::types::array_type_of(&type_by_name(element)?)?,
            None => type_by_name(other)?,
        }),
    })
}

/// The arguments of a function, by their types; what does not fit is a bug of the signature.
pub(crate) fn text(values: &[Datum], at: usize) -> &str {
    values.get(at).map_or("", crate::pg_catalog::operators::text)
}

pub(crate) fn int(values: &[Datum], at: usize) -> i64 {
    match values.get(at) {
        Some(Datum::Int2(value)) => i64::from(*value),
        Some(Datum::Int4(value)) => i64::from(*value),
        Some(Datum::Int8(value)) => *value,
        _ => 0,
    }
}

pub(crate) fn oid(values: &[Datum], at: usize) -> u32 {
    match values.get(at) {
        Some(Datum::Oid(value) | Datum::Reg(value, _)) => *value,
        _ => 0,
    }
}

pub(crate) fn flag(values: &[Datum], at: usize) -> bool {
    matches!(values.get(at), Some(Datum::Bool(true)))
}

/// A value that was passed for `any`, with its type.
pub(crate) fn any(value: &Datum) -> SqlResult<(&PgType, &Datum)> {
    match value {
        Datum::Record(fields) if fields.len() == 1 => Ok((&fields[0].0, &fields[0].1)),
        other => Err(SqlError::internal(format!("no value of any type: {other:?}"))),
    }
}

pub(crate) fn texted(text: impl Into<String>) -> SqlResult<Datum> {
    Ok(Datum::Text(text.into()))
}

/// A number as `integer`.
pub(crate) fn int4(value: usize) -> Datum {
    Datum::Int4(i32::try_from(value).unwrap_or(i32::MAX))
}
