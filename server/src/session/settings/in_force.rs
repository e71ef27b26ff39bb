//! What the values of a session's parameters mean to its statements: found out once after each change.

use std::sync::Arc;
use std::time::Duration;

use super::SessionSettings;
use crate::config::SYSTEM_SCHEMA;
use crate::error::Severity;
use crate::pgtype::settings::{ByteaOutput, DateStyle, FormatSettings, IntervalStyle};
use crate::pgtype::timezone::TimeZone;
use crate::session::parameters;

/// What the values in force mean to every statement.
#[derive(Debug)]
pub(super) struct InForce {
    format: FormatSettings,
    arrow_time_zone: Arc<str>,
    search_path: Vec<String>,
    reported: Reported,
    statement_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    idle_in_transaction_timeout: Option<Duration>,
    synchronous_commit: bool,
    is_read_only: bool,
    application_name: String,
}

/// Parameters that clients are told, with their values.
pub type Reported = Arc<[(&'static str, String)]>;

impl SessionSettings {
    fn in_force(&self) -> &InForce {
        self.in_force.get_or_init(|| {
            Arc::new(InForce {
                format: self.read_format(),
                arrow_time_zone: self.read_arrow_time_zone(),
                search_path: self.read_search_path(),
                reported: self.read_reported(),
                statement_timeout: self.milliseconds("statement_timeout"),
                idle_timeout: self.milliseconds("idle_session_timeout"),
                idle_in_transaction_timeout: self.milliseconds("idle_in_transaction_session_timeout"),
                synchronous_commit: self.value("synchronous_commit") != "off",
                is_read_only: self.value("transaction_read_only") == "on",
                application_name: self.value("application_name").to_owned(),
            })
        })
    }

    /// The parameters that clients are told at the start and whenever they change.
    pub fn reported(&self) -> Reported {
        Arc::clone(&self.in_force().reported)
    }

    fn read_reported(&self) -> Reported {
        let reported = parameters::ALL.iter().filter(|definition| definition.reported);
        reported.map(|it| (it.name, it.show(self.raw(it)))).collect()
    }

    /// How values are written and read by a statement of a transaction that started at `now_us`.
    pub fn format(&self, now_us: i64) -> FormatSettings {
        FormatSettings { now_us, ..self.in_force().format.clone() }
    }

    fn read_format(&self) -> FormatSettings {
        let mut format = FormatSettings::initial(self.time_zone(), 0);
        if let Some(style) = IntervalStyle::from_setting(self.value("intervalstyle")) {
            format.interval_style = style;
        }
        if let Some(output) = ByteaOutput::from_setting(self.value("bytea_output")) {
            format.bytea_output = output;
        }
        if let Some(style) = DateStyle::from_setting(self.value("datestyle"), format.date_style) {
            format.date_style = style;
        }
        format.extra_float_digits = self.value("extra_float_digits").parse().unwrap_or(1);
        format
    }

    /// The time zone in which instants without one are read and all are shown.
    pub fn time_zone(&self) -> TimeZone {
        TimeZone::from_setting(self.value("timezone")).unwrap_or_else(TimeZone::utc)
    }

    /// The time zone as Arrow names it.
    pub fn arrow_time_zone(&self) -> Arc<str> {
        Arc::clone(&self.in_force().arrow_time_zone)
    }

    fn read_arrow_time_zone(&self) -> Arc<str> {
        let zone = self.time_zone();
        match zone.fixed_offset() {
            // What the engine gives: nothing is to be converted then.
            Some(0) => Arc::from(tidemark_engine::types::UTC),
            Some(seconds) => {
                let sign = if seconds < 0 { '-' } else { '+' };
                let minutes = seconds.unsigned_abs() / 60;
                Arc::from(format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60))
            }
            None => Arc::from(zone.to_string()),
        }
    }

    fn milliseconds(&self, name: &str) -> Option<Duration> {
        let milliseconds: u64 = self.value(name).parse().unwrap_or(0);
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }

    /// How long a statement may take.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.in_force().statement_timeout
    }

    /// How long a session outside a transaction block may wait for its client.
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.in_force().idle_timeout
    }

    /// How long a transaction block may wait for its client.
    pub fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.in_force().idle_in_transaction_timeout
    }

    /// Whether a commit is acknowledged only when it is durable.
    pub fn synchronous_commit(&self) -> bool {
        self.in_force().synchronous_commit
    }

    /// Whether transactions may only read.
    pub fn is_read_only(&self) -> bool {
        self.in_force().is_read_only
    }

    /// The namespaces in which names without one are looked up, in order.
    pub fn search_path(&self) -> &[String] {
        &self.in_force().search_path
    }

    fn read_search_path(&self) -> Vec<String> {
        let user = self.value("session_authorization");
        let names = parameters::split_list(self.value("search_path"));
        // The first superuser has the name of the schema of the server's views, which is nobody's own.
        let own = Some(user).filter(|user| *user != SYSTEM_SCHEMA).map(str::to_owned);
        names.into_iter().filter_map(|name| if name == "$user" { own.clone() } else { Some(name) }).collect()
    }

    /// Whether a client wants to be told of what is this bad.
    pub fn wants(&self, severity: Severity) -> bool {
        match self.value("client_min_messages") {
            "error" => matches!(severity, Severity::Error | Severity::Fatal),
            "warning" => severity != Severity::Notice,
            _ => true,
        }
    }

    /// The name the client gave itself.
    pub fn application_name(&self) -> &str {
        &self.in_force().application_name
    }
}
