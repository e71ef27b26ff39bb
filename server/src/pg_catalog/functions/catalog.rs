//! Functions that describe things of the catalog.

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::functions::{ScalarBody, any, flag, int, oid, text, texted};
use crate::pg_catalog::names::{self, quote_ident};
use crate::pg_catalog::relations::{self, declared};
use crate::pg_catalog::run::Run;
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::types::{Family, TYPMOD_HEADER, element_type_of, family, format_type};

pub(super) const FUNCTIONS: &[(&str, ScalarBody)] = &[
    ("*format_type(oid,int4) text", type_name),
    ("*pg_typeof(any) regtype", |run, values| {
        Ok(names::reg(any(&values[0])?.0.oid(), &PgType::REGTYPE, run.context))
    }),
    ("pg_get_expr(pg_node_tree,oid) text", first_text),
    ("pg_get_expr(pg_node_tree,oid,bool) text", |_, values| match flag(values, 2) {
        true => texted(without_parentheses(text(values, 0))),
        false => first_text_of(values),
    }),
    ("pg_get_constraintdef(oid) text", nothing),
    ("pg_get_constraintdef(oid,bool) text", nothing),
    ("pg_get_indexdef(oid) text", nothing),
    ("pg_get_indexdef(oid,int4,bool) text", nothing),
    ("pg_get_viewdef(oid) text", view_definition),
    ("pg_get_viewdef(oid,bool) text", view_definition),
    ("pg_get_viewdef(text) text", nothing),
    ("pg_get_ruledef(oid) text", nothing),
    ("pg_get_ruledef(oid,bool) text", nothing),
    ("pg_get_triggerdef(oid) text", nothing),
    ("pg_get_triggerdef(oid,bool) text", nothing),
    ("pg_get_partkeydef(oid) text", nothing),
    ("pg_get_partition_constraintdef(oid) text", nothing),
    ("pg_get_statisticsobjdef(oid) text", nothing),
    ("pg_get_statisticsobjdef_columns(oid) text", nothing),
    ("pg_get_functiondef(oid) text", nothing),
    ("pg_get_function_arguments(oid) text", function_arguments),
    ("pg_get_function_identity_arguments(oid) text", identity_arguments),
    ("pg_get_function_result(oid) text", function_result),
    ("pg_get_function_sqlbody(oid) text", nothing),
    ("pg_get_serial_sequence(text,text) text", nothing),
    ("pg_get_replica_identity_index(regclass) regclass", nothing),
    ("pg_get_userbyid(oid) name", |run, values| {
        let id = oid(values, 0);
        texted(names::role_name(run.context, id).unwrap_or_else(|| format!("unknown (OID={id})")))
    }),
    ("col_description(oid,int4) text", |run, values| {
        let column = u32::try_from(int(values, 1)).unwrap_or(0);
        let comment = declared::comment(run, oid(values, 0), Some(declared::CLASS_RELATION), column);
        Ok(comment.map_or(Datum::Null, Datum::Text))
    }),
    ("obj_description(oid) text", |run, values| Ok(described(run, oid(values, 0), None))),
    ("obj_description(oid,name) text", |run, values| {
        let class = relations::by_name("pg_catalog", text(values, 1)).map(|it| it.oid);
        Ok(class.map_or(Datum::Null, |class| described(run, oid(values, 0), Some(class))))
    }),
    ("shobj_description(oid,name) text", nothing),
    ("pg_describe_object(oid,oid,int4) text", nothing),
    ("pg_table_is_visible(oid) bool", |run, values| {
        Ok(names::is_visible(run.context, oid(values, 0)).map_or(Datum::Null, Datum::Bool))
    }),
    ("pg_type_is_visible(oid) bool", |_, values| {
        Ok(PgType::from_oid(oid(values, 0)).map_or(Datum::Null, |_| Datum::Bool(true)))
    }),
    ("pg_function_is_visible(oid) bool", |_, values| {
        Ok(relations::procedure_name(oid(values, 0)).map_or(Datum::Null, |_| Datum::Bool(true)))
    }),
    ("pg_operator_is_visible(oid) bool", yes),
    ("pg_opclass_is_visible(oid) bool", yes),
    ("pg_opfamily_is_visible(oid) bool", yes),
    ("pg_collation_is_visible(oid) bool", yes),
    ("pg_conversion_is_visible(oid) bool", yes),
    ("pg_statistics_obj_is_visible(oid) bool", yes),
    ("pg_ts_config_is_visible(oid) bool", yes),
    ("pg_ts_dict_is_visible(oid) bool", yes),
    ("pg_ts_parser_is_visible(oid) bool", yes),
    ("pg_ts_template_is_visible(oid) bool", yes),
    ("pg_relation_is_publishable(regclass) bool", |_, values| Ok(Datum::Bool(oid(values, 0) >= 16384))),
    ("pg_relation_is_updatable(regclass,bool) int4", |_, _| Ok(Datum::Int4(8))),
    ("pg_column_is_updatable(regclass,int2,bool) bool", |_, _| Ok(Datum::Bool(false))),
    ("to_regclass(text) regclass", |run, values| to_reg(run, values, &PgType::REGCLASS)),
    ("to_regtype(text) regtype", |run, values| to_reg(run, values, &PgType::REGTYPE)),
    ("to_regproc(text) regproc", |run, values| to_reg(run, values, &PgType::REGPROC)),
    ("to_regprocedure(text) regprocedure", |run, values| to_reg(run, values, &PgType::REGPROCEDURE)),
    ("to_regnamespace(text) regnamespace", |run, values| to_reg(run, values, &PgType::REGNAMESPACE)),
    ("to_regrole(text) regrole", |run, values| to_reg(run, values, &PgType::REGROLE)),
    ("to_regcollation(text) regcollation", |run, values| to_reg(run, values, &PgType::REGCOLLATION)),
    ("pg_relation_size(regclass) int8", relation_bytes),
    ("pg_relation_size(regclass,text) int8", relation_bytes),
    ("pg_table_size(regclass) int8", relation_bytes),
    ("pg_total_relation_size(regclass) int8", relation_bytes),
    ("pg_indexes_size(regclass) int8", |_, _| Ok(Datum::Int8(0))),
    ("pg_relation_filenode(regclass) oid", |_, values| Ok(Datum::Oid(oid(values, 0)))),
    ("pg_database_size(oid) int8", |run, _| Ok(Datum::Int8(all_bytes(run)))),
    ("pg_database_size(name) int8", |run, _| Ok(Datum::Int8(all_bytes(run)))),
    ("pg_tablespace_size(oid) int8", |run, _| Ok(Datum::Int8(all_bytes(run)))),
    ("pg_tablespace_size(name) int8", |run, _| Ok(Datum::Int8(all_bytes(run)))),
    ("pg_tablespace_location(oid) text", |_, _| texted("")),
    ("pg_size_pretty(int8) text", |_, values| texted(pretty(int(values, 0)))),
    ("pg_size_pretty(numeric) text", |_, values| match &values[0] {
        Datum::Numeric(size) => texted(pretty(crate::pgtype::numeric::convert::to_i64(size, "bigint")?)),
        _ => Ok(Datum::Null),
    }),
    ("pg_stat_get_numscans(oid) int8", |_, _| Ok(Datum::Int8(0))),
    ("pg_stat_get_live_tuples(oid) int8", |_, _| Ok(Datum::Int8(0))),
    ("pg_index_column_has_property(regclass,int4,text) bool", nothing),
    ("pg_indexam_has_property(oid,text) bool", nothing),
    ("pg_index_has_property(regclass,text) bool", nothing),
    ("pg_partition_root(regclass) regclass", nothing),
    // No transaction here grows old.
    ("age(xid) int4", |_, _| Ok(Datum::Int4(0))),
    ("_pg_truetypid(oid,oid) oid", |_, values| Ok(values[0].clone())),
];

