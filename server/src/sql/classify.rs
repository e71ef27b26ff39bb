//! What kind of statement it is: who carries it out, and its command tag.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    self, CloseCursor, ContextModifier, DiscardObject, Expr, Reset, Set, Statement, TransactionAccessMode,
    TransactionIsolationLevel, TransactionMode, Value, helpers::attached_token::AttachedToken,
};

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::type_named;
use crate::pgtype::PgType;
use crate::session::procedures::Call;
use crate::session::settings::Scope;
use crate::sql::copy::statement::CopyStatement;
use crate::sql::ddl::is_definition;
use crate::sql::insert::constants::ConstantRows;
use crate::sql::names;
use crate::sql::parse::{self, Parsed, Said};
use crate::sqlstate;

/// A statement, sorted.
#[derive(Clone, Debug)]
pub enum Kind {
    /// SELECT, VALUES, WITH …
    Query(Box<ast::Query>),
    /// INSERT
    Insert {
        /// The statement.
        insert: Box<ast::Insert>,
        /// Its rows, where they were read already.
        rows: Option<Arc<ConstantRows>>,
    },
    /// DELETE
    Delete(Box<ast::Delete>),
    /// COPY, either way
    Copy(Box<CopyStatement>),
    /// EXPLAIN
    Explain(Box<Explain>),
    /// A definition: a change of the catalog
    Ddl(Box<Statement>),
    /// BEGIN, START TRANSACTION
    Begin(Vec<TransactionMode>),
    /// COMMIT, END
    Commit {
        /// A new transaction follows.
        chain: bool,
    },
    /// ROLLBACK, ABORT
    Rollback {
        /// A new transaction follows.
        chain: bool,
    },
    /// SAVEPOINT
    Savepoint(String),
    /// RELEASE
    Release(String),
    /// ROLLBACK TO
    RollbackTo(String),
    /// SET name = value
    Set {
        /// The parameter.
        name: String,
        /// Its value; `None` for DEFAULT.
        value: Option<String>,
        /// For how long.
        scope: Scope,
    },
    /// SET TRANSACTION, SET SESSION CHARACTERISTICS
    SetTransaction {
        /// What is set.
        modes: Vec<TransactionMode>,
        /// For all transactions of the session.
        session: bool,
    },
    /// SHOW
    Show(String),
    /// RESET
    Reset(String),
    /// RESET ALL
    ResetAll,
    /// DISCARD
    Discard(DiscardObject),
    /// PREPARE
    Prepare(Box<Preparation>),
    /// EXECUTE
    Execute {
        /// The statement.
        name: String,
        /// The values of its parameters.
        arguments: Vec<Expr>,
    },
    /// DEALLOCATE; `None` for all
    Deallocate(Option<String>),
    /// CHECKPOINT
    Checkpoint,
    /// CALL
    Call(Box<Call>),
    /// Nothing is to be done, and this is the tag: UNLISTEN * and CLOSE ALL, where nothing can be
    /// listened to and no cursor can be open.
    Nothing(&'static str),
}

/// EXPLAIN and its options.
#[derive(Clone, Debug)]
pub struct Explain {
    /// Run it too.
    pub analyze: bool,
    /// As JSON.
    pub json: bool,
    /// With the output columns and more.
    pub verbose: bool,
    /// What is explained.
    pub query: Box<ast::Query>,
}

/// PREPARE: a statement that is to be kept.
#[derive(Clone, Debug)]
pub struct Preparation {
    /// Its name.
    pub name: String,
    /// The types of its parameters, as far as they are said.
    pub types: Vec<PgType>,
    /// What is kept.
    pub statement: Box<Statement>,
    /// Its text.
    pub statement_text: String,
    /// The text of PREPARE itself.
    pub text: String,
}

/// Sorts a statement.
///
/// # Errors
/// 0A000 for what is not supported.
pub fn classify(parsed: &Parsed) -> SqlResult<Kind> {
    let statement = match &parsed.statement {
        Said::Copy(copy) => return Ok(Kind::Copy(copy.clone())),
        Said::Insert(insert) => {
            let rows = Some(Arc::clone(&insert.rows));
            return Ok(Kind::Insert { insert: insert.insert.clone(), rows });
        }
        Said::Sql(statement) => statement.as_ref(),
    };
    Ok(match statement {
        Statement::Query(query) => match query.body.as_ref() {
            ast::SetExpr::Insert(Statement::Insert(insert)) => insert_with(query, insert)?,
            ast::SetExpr::Insert(_)
            | ast::SetExpr::Update(_)
            | ast::SetExpr::Delete(_)
            | ast::SetExpr::Merge(_) => {
                return Err(SqlError::unsupported("a data-modifying statement in WITH"));
            }
            _ => Kind::Query(query.clone()),
        },
        Statement::Insert(insert) => Kind::Insert { insert: Box::new(insert.clone()), rows: None },
        Statement::Delete(delete) => Kind::Delete(Box::new(delete.clone())),
        Statement::Explain { .. } => explain(statement)?,
        definition if is_definition(definition) => Kind::Ddl(Box::new(statement.clone())),
        Statement::StartTransaction { modes, modifier: None, statements, .. } if statements.is_empty() => {
            Kind::Begin(modes.clone())
        }
        Statement::Commit { chain, modifier: None, .. } => Kind::Commit { chain: *chain },
        Statement::Rollback { chain, savepoint: None } => Kind::Rollback { chain: *chain },
        Statement::Rollback { savepoint: Some(name), .. } => Kind::RollbackTo(names::fold(name)),
        Statement::Savepoint { name } => Kind::Savepoint(names::fold(name)),
        Statement::ReleaseSavepoint { name } => Kind::Release(names::fold(name)),
        Statement::Set(set) => classify_set(set)?,
        Statement::ShowVariable { variable } => {
            let words: Vec<String> = variable.iter().map(names::fold).collect();
            Kind::Show(shown_parameter(&words))
        }
        Statement::ShowTables { .. } => Kind::Show("tables".to_owned()),
        Statement::ShowSchemas { .. } => Kind::Show("schemas".to_owned()),
        Statement::ShowDatabases { .. } => Kind::Show("databases".to_owned()),
        Statement::Reset(reset) => match &reset.reset {
            Reset::ALL => Kind::ResetAll,
            Reset::ConfigurationParameter(name) => Kind::Reset(shown_parameter(&names::parts(name)?)),
        },
        Statement::Discard { object_type } => Kind::Discard(*object_type),
        Statement::Prepare { name, data_types, statement } => {
            Kind::Prepare(Box::new(preparation(name, data_types, statement, &parsed.text)?))
        }
        Statement::Execute { name: Some(name), parameters, immediate: false, into, using, .. }
            if into.is_empty() && using.is_empty() =>
        {
            let name = names::parts(name)?.join(".");
            Kind::Execute { name, arguments: parameters.clone() }
        }
        Statement::Deallocate { name, .. } => match names::fold(name) {
            all if all == "all" && name.quote_style.is_none() => Kind::Deallocate(None),
            name => Kind::Deallocate(Some(name)),
        },
        Statement::UNLISTEN { channel } if channel.value == "*" => Kind::Nothing("UNLISTEN"),
        Statement::Close { cursor: CloseCursor::All } => Kind::Nothing("CLOSE CURSOR ALL"),
        Statement::Call(function) if is_checkpoint(function) => Kind::Checkpoint,
        Statement::Call(function) => Kind::Call(Box::new(Call::of(function)?)),
        other => return Err(unsupported(other)),
    })
}

fn preparation(
    name: &ast::Ident,
    types: &[ast::DataType],
    statement: &Statement,
    text: &str,
) -> SqlResult<Preparation> {
    let can_be_prepared = matches!(
        statement,
        Statement::Query(_)
            | Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::Merge { .. }
    );
    let statement_text = parse::after_as(text);
    if !can_be_prepared {
        let word = statement_text.split_whitespace().next().unwrap_or_default();
        let before = text.len() - text.trim_start().len() + text.rfind(statement_text).unwrap_or(0);
        let position = text[..before].chars().count() + 1;
        let message = format!("syntax error at or near \"{word}\"");
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message).at(Some(position)));
    }
    Ok(Preparation {
        name: names::fold(name),
        types: types.iter().map(type_named).collect::<SqlResult<_>>()?,
        statement: Box::new(statement.clone()),
        statement_text: statement_text.to_owned(),
        text: text.to_owned(),
    })
}

