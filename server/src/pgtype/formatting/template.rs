//! Templates of dates and times, and of numbers, taken apart.

use super::number::Digit;

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<P> {
    /// A pattern, and how it is written.
    Pattern(P, Modifiers),
    /// Something that is neither letter nor digit.
    Separator(char),
    /// White space.
    Space(char),
    /// Any other character, or one between double quotes.
    Character(char),
}

/// What stands before and after a pattern of a date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modifiers {
    /// `FM`: without padding.
    pub fill: bool,
    /// `TM`: names in the session's language, which are not padded either.
    pub translated: bool,
    /// `TH` or `th`: with an ordinal suffix.
    pub ordinal: Option<Case>,
}

/// How letters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `MONTH`
    Upper,
    /// `Month`
    Title,
    /// `month`
    Lower,
}

impl Case {
    /// A word in title case, written so.
    pub fn of(self, word: &str) -> String {
        match self {
            Case::Upper => word.to_ascii_uppercase(),
            Case::Title => word.to_owned(),
            Case::Lower => word.to_ascii_lowercase(),
        }
    }
}

/// A pattern of a date or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatePattern {
    /// As it is written in templates, for errors.
    pub name: &'static str,
    /// What it stands for.
    pub field: DateField,
    /// How letters are written.
    pub case: Case,
}

/// What a pattern of a date stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateField {
    /// `AM`
    Meridiem {
        /// `A.M.`
        dotted: bool,
    },
    /// `AD`
    Era {
        /// `A.D.`
        dotted: bool,
    },
    /// `CC`
    Century,
    /// `DAY`
    DayName,
    /// `DY`
    DayShort,
    /// `DDD`
    DayOfYear,
    /// `DD`
    Day,
    /// `D`, Sunday is 1
    DayOfWeek,
    /// `FF1` to `FF6`
    Fraction(usize),
    /// `FX`
    Exact,
    /// `HH24`
    Hour24,
    /// `HH`, `HH12`
    Hour12,
    /// `IDDD`
    IsoDayOfYear,
    /// `ID`, Monday is 1
    IsoDayOfWeek,
    /// `IW`
    IsoWeek,
    /// `IYYY` to `I`, so many digits
    IsoYear(usize),
    /// `J`
    Julian,
    /// `MI`
    Minute,
    /// `MM`
    Month,
    /// `MONTH`
    MonthName,
    /// `MON`
    MonthShort,
    /// `MS`
    Milliseconds,
    /// `OF`
    Offset,
    /// `Q`
    Quarter,
    /// `RM`
    RomanMonth,
    /// `SSSS`, `SSSSS`
    SecondOfDay,
    /// `SS`
    Second,
    /// `TZH`
    ZoneHours,
    /// `TZM`
    ZoneMinutes,
    /// `TZ`
    Zone,
    /// `US`
    Microseconds,
    /// `WW`
    WeekOfYear,
    /// `W`
    WeekOfMonth,
    /// `Y,YYY`
    YearWithComma,
    /// `YYYY` to `Y`, so many digits
    Year(usize),
}

impl DateField {
    /// Whether it is read as a number.
    pub fn is_digits(self) -> bool {
        !matches!(
            self,
            DateField::Meridiem { .. }
                | DateField::Era { .. }
                | DateField::DayName
                | DateField::DayShort
                | DateField::Exact
                | DateField::MonthName
                | DateField::MonthShort
                | DateField::Offset
                | DateField::RomanMonth
                | DateField::ZoneHours
                | DateField::Zone
        )
    }
}

/// The patterns of dates in upper case, a longer one before what it begins with. In lower case they are
/// the same, and some are written in title case too.
const DATE_PATTERNS: &[(&str, DateField)] = {
    use DateField::*;
    &[
        ("A.D.", Era { dotted: true }),
        ("A.M.", Meridiem { dotted: true }),
        ("AD", Era { dotted: false }),
        ("AM", Meridiem { dotted: false }),
        ("B.C.", Era { dotted: true }),
        ("BC", Era { dotted: false }),
        ("CC", Century),
        ("DAY", DayName),
        ("DDD", DayOfYear),
        ("DD", Day),
        ("DY", DayShort),
        ("D", DayOfWeek),
        ("FF1", Fraction(1)),
        ("FF2", Fraction(2)),
        ("FF3", Fraction(3)),
        ("FF4", Fraction(4)),
        ("FF5", Fraction(5)),
        ("FF6", Fraction(6)),
        ("FX", Exact),
        ("HH24", Hour24),
        ("HH12", Hour12),
        ("HH", Hour12),
        ("IDDD", IsoDayOfYear),
        ("ID", IsoDayOfWeek),
        ("IW", IsoWeek),
        ("IYYY", IsoYear(4)),
        ("IYY", IsoYear(3)),
        ("IY", IsoYear(2)),
        ("I", IsoYear(1)),
        ("J", Julian),
        ("MI", Minute),
        ("MM", Month),
        ("MONTH", MonthName),
        ("MON", MonthShort),
        ("MS", Milliseconds),
        ("OF", Offset),
        ("P.M.", Meridiem { dotted: true }),
        ("PM", Meridiem { dotted: false }),
        ("Q", Quarter),
        ("RM", RomanMonth),
        ("SSSSS", SecondOfDay),
        ("SSSS", SecondOfDay),
        ("SS", Second),
        ("TZH", ZoneHours),
        ("TZM", ZoneMinutes),
        ("TZ", Zone),
        ("US", Microseconds),
        ("WW", WeekOfYear),
        ("W", WeekOfMonth),
        ("Y,YYY", YearWithComma),
        ("YYYY", Year(4)),
        ("YYY", Year(3)),
        ("YY", Year(2)),
        ("Y", Year(1)),
    ]
};