fn nothing(_: &Run<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Null)
}

fn yes(_: &Run<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Bool(true))
}

fn first_text(_: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    first_text_of(values)
}

fn first_text_of(values: &[Datum]) -> SqlResult<Datum> {
    Ok(values[0].clone())
}

/// An expression without the parentheses around all of it.
fn without_parentheses(expression: &str) -> &str {
    let Some(inner) = expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else {
        return expression;
    };
    let mut depth = 0_i32;
    let mut quoted = false;
    for character in inner.chars() {
        match character {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return expression;
        }
    }
    inner
}

/// `format_type`: the name of a type with what its modifier says.
fn type_name(_: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    if values[0].is_null() {
        return Ok(Datum::Null);
    }
    let id = oid(values, 0);
    if id == 0 {
        return texted("-");
    }
    let typmod = match values[1] {
        Datum::Int4(typmod) => Some(typmod),
        _ => None,
    };
    let Some(pg_type) = PgType::from_oid(id) else { return texted("???") };
    if family(&pg_type) == Family::Array
        && let Some(element) = element_type_of(&pg_type)
    {
        return texted(format!("{}[]", with_modifier(&element, typmod)));
    }
    texted(with_modifier(&pg_type, typmod))
}

fn with_modifier(pg_type: &PgType, typmod: Option<i32>) -> String {
    let name = format_type(pg_type);
    // Without a modifier, `bpchar` is not `character`, which would be `character(1)`.
    if *pg_type == PgType::BPCHAR && typmod == Some(-1) {
        return "bpchar".to_owned();
    }
    let Some(typmod) = typmod.filter(|typmod| *typmod >= 0) else { return name };
    match family(pg_type) {
        Family::Varchar | Family::Bpchar if typmod >= TYPMOD_HEADER => {
            format!("{name}({})", typmod - TYPMOD_HEADER)
        }
        Family::Numeric if typmod >= TYPMOD_HEADER => {
            let packed = typmod - TYPMOD_HEADER;
            let scale = ((packed & 0x7ff) ^ 1024) - 1024;
            format!("{name}({},{scale})", (packed >> 16) & 0xffff)
        }
        Family::Time | Family::Timetz | Family::Timestamp | Family::Timestamptz => {
            match name.split_once(' ') {
                Some((first, rest)) => format!("{first}({typmod}) {rest}"),
                None => format!("{name}({typmod})"),
            }
        }
        _ => name,
    }
}