/// Expressions as a query that gives one row of them.
pub fn row_of(exprs: &[Expr]) -> ast::Query {
    let projection = exprs.iter().cloned().map(ast::SelectItem::UnnamedExpr).collect();
    ast::Query {
        with: None,
        body: Box::new(ast::SetExpr::Select(Box::new(ast::Select {
            select_token: AttachedToken::empty(),
            optimizer_hints: Vec::new(),
            distinct: None,
            select_modifiers: None,
            top: None,
            top_before_distinct: false,
            projection,
            exclude: None,
            into: None,
            from: Vec::new(),
            lateral_views: Vec::new(),
            prewhere: None,
            selection: None,
            connect_by: Vec::new(),
            group_by: ast::GroupByExpr::Expressions(Vec::new(), Vec::new()),
            cluster_by: Vec::new(),
            distribute_by: Vec::new(),
            sort_by: Vec::new(),
            having: None,
            named_window: Vec::new(),
            qualify: None,
            window_before_qualify: false,
            value_table_mode: None,
            flavor: ast::SelectFlavor::Standard,
        }))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// Whether there is a query within an expression.
pub fn has_query(expr: &Expr) -> bool {
    struct Queries;
    impl ast::Visitor for Queries {
        type Break = ();

        fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    ast::Visit::visit(expr, &mut Queries).is_break()
}

/// Whether it is a string constant, which may be of any type.
pub fn is_constant_text(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, Value::SingleQuotedString(_) | Value::Null),
        Expr::Nested(inner) => is_constant_text(inner),
        _ => false,
    }
}

/// An INSERT after WITH, whose query may use what is named there.
fn insert_with(query: &ast::Query, insert: &ast::Insert) -> SqlResult<Kind> {
    let mut insert = Box::new(insert.clone());
    if let Some(source) = insert.source.as_mut().filter(|source| source.with.is_none()) {
        source.with = query.with.clone();
        return Ok(Kind::Insert { insert, rows: None });
    }
    match (&query.with, &insert.source) {
        (None, _) => Ok(Kind::Insert { insert, rows: None }),
        _ => Err(SqlError::unsupported("WITH before an INSERT that has one of its own")),
    }
}

fn unsupported(statement: &Statement) -> SqlError {
    let text = statement.to_string();
    let words: Vec<&str> = text.split_whitespace().take_while(|word| is_keyword(word)).take(3).collect();
    let name = if words.is_empty() { "this statement".to_owned() } else { words.join(" ") };
    SqlError::unsupported(name)
}

fn is_keyword(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase())
}

fn explain(statement: &Statement) -> SqlResult<Kind> {
    let Statement::Explain { analyze, verbose, statement, format, options, .. } = statement else {
        return Err(SqlError::internal("not an EXPLAIN"));
    };
    let mut explained =
        (*analyze, *verbose, matches!(format, Some(kind) if kind.to_string().contains("JSON")));
    for option in options.iter().flatten() {
        let name = names::fold(&option.name);
        let argument = option.arg.as_ref().map(|arg| arg.to_string().trim_matches('\'').to_lowercase());
        let on = argument
            .as_deref()
            .is_none_or(|text| crate::session::parameters::parse_bool(text).unwrap_or(true));
        match name.as_str() {
            "analyze" => explained.0 = on,
            "verbose" => explained.1 = on,
            "format" => match argument.as_deref() {
                Some("json") => explained.2 = true,
                Some("text") => explained.2 = false,
                _ => return Err(SqlError::unsupported("this EXPLAIN format")),
            },
            "costs" | "buffers" | "timing" | "summary" | "settings" | "wal" => {}
            other => {
                let message = format!("unrecognized EXPLAIN option \"{other}\"");
                return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
            }
        }
    }
    let Statement::Query(query) = statement.as_ref() else {
        return Err(SqlError::unsupported("EXPLAIN of anything but a query"));
    };
    let (analyze, verbose, json) = explained;
    Ok(Kind::Explain(Box::new(Explain { analyze, json, verbose, query: query.clone() })))
}

/// SHOW and RESET know some parameters by several words.
fn shown_parameter(words: &[String]) -> String {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["time", "zone"] => "timezone".to_owned(),
        ["transaction", "isolation", "level"] => "transaction_isolation".to_owned(),
        ["session", "authorization"] => "session_authorization".to_owned(),
        words => words.join("."),
    }
}

