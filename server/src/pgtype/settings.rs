//! The settings of a session that decide how values are written and read.

use std::fmt;

use super::timezone::TimeZone;

/// What a session has set about the form of values.
#[derive(Clone, Debug, PartialEq)]
pub struct FormatSettings {
    /// `TimeZone`
    pub time_zone: TimeZone,
    /// `IntervalStyle`
    pub interval_style: IntervalStyle,
    /// `extra_float_digits`: above 0, floats are written as the shortest text that reads back.
    pub extra_float_digits: i32,
    /// `bytea_output`
    pub bytea_output: ByteaOutput,
    /// `DateStyle`
    pub date_style: DateStyle,
    /// What `now`, `today`, `tomorrow` and `yesterday` mean: the start of the transaction, in
    /// microseconds since 1970.
    pub now_us: i64,
}

impl FormatSettings {
    /// The settings that a session starts with where the client asks for none.
    pub fn initial(time_zone: TimeZone, now_us: i64) -> FormatSettings {
        FormatSettings {
            time_zone,
            interval_style: IntervalStyle::Postgres,
            extra_float_digits: 1,
            bytea_output: ByteaOutput::Hex,
            date_style: DateStyle { output: DateOutput::Iso, order: DateOrder::Mdy },
            now_us,
        }
    }
}

/// How intervals are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalStyle {
    /// `1 year 2 mons 3 days 04:05:06`
    Postgres,
    /// `@ 1 year 2 mons 3 days 4 hours 5 mins 6 secs`
    PostgresVerbose,
    /// `+1-2 +3 +4:05:06`
    SqlStandard,
    /// `P1Y2M3DT4H5M6S`
    Iso8601,
}

impl IntervalStyle {
    /// The style of this name, in any case.
    pub fn from_setting(value: &str) -> Option<IntervalStyle> {
        let all = [
            IntervalStyle::Postgres,
            IntervalStyle::PostgresVerbose,
            IntervalStyle::SqlStandard,
            IntervalStyle::Iso8601,
        ];
        all.into_iter().find(|style| style.as_str().eq_ignore_ascii_case(value))
    }

    /// The name of the style.
    pub fn as_str(self) -> &'static str {
        match self {
            IntervalStyle::Postgres => "postgres",
            IntervalStyle::PostgresVerbose => "postgres_verbose",
            IntervalStyle::SqlStandard => "sql_standard",
            IntervalStyle::Iso8601 => "iso_8601",
        }
    }
}

/// How `bytea` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteaOutput {
    /// `\x00ff`
    Hex,
    /// `\000\377`
    Escape,
}

impl ByteaOutput {
    /// The form of this name, in any case.
    pub fn from_setting(value: &str) -> Option<ByteaOutput> {
        [ByteaOutput::Hex, ByteaOutput::Escape]
            .into_iter()
            .find(|form| form.as_str().eq_ignore_ascii_case(value))
    }

    /// The name of the form.
    pub fn as_str(self) -> &'static str {
        match self {
            ByteaOutput::Hex => "hex",
            ByteaOutput::Escape => "escape",
        }
    }
}

/// How dates are written, and in which order their numbers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateStyle {
    /// The form in which dates and timestamps are written.
    pub output: DateOutput,
    /// The order of day, month and year where the text does not say it.
    pub order: DateOrder,
}

/// The form in which dates and timestamps are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateOutput {
    /// `1997-12-17 07:37:16-08`
    Iso,
    /// `12/17/1997 07:37:16.00 PST`
    Sql,
    /// `Wed Dec 17 07:37:16 1997 PST`
    Postgres,
    /// `17.12.1997 07:37:16.00 PST`
    German,
}

/// The order of day, month and year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateOrder {
    /// month, day, year
    Mdy,
    /// day, month, year
    Dmy,
    /// year, month, day
    Ymd,
}

impl DateStyle {
    /// The style after `SET DateStyle = value`: what the value does not name stays as it is.
    pub fn from_setting(value: &str, current: DateStyle) -> Option<DateStyle> {
        let (mut output, mut order) = (None, None);
        for word in value.split(',').map(str::trim) {
            let lower = word.to_ascii_lowercase();
            match lower.as_str() {
                "iso" => set_once(&mut output, DateOutput::Iso)?,
                "sql" => set_once(&mut output, DateOutput::Sql)?,
                "german" => set_once(&mut output, DateOutput::German)?,
                "ymd" => set_once(&mut order, DateOrder::Ymd)?,
                "mdy" | "us" => set_once(&mut order, DateOrder::Mdy)?,
                "dmy" => set_once(&mut order, DateOrder::Dmy)?,
                "default" => return Some(DateStyle { output: DateOutput::Iso, order: DateOrder::Mdy }),
                word if word.starts_with("postgres") => set_once(&mut output, DateOutput::Postgres)?,
                word if word.starts_with("euro") => set_once(&mut order, DateOrder::Dmy)?,
                word if word.starts_with("noneuro") => set_once(&mut order, DateOrder::Mdy)?,
                _ => return None,
            }
        }
        // German dates imply their order unless one is named.
        if output == Some(DateOutput::German) && order.is_none() {
            order = Some(DateOrder::Dmy);
        }
        Some(DateStyle { output: output.unwrap_or(current.output), order: order.unwrap_or(current.order) })
    }
}

/// Two words may say the same thing, but not different things.
fn set_once<T: PartialEq>(slot: &mut Option<T>, value: T) -> Option<()> {
    match slot {
        Some(earlier) if *earlier != value => None,
        _ => {
            *slot = Some(value);
            Some(())
        }
    }
}

/// Writes the style as `SHOW DateStyle` does.
impl fmt::Display for DateStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.output {
            DateOutput::Iso => "ISO, ",
            DateOutput::Sql => "SQL, ",
            DateOutput::Postgres => "Postgres, ",
            DateOutput::German => "German, ",
        })?;
        f.write_str(match self.order {
            DateOrder::Mdy => "MDY",
            DateOrder::Dmy => "DMY",
            DateOrder::Ymd => "YMD",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_styles_are_read_and_shown_as_postgres_does() {
        let start = DateStyle { output: DateOutput::Iso, order: DateOrder::Mdy };
        let cases = [
            ("ISO", Some("ISO, MDY")),
            ("iso, dmy", Some("ISO, DMY")),
            ("German", Some("German, DMY")),
            ("german, mdy", Some("German, MDY")),
            ("Postgres, European", Some("Postgres, DMY")),
            ("SQL,US", Some("SQL, MDY")),
            ("YMD", Some("ISO, YMD")),
            ("ISO, ISO", Some("ISO, MDY")),
            ("ISO, SQL", None),
            ("MDY, DMY", None),
            ("default", Some("ISO, MDY")),
            ("foo", None),
        ];
        for (value, shown) in cases {
            let style = DateStyle::from_setting(value, start);
            assert_eq!(style.map(|style| style.to_string()).as_deref(), shown, "{value}");
        }
    }
}