fn view_definition(_: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let view = relations::by_oid(oid(values, 0)).and_then(relations::Relation::view);
    Ok(view.map_or(Datum::Null, |query| Datum::Text(query.split_whitespace().collect::<Vec<_>>().join(" "))))
}

/// Places of columns in a row of `pg_proc`.
mod procedure {
    pub(super) const VARIADIC: usize = 7;
    pub(super) const RETURNS_SET: usize = 13;
    pub(super) const DEFAULT_COUNT: usize = 17;
    pub(super) const RESULT: usize = 18;
    pub(super) const ARGUMENTS: usize = 19;
    pub(super) const ALL_ARGUMENTS: usize = 20;
    pub(super) const MODES: usize = 21;
    pub(super) const NAMES: usize = 22;
    pub(super) const DEFAULTS: usize = 23;
}

fn elements(value: &Datum) -> &[Datum] {
    match value {
        Datum::Array(array) => &array.values,
        _ => &[],
    }
}

fn type_of(value: &Datum) -> String {
    match value {
        Datum::Oid(oid) => PgType::from_oid(*oid).map(|it| format_type(&it)).unwrap_or_default(),
        _ => String::new(),
    }
}

/// An argument of a function: how it is passed, its name, its type.
struct Argument {
    mode: u8,
    name: String,
    type_name: String,
}

impl Argument {
    fn is_input(&self) -> bool {
        matches!(self.mode, b'i' | b'b' | b'v')
    }

    fn written(&self) -> String {
        let mode = match self.mode {
            b'o' => "OUT ",
            b'b' => "INOUT ",
            b'v' => "VARIADIC ",
            _ => "",
        };
        let name = if self.name.is_empty() { String::new() } else { format!("{} ", quote_ident(&self.name)) };
        format!("{mode}{name}{}", self.type_name)
    }
}

fn arguments_of(row: &[Datum]) -> Vec<Argument> {
    let all = elements(&row[procedure::ALL_ARGUMENTS]);
    let types = if all.is_empty() { elements(&row[procedure::ARGUMENTS]) } else { all };
    let modes = elements(&row[procedure::MODES]);
    let names = elements(&row[procedure::NAMES]);
    let is_variadic = row[procedure::VARIADIC] != Datum::Oid(0);
    let argument = |(at, pg_type): (usize, &Datum)| Argument {
        mode: match modes.get(at) {
            Some(Datum::Char(mode)) => *mode,
            _ if is_variadic && at + 1 == types.len() => b'v',
            _ => b'i',
        },
        name: names.get(at).map(|it| crate::pg_catalog::operators::text(it).to_owned()).unwrap_or_default(),
        type_name: type_of(pg_type),
    };
    types.iter().enumerate().map(argument).collect()
}

fn procedure_row(values: &[Datum]) -> Option<&'static [Datum]> {
    let wanted = Datum::Oid(oid(values, 0));
    relations::fixed("pg_proc").iter().find(|row| row[0] == wanted).map(AsRef::as_ref)
}