fn classify_set(set: &Set) -> SqlResult<Kind> {
    let scope = |local: bool| if local { Scope::Transaction } else { Scope::Session };
    Ok(match set {
        Set::SingleAssignment { scope: modifier, variable, values, .. } => {
            let name = names::parts(variable)?.join(".");
            let is_default = matches!(values.as_slice(), [Expr::Identifier(ident)]
                if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"));
            let value = if is_default { None } else { Some(setting_value(values)?) };
            let local = matches!(modifier, Some(ContextModifier::Local));
            Kind::Set { name, value, scope: scope(local) }
        }
        Set::SetTimeZone { local, value } => {
            let word = match value {
                Expr::Identifier(ident) if ident.quote_style.is_none() => Some(ident.value.to_lowercase()),
                _ => None,
            };
            let value = match word.as_deref() {
                Some("default" | "local") => None,
                _ => Some(time_zone_value(value)?),
            };
            Kind::Set { name: "timezone".to_owned(), value, scope: scope(*local) }
        }
        Set::SetNames { charset_name, .. } => Kind::Set {
            name: "client_encoding".to_owned(),
            value: Some(charset_name.value.clone()),
            scope: Scope::Session,
        },
        Set::SetNamesDefault {} => {
            Kind::Set { name: "client_encoding".to_owned(), value: None, scope: Scope::Session }
        }
        Set::SetTransaction { modes, snapshot: None, session } => {
            Kind::SetTransaction { modes: modes.clone(), session: *session }
        }
        other => return Err(SqlError::unsupported(format!("SET in this form: {other}"))),
    })
}

fn setting_value(values: &[Expr]) -> SqlResult<String> {
    let words = values.iter().map(|value| match value {
        Expr::Identifier(ident) => Ok(names::fold(ident)),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Ok(text.clone()),
            Value::Boolean(true) => Ok("on".to_owned()),
            Value::Boolean(false) => Ok("off".to_owned()),
            Value::Number(number, _) => Ok(number.clone()),
            other => Err(not_a_value(other)),
        },
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => Ok(format!("-{expr}")),
        Expr::UnaryOp { op: ast::UnaryOperator::Plus, expr } => Ok(expr.to_string()),
        other => Err(not_a_value(other)),
    });
    Ok(words.collect::<SqlResult<Vec<_>>>()?.join(", "))
}

