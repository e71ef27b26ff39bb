//! Words in dates, times and intervals.
//!
//! Only the first ten letters of a word count, as in PostgreSQL, where `microseconds` is known as
//! `microsecon`.

/// The letters of a word that count.
const LEN_MAX: usize = 10;

/// What a word in a date or time says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateWord {
    /// `infinity`
    Late,
    /// `-infinity`
    Early,
    /// `epoch`
    Epoch,
    /// `now`
    Now,
    /// `yesterday`, `today`, `tomorrow`: so many days from now.
    Day(i64),
    /// `allballs`: midnight UTC.
    Midnight,
    /// `ad`
    Ad,
    /// `bc`
    Bc,
    /// `am`
    Am,
    /// `pm`
    Pm,
    /// A month, 1 to 12.
    Month(i32),
    /// A day of the week, which is not checked.
    Weekday,
    /// `dst`: the zone has summer time.
    SummerTime,
    /// `at`, `on`: nothing.
    Ignored,
    /// What the number after it is.
    Label(Label),
    /// `t` before a time.
    TimeFollows,
}

/// What a number is, said by a word before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// `y`
    Year,
    /// `m`
    Month,
    /// `d`
    Day,
    /// `h`
    Hour,
    /// `mm`
    Minute,
    /// `s`
    Second,
    /// `j`, `jd`, `julian`
    Julian,
    /// `t`
    Time,
    /// `dow`, `doy`, `isodow`, `isoyear`: known, but of no use before a number.
    Useless,
}

/// What a word in lower case says in a date or time.
pub fn date_word(word: &str) -> Option<DateWord> {
    let known = match truncated(word) {
        "infinity" => DateWord::Late,
        "-infinity" => DateWord::Early,
        "epoch" => DateWord::Epoch,
        "now" => DateWord::Now,
        "yesterday" => DateWord::Day(-1),
        "today" => DateWord::Day(0),
        "tomorrow" => DateWord::Day(1),
        "allballs" => DateWord::Midnight,
        "ad" => DateWord::Ad,
        "bc" => DateWord::Bc,
        "am" => DateWord::Am,
        "pm" => DateWord::Pm,
        "dst" => DateWord::SummerTime,
        "at" | "on" => DateWord::Ignored,
        "t" => DateWord::TimeFollows,
        "y" => DateWord::Label(Label::Year),
        "m" => DateWord::Label(Label::Month),
        "d" => DateWord::Label(Label::Day),
        "h" => DateWord::Label(Label::Hour),
        "mm" => DateWord::Label(Label::Minute),
        "s" => DateWord::Label(Label::Second),
        "j" | "jd" | "julian" => DateWord::Label(Label::Julian),
        "dow" | "doy" | "isodow" | "isoyear" => DateWord::Label(Label::Useless),
        "sun" | "sunday" | "mon" | "monday" | "tue" | "tues" | "tuesday" | "wed" | "weds" | "wednesday"
        | "thu" | "thur" | "thurs" | "thursday" | "fri" | "friday" | "sat" | "saturday" => DateWord::Weekday,
        other => DateWord::Month(month(other)?),
    };
    Some(known)
}

fn month(word: &str) -> Option<i32> {
    let number = match word {
        "jan" | "january" => 1,
        "feb" | "february" => 2,
        "mar" | "march" => 3,
        "apr" | "april" => 4,
        "may" => 5,
        "jun" | "june" => 6,
        "jul" | "july" => 7,
        "aug" | "august" => 8,
        "sep" | "sept" | "september" => 9,
        "oct" | "october" => 10,
        "nov" | "november" => 11,
        "dec" | "december" => 12,
        _ => return None,
    };
    Some(number)
}

/// What a word in an interval says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalWord {
    /// `@`: nothing.
    Ignored,
    /// `ago`: everything is negative.
    Ago,
    /// The unit of the number before it.
    Unit(Unit),
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 10⁻⁶ s
    Microsecond,
    /// 10⁻³ s
    Millisecond,
    /// s
    Second,
    /// 60 s
    Minute,
    /// 3600 s
    Hour,
    /// a day
    Day,
    /// 7 days
    Week,
    /// a month
    Month,
    /// 12 months
    Year,
    /// 10 years
    Decade,
    /// 100 years
    Century,
    /// 1000 years
    Millennium,
    /// A word that is known, but of no use after a number.
    Useless,
}

/// What a word in lower case says in an interval.
pub fn interval_word(word: &str) -> Option<IntervalWord> {
    let unit = match truncated(word) {
        "@" => return Some(IntervalWord::Ignored),
        "ago" => return Some(IntervalWord::Ago),
        "us" | "usec" | "usecs" | "useconds" | "microsecon" => Unit::Microsecond,
        "ms" | "msec" | "msecs" | "mseconds" | "millisecon" => Unit::Millisecond,
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
        "dec" | "decs" | "decade" | "decades" => Unit::Decade,
        "c" | "cent" | "century" | "centuries" => Unit::Century,
        "mil" | "mils" | "millennia" | "millennium" => Unit::Millennium,
        "qtr" | "quarter" | "timezone" | "timezone_h" | "timezone_m" => Unit::Useless,
        _ => return None,
    };
    Some(IntervalWord::Unit(unit))
}

fn truncated(word: &str) -> &str {
    word.get(..LEN_MAX).unwrap_or(word)
}