/// The arguments as they are declared; with the defaults of the last ones.
fn function_arguments(_: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let Some(row) = procedure_row(values) else { return Ok(Datum::Null) };
    let defaults: Vec<&str> = match &row[procedure::DEFAULTS] {
        Datum::Text(text) => text.split(", ").collect(),
        _ => Vec::new(),
    };
    let arguments = arguments_of(row);
    let input_count = arguments.iter().filter(|it| it.is_input()).count();
    let default_count = match row[procedure::DEFAULT_COUNT] {
        Datum::Int2(count) => usize::try_from(count).unwrap_or(0),
        _ => 0,
    };
    let first_default = input_count.saturating_sub(default_count);
    let mut inputs = 0;
    let mut written = Vec::new();
    for argument in arguments.iter().filter(|it| it.mode != b't') {
        let mut text = argument.written();
        if argument.is_input() {
            if inputs >= first_default
                && let Some(default) = defaults.get(inputs - first_default)
            {
                text.push_str(" DEFAULT ");
                text.push_str(default);
            }
            inputs += 1;
        }
        written.push(text);
    }
    texted(written.join(", "))
}

/// The arguments that tell a function from others of its name.
fn identity_arguments(_: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let Some(row) = procedure_row(values) else { return Ok(Datum::Null) };
    let arguments = arguments_of(row);
    let inputs = arguments.iter().filter(|it| it.is_input());
    texted(inputs.map(Argument::written).collect::<Vec<_>>().join(", "))
}

fn function_result(_: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let Some(row) = procedure_row(values) else { return Ok(Datum::Null) };
    let arguments = arguments_of(row);
    let columns = arguments.iter().filter(|it| it.mode == b't');
    let columns: Vec<String> =
        columns.map(|it| format!("{} {}", quote_ident(&it.name), it.type_name)).collect();
    if !columns.is_empty() {
        return texted(format!("TABLE({})", columns.join(", ")));
    }
    let set = if row[procedure::RETURNS_SET] == Datum::Bool(true) { "SETOF " } else { "" };
    texted(format!("{set}{}", type_of(&row[procedure::RESULT])))
}

fn described(run: &Run<'_>, id: u32, class: Option<u32>) -> Datum {
    let comment = declared::comment(run, id, class, 0);
    let comment = comment.or_else(|| relations::description(id, class).map(|text| text.to_string()));
    comment.map_or(Datum::Null, Datum::Text)
}

/// NULL where the cast would fail.
fn to_reg(run: &Run<'_>, values: &[Datum], to: &PgType) -> SqlResult<Datum> {
    let name = text(values, 0);
    // Numbers are no names here.
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Datum::Null);
    }
    let not_found: fn(SqlError) -> SqlResult<Datum> = |_| Ok(Datum::Null);
    names::parse_reg(name, to, run.context).or_else(not_found)
}

fn relation_bytes(run: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let id = oid(values, 0);
    if relations::by_oid(id).is_some() {
        return Ok(Datum::Int8(0));
    }
    let found = run.context.view.collection(tidemark_catalog::ids::CollectionId(id));
    Ok(found.map_or(Datum::Null, |view| {
        let bytes: u64 = view.segments.values().map(|segment| segment.file_bytes).sum();
        Datum::Int8(i64::try_from(bytes).unwrap_or(i64::MAX))
    }))
}

fn all_bytes(run: &Run<'_>) -> i64 {
    let segments = run.context.view.collections().flat_map(|view| view.segments.values());
    let bytes: u64 = segments.map(|segment| segment.file_bytes).sum();
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Sizes as `pg_size_pretty` writes them: halves are rounded away from zero at every step.
fn pretty(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    // What a unit may have before the next is used, and whether the last step left a half.
    const LIMIT: i64 = 10 * 1024;
    let half = |value: i64| if value < 0 { (value - 1) / 2 } else { (value + 1) / 2 };
    let mut value = bytes;
    for (at, unit) in UNITS.iter().enumerate() {
        let limit = if at == 0 { LIMIT } else { 20 * 1024 - 1 };
        let is_last = at + 1 == UNITS.len();
        if is_last || value.unsigned_abs() < limit.unsigned_abs() {
            let shown = if at == 0 { value } else { half(value) };
            return format!("{shown} {unit}");
        }
        // Units after the first are kept doubled, for the rounding.
        value /= if at == 0 { 512 } else { 1024 };
    }
    String::new()
}
