//! Functions that tell of the session and its transaction.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::pgtype::calendar::US_PER_DAY;
use crate::pgtype::cast::instant_to_local;
use crate::plan::options::StatementOptions;

/// The text of `version()`.
pub const VERSION: &str = concat!("PostgreSQL 15.10 (Tidemark ", env!("CARGO_PKG_VERSION"), ")");

/// What a function without arguments tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fact {
    Version,
    Role,
    Database,
    Namespace,
    /// When the transaction started, as an instant.
    Now,
    /// The same on the session's clocks.
    LocalTimestamp,
    /// The same, the day.
    Today,
}

/// The functions whose type is always the same.
pub fn functions() -> Vec<ScalarUDF> {
    let function = |name, fact, data_type| ScalarUDF::new_from_impl(SessionFact::new(name, fact, data_type));
    let local = DataType::Timestamp(TimeUnit::Microsecond, None);
    vec![
        function("version", Fact::Version, DataType::Utf8View),
        function("current_user", Fact::Role, DataType::Utf8View),
        function("session_user", Fact::Role, DataType::Utf8View),
        function("user", Fact::Role, DataType::Utf8View),
        function("current_role", Fact::Role, DataType::Utf8View),
        function("current_database", Fact::Database, DataType::Utf8View),
        function("current_catalog", Fact::Database, DataType::Utf8View),
        function("current_schema", Fact::Namespace, DataType::Utf8View),
        function("localtimestamp", Fact::LocalTimestamp, local),
        function("current_date", Fact::Today, DataType::Date32),
    ]
}

/// `now()` and its other names, which are instants in the session's time zone.
pub fn clock(name: &str, time_zone: &Arc<str>) -> Option<ScalarUDF> {
    let is_clock =
        matches!(name, "now" | "current_timestamp" | "transaction_timestamp" | "statement_timestamp");
    let instant = || DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(time_zone)));
    is_clock.then(|| ScalarUDF::new_from_impl(SessionFact::new("now", Fact::Now, instant())))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SessionFact {
    name: &'static str,
    fact: Fact,
    data_type: DataType,
    signature: Signature,
}

impl SessionFact {
    fn new(name: &'static str, fact: Fact, data_type: DataType) -> SessionFact {
        SessionFact { name, fact, data_type, signature: Signature::nullary(Volatility::Stable) }
    }
}

impl ScalarUDFImpl for SessionFact {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let statement = args.config_options.extensions.get::<StatementOptions>();
        let format = StatementOptions::format(&args.config_options);
        let local = || instant_to_local(format.now_us, &format).unwrap_or(format.now_us);
        let text = |text: Option<&str>| ScalarValue::Utf8View(text.map(str::to_owned));
        let value = match self.fact {
            Fact::Version => text(Some(VERSION)),
            Fact::Role => text(statement.map(|it| it.role.as_str())),
            Fact::Database => text(statement.map(|it| it.database.as_str())),
            Fact::Namespace => text(statement.and_then(|it| it.search_path.first()).map(String::as_str)),
            Fact::Now => {
                ScalarValue::TimestampMicrosecond(Some(format.now_us), None).cast_to(&self.data_type)?
            }
            Fact::LocalTimestamp => ScalarValue::TimestampMicrosecond(Some(local()), None),
            Fact::Today => ScalarValue::Date32(i32::try_from(local().div_euclid(US_PER_DAY)).ok()),
        };
        Ok(ColumnarValue::Scalar(value))
    }
}