/// The patterns that have a title case, in it.
const TITLES: &[(&str, DateField)] = &[
    ("Day", DateField::DayName),
    ("Dy", DateField::DayShort),
    ("Month", DateField::MonthName),
    ("Mon", DateField::MonthShort),
];

fn date_pattern(text: &str) -> Option<(DatePattern, usize)> {
    let titled = TITLES.iter().find(|(name, _)| text.starts_with(name));
    if let Some((name, field)) = titled {
        return Some((DatePattern { name, field: *field, case: Case::Title }, name.len()));
    }
    DATE_PATTERNS.iter().find_map(|(name, field)| {
        let start = text.get(..name.len())?;
        let case = if start == *name {
            Case::Upper
        } else if start == name.to_ascii_lowercase() {
            Case::Lower
        } else {
            return None;
        };
        Some((DatePattern { name, field: *field, case }, name.len()))
    })
}

/// A template of dates and times.
pub fn parse_dates(template: &str) -> Vec<Node<DatePattern>> {
    let mut nodes = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let mut modifiers = Modifiers::default();
        for prefix in ["FM", "fm", "TM", "tm"] {
            if let Some(after) = rest.strip_prefix(prefix) {
                let is_fill = prefix.eq_ignore_ascii_case("FM");
                modifiers.fill |= is_fill;
                modifiers.translated |= !is_fill;
                rest = after;
                break;
            }
        }
        if let Some((pattern, len)) = date_pattern(rest) {
            rest = &rest[len..];
            for (suffix, case) in [("TH", Some(Case::Upper)), ("th", Some(Case::Lower)), ("SP", None)] {
                if let Some(after) = rest.strip_prefix(suffix) {
                    modifiers.ordinal = case;
                    rest = after;
                    break;
                }
            }
            nodes.push(Node::Pattern(pattern, modifiers));
        } else {
            rest = literal(rest, true, &mut nodes);
        }
    }
    nodes
}

/// Takes what is no pattern: a character, or all between double quotes.
fn literal<'a, P>(text: &'a str, has_separators: bool, nodes: &mut Vec<Node<P>>) -> &'a str {
    let mut rest = text.chars();
    let Some(first) = rest.next() else { return "" };
    if first == '"' {
        while let Some(character) = rest.next() {
            match character {
                '"' => return rest.as_str(),
                '\\' => nodes.push(Node::Character(rest.next().unwrap_or('\\'))),
                other => nodes.push(Node::Character(other)),
            }
        }
        return "";
    }
    let character = match first {
        // A backslash is special before a double quote only.
        '\\' if rest.as_str().starts_with('"') => rest.next().unwrap_or('"'),
        other => other,
    };
    nodes.push(match character {
        it if has_separators && is_separator(it) => Node::Separator(it),
        it if is_space(it) => Node::Space(it),
        it => Node::Character(it),
    });
    rest.as_str()
}

/// Whether a character separates fields: printable, and neither letter nor digit.
pub fn is_separator(character: char) -> bool {
    character.is_ascii_punctuation()
}

/// White space as C has it.
pub fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// The patterns of numbers, a longer one before what it begins with.
const NUMBER_PATTERNS: &[(&str, Digit)] = &[
    (",", Digit::Comma),
    (".", Digit::Point),
    ("0", Digit::Zero),
    ("9", Digit::Nine),
    ("B", Digit::Blank),
    ("C", Digit::Other),
    ("D", Digit::LocalePoint),
    ("EEEE", Digit::Exponent),
    ("FM", Digit::Fill),
    ("G", Digit::Group),
    ("L", Digit::Currency),
    ("MI", Digit::Minus),
    ("PL", Digit::Plus),
    ("PR", Digit::Bracket),
    ("RN", Digit::Roman(Case::Upper)),
    ("SG", Digit::PlusMinus),
    ("SP", Digit::Other),
    ("S", Digit::Sign),
    ("TH", Digit::Ordinal(Case::Upper)),
    ("V", Digit::Shift),
];

/// A template of numbers.
pub fn parse_numbers(template: &str) -> Vec<Node<Digit>> {
    let mut nodes = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let found = NUMBER_PATTERNS.iter().find_map(|(name, digit)| {
            let start = rest.get(..name.len())?;
            let is_lower = start == name.to_ascii_lowercase();
            let digit = match *digit {
                Digit::Roman(_) if is_lower => Digit::Roman(Case::Lower),
                Digit::Ordinal(_) if is_lower => Digit::Ordinal(Case::Lower),
                other => other,
            };
            (start == *name || is_lower).then_some((digit, name.len()))
        });
        match found {
            Some((digit, len)) => {
                nodes.push(Node::Pattern(digit, Modifiers::default()));
                rest = &rest[len..];
            }
            None => rest = literal(rest, false, &mut nodes),
        }
    }
    nodes
}