fn not_a_value(value: &impl std::fmt::Display) -> SqlError {
    SqlError::new(sqlstate::SYNTAX_ERROR, format!("invalid value for SET: {value}"))
}

/// A zone by name, as a number of hours, or as an interval.
fn time_zone_value(value: &Expr) -> SqlResult<String> {
    match value {
        Expr::Interval(interval) => match interval.value.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => Ok(text.clone()),
                other => Err(not_a_value(other)),
            },
            other => Err(not_a_value(other)),
        },
        other => setting_value(std::slice::from_ref(other)),
    }
}

/// Whether it is what the parser makes of CHECKPOINT, which has no parentheses.
fn is_checkpoint(function: &ast::Function) -> bool {
    let parts = names::parts(&function.name).unwrap_or_default();
    function.args == ast::FunctionArguments::None && parts == ["tidemark", "checkpoint"]
}

impl Kind {
    /// Whether it may be run in a transaction block that failed.
    pub fn ends_transaction(&self) -> bool {
        matches!(self, Kind::Commit { .. } | Kind::Rollback { .. } | Kind::RollbackTo(_))
    }
}

/// What transaction modes say of isolation and of writing.
///
/// # Errors
/// SERIALIZABLE is refused: it would be weaker than its name.
pub fn transaction_modes(modes: &[TransactionMode]) -> SqlResult<(Option<&'static str>, Option<bool>)> {
    let (mut isolation, mut read_only) = (None, None);
    for mode in modes {
        match mode {
            TransactionMode::AccessMode(mode) => {
                read_only = Some(matches!(mode, TransactionAccessMode::ReadOnly));
            }
            TransactionMode::IsolationLevel(level) => {
                isolation = Some(match level {
                    TransactionIsolationLevel::ReadUncommitted => "read uncommitted",
                    TransactionIsolationLevel::ReadCommitted => "read committed",
                    TransactionIsolationLevel::RepeatableRead | TransactionIsolationLevel::Snapshot => {
                        "repeatable read"
                    }
                    TransactionIsolationLevel::Serializable => {
                        return Err(SqlError::unsupported("isolation level SERIALIZABLE")
                            .with_hint("REPEATABLE READ is the strongest level there is."));
                    }
                });
            }
        }
    }
    Ok((isolation, read_only))
}
