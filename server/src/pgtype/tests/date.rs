//! `date`, `time` and `timetz`, date orders and date styles, with what PostgreSQL 15 answers.

use super::check;
use crate::pgtype::PgType;

#[test]
#[rustfmt::skip]
fn the_date_order_decides_what_a_number_is() {
    check(&PgType::DATE, -1, &[("ds", "ISO, MDY")], &[
        ("1/2/2003", Ok(("2003-01-02", "00000449"))),
        ("13/2/2003", Err("22008: date/time field value out of range: \"13/2/2003\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("01-02-03", Ok(("2003-01-02", "00000449"))),
        ("2003-02-01", Ok(("2003-02-01", "00000467"))),
        ("Jan 2 03", Ok(("2003-01-02", "00000449"))),
        ("2 Jan 03", Ok(("2003-01-02", "00000449"))),
        ("03 Jan 2", Ok(("2002-01-03", "000002dd"))),
        ("2003 1 2", Ok(("2003-01-02", "00000449"))),
        ("99 Jan 8", Err("22007: invalid input syntax for type date: \"99 Jan 8\"")),
        ("99-Jan-08", Err("22008: date/time field value out of range: \"99-Jan-08\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("08-Jan-99", Ok(("1999-01-08", "fffffe9a"))),
        ("Jan-08-99", Ok(("1999-01-08", "fffffe9a"))),
        ("08.01.1999", Ok(("1999-08-01", "ffffff67"))),
    ]);
    check(&PgType::DATE, -1, &[("ds", "ISO, DMY")], &[
        ("1/2/2003", Ok(("2003-02-01", "00000467"))),
        ("13/2/2003", Ok(("2003-02-13", "00000473"))),
        ("01-02-03", Ok(("2003-02-01", "00000467"))),
        ("2003-02-01", Ok(("2003-02-01", "00000467"))),
        ("Jan 2 03", Ok(("2003-01-02", "00000449"))),
        ("2 Jan 03", Ok(("2003-01-02", "00000449"))),
        ("03 Jan 2", Ok(("2002-01-03", "000002dd"))),
        ("2003 1 2", Ok(("2003-01-02", "00000449"))),
        ("99 Jan 8", Err("22008: date/time field value out of range: \"99 Jan 8\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("99-Jan-08", Err("22008: date/time field value out of range: \"99-Jan-08\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("08-Jan-99", Ok(("1999-01-08", "fffffe9a"))),
        ("Jan-08-99", Ok(("1999-01-08", "fffffe9a"))),
        ("08.01.1999", Ok(("1999-01-08", "fffffe9a"))),
    ]);
    check(&PgType::DATE, -1, &[("ds", "ISO, YMD")], &[
        ("1/2/2003", Err("22008: date/time field value out of range: \"1/2/2003\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("13/2/2003", Err("22008: date/time field value out of range: \"13/2/2003\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("01-02-03", Ok(("2001-02-03", "0000018f"))),
        ("2003-02-01", Ok(("2003-02-01", "00000467"))),
        ("Jan 2 03", Ok(("2002-01-03", "000002dd"))),
        ("2 Jan 03", Ok(("2002-01-03", "000002dd"))),
        ("03 Jan 2", Ok(("2003-01-02", "00000449"))),
        ("2003 1 2", Ok(("2003-01-02", "00000449"))),
        ("99 Jan 8", Ok(("1999-01-08", "fffffe9a"))),
        ("99-Jan-08", Ok(("1999-01-08", "fffffe9a"))),
        ("08-Jan-99", Err("22008: date/time field value out of range: \"08-Jan-99\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("Jan-08-99", Err("22008: date/time field value out of range: \"Jan-08-99\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("08.01.1999", Err("22008: date/time field value out of range: \"08.01.1999\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
    ]);
}

#[test]
#[rustfmt::skip]
fn dates_have_limits_and_words() {
    check(&PgType::DATE, -1, &[], &[
        ("2024-01-05", Ok(("2024-01-05", "00002242"))),
        ("5874897-12-31", Ok(("5874897-12-31", "7fda970c"))),
        ("5874898-01-01", Err("22008: date out of range: \"5874898-01-01\"")),
        ("4714-11-24 BC", Ok(("4714-11-24 BC", "ffda97a7"))),
        ("4714-11-23 BC", Err("22008: date out of range: \"4714-11-23 BC\"")),
        ("0001-02-29 BC", Ok(("0001-02-29 BC", "fff4dac6"))),
        ("infinity", Ok(("infinity", "7fffffff"))),
        ("-infinity", Ok(("-infinity", "80000000"))),
        ("epoch", Ok(("1970-01-01", "ffffd533"))),
        ("2024-01-05 10:00+02", Ok(("2024-01-05", "00002242"))),
        ("2024-02-30", Err("22008: date/time field value out of range: \"2024-02-30\"")),
        ("2024-13-01", Err("22008: date/time field value out of range: \"2024-13-01\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("now 5", Err("22007: invalid input syntax for type date: \"now 5\"")),
        ("20240105", Ok(("2024-01-05", "00002242"))),
        ("1900-02-29", Err("22008: date/time field value out of range: \"1900-02-29\"")),
    ]);
}

#[test]
#[rustfmt::skip]
fn times_of_day_are_read() {
    check(&PgType::TIME, -1, &[("tz", "Europe/Berlin")], &[
        ("10:00", Ok(("10:00:00", "0000000861c46800"))),
        ("10:00:00.123456789", Ok(("10:00:00.123457", "0000000861c64a41"))),
        ("24:00:00", Ok(("24:00:00", "000000141dd76000"))),
        ("24:00:01", Err("22008: date/time field value out of range: \"24:00:01\"")),
        ("23:59:60", Ok(("24:00:00", "000000141dd76000"))),
        ("100000", Ok(("10:00:00", "0000000861c46800"))),
        ("1000", Ok(("10:00:00", "0000000861c46800"))),
        ("100000.5", Ok(("10:00:00.5", "0000000861cc0920"))),
        ("10 AM", Err("22007: invalid input syntax for type time: \"10 AM\"")),
        ("12:00 am", Ok(("00:00:00", "0000000000000000"))),
        ("12:00 pm", Ok(("12:00:00", "0000000a0eebb000"))),
        ("13:00 PM", Err("22008: date/time field value out of range: \"13:00 PM\"")),
        ("04:05.5", Ok(("00:04:05.5", "000000000ea20860"))),
        ("allballs", Ok(("00:00:00", "0000000000000000"))),
        ("t10:00", Ok(("10:00:00", "0000000861c46800"))),
        ("10:00+02", Ok(("10:00:00", "0000000861c46800"))),
        ("10:00 EST", Ok(("10:00:00", "0000000861c46800"))),
        ("10:00 Europe/Berlin", Err("22007: invalid input syntax for type time: \"10:00 Europe/Berlin\"")),
        ("2024-07-01 10:00 Europe/Berlin", Ok(("10:00:00", "0000000861c46800"))),
        ("", Err("22007: invalid input syntax for type time: \"\"")),
        ("10", Err("22007: invalid input syntax for type time: \"10\"")),
        ("25:00", Err("22008: date/time field value out of range: \"25:00\"")),
        ("10:60", Err("22008: date/time field value out of range: \"10:60\"")),
        ("2024-01-05", Err("22007: invalid input syntax for type time: \"2024-01-05\"")),
        ("infinity", Err("22007: invalid input syntax for type time: \"infinity\"")),
    ]);
    check(&PgType::TIME, 3, &[], &[
        ("10:00:00.1235", Ok(("10:00:00.124", "0000000861c64c60"))),
        ("23:59:59.9995", Ok(("24:00:00", "000000141dd76000"))),
    ]);
    check(&PgType::TIMETZ, -1, &[("tz", "Europe/Berlin")], &[
        ("10:00+02", Ok(("10:00:00+02", "0000000861c46800ffffe3e0"))),
        ("10:00-03:30", Ok(("10:00:00-03:30", "0000000861c4680000003138"))),
        ("10:00 EST", Ok(("10:00:00-05", "0000000861c4680000004650"))),
        ("10:00 Europe/Berlin", Err("22007: invalid input syntax for type time with time zone: \"10:00 Europe/Berlin\"")),
        ("2024-07-01 10:00 Europe/Berlin", Ok(("10:00:00+02", "0000000861c46800ffffe3e0"))),
        ("2024-07-01 10:00", Ok(("10:00:00+02", "0000000861c46800ffffe3e0"))),
        ("10:00 UTC", Ok(("10:00:00+00", "0000000861c4680000000000"))),
        ("10:00+05:30:15", Ok(("10:00:00+05:30:15", "0000000861c46800ffffb299"))),
        ("24:00:00-15:59", Ok(("24:00:00-15:59", "000000141dd760000000e0c4"))),
        ("10:00+16", Err("22009: time zone displacement out of range: \"10:00+16\"")),
        ("allballs", Ok(("00:00:00+00", "000000000000000000000000"))),
    ]);
}

#[test]
#[rustfmt::skip]
fn date_styles_are_written() {
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "Europe/Berlin"), ("ds", "SQL, MDY")], &[
        ("2024-07-05 10:00:00.5Z", Ok(("07/05/2024 12:00:00.5 CEST", "0002bf7be5310920"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "<+05>-05"), ("ds", "SQL, MDY")], &[
        ("2024-01-05 10:00Z", Ok(("01/05/2024 15:00:00 +05", "0002b12eae0b2800"))),
    ]);
    check(&PgType::TIMESTAMP, -1, &[("tz", "UTC"), ("ds", "SQL, MDY")], &[
        ("0044-03-15 10:00 BC", Ok(("03/15/0044 10:00:00 BC", "ff1af9e74e1f8800"))),
    ]);
    check(&PgType::DATE, -1, &[("tz", "UTC"), ("ds", "SQL, MDY")], &[
        ("2024-07-05", Ok(("07/05/2024", "000022f8"))),
        ("0044-03-15 BC", Ok(("03/15/0044 BC", "fff49d7b"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "Europe/Berlin"), ("ds", "SQL, DMY")], &[
        ("2024-07-05 10:00:00.5Z", Ok(("05/07/2024 12:00:00.5 CEST", "0002bf7be5310920"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "<+05>-05"), ("ds", "SQL, DMY")], &[
        ("2024-01-05 10:00Z", Ok(("05/01/2024 15:00:00 +05", "0002b12eae0b2800"))),
    ]);
    check(&PgType::TIMESTAMP, -1, &[("tz", "UTC"), ("ds", "SQL, DMY")], &[
        ("0044-03-15 10:00 BC", Ok(("15/03/0044 10:00:00 BC", "ff1af9e74e1f8800"))),
    ]);
    check(&PgType::DATE, -1, &[("tz", "UTC"), ("ds", "SQL, DMY")], &[
        ("2024-07-05", Ok(("05/07/2024", "000022f8"))),
        ("0044-03-15 BC", Ok(("15/03/0044 BC", "fff49d7b"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "Europe/Berlin"), ("ds", "Postgres, MDY")], &[
        ("2024-07-05 10:00:00.5Z", Ok(("Fri Jul 05 12:00:00.5 2024 CEST", "0002bf7be5310920"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "<+05>-05"), ("ds", "Postgres, MDY")], &[
        ("2024-01-05 10:00Z", Ok(("Fri Jan 05 15:00:00 2024 +05", "0002b12eae0b2800"))),
    ]);
    check(&PgType::TIMESTAMP, -1, &[("tz", "UTC"), ("ds", "Postgres, MDY")], &[
        ("0044-03-15 10:00 BC", Ok(("Fri Mar 15 10:00:00 0044 BC", "ff1af9e74e1f8800"))),
    ]);
    check(&PgType::DATE, -1, &[("tz", "UTC"), ("ds", "Postgres, MDY")], &[
        ("2024-07-05", Ok(("07-05-2024", "000022f8"))),
        ("0044-03-15 BC", Ok(("03-15-0044 BC", "fff49d7b"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "Europe/Berlin"), ("ds", "Postgres, DMY")], &[
        ("2024-07-05 10:00:00.5Z", Ok(("Fri 05 Jul 12:00:00.5 2024 CEST", "0002bf7be5310920"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "<+05>-05"), ("ds", "Postgres, DMY")], &[
        ("2024-01-05 10:00Z", Ok(("Fri 05 Jan 15:00:00 2024 +05", "0002b12eae0b2800"))),
    ]);
    check(&PgType::TIMESTAMP, -1, &[("tz", "UTC"), ("ds", "Postgres, DMY")], &[
        ("0044-03-15 10:00 BC", Ok(("Fri 15 Mar 10:00:00 0044 BC", "ff1af9e74e1f8800"))),
    ]);
    check(&PgType::DATE, -1, &[("tz", "UTC"), ("ds", "Postgres, DMY")], &[
        ("2024-07-05", Ok(("05-07-2024", "000022f8"))),
        ("0044-03-15 BC", Ok(("15-03-0044 BC", "fff49d7b"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "Europe/Berlin"), ("ds", "German, DMY")], &[
        ("2024-07-05 10:00:00.5Z", Ok(("05.07.2024 12:00:00.5 CEST", "0002bf7be5310920"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "<+05>-05"), ("ds", "German, DMY")], &[
        ("2024-01-05 10:00Z", Ok(("05.01.2024 15:00:00 +05", "0002b12eae0b2800"))),
    ]);
    check(&PgType::TIMESTAMP, -1, &[("tz", "UTC"), ("ds", "German, DMY")], &[
        ("0044-03-15 10:00 BC", Ok(("15.03.0044 10:00:00 BC", "ff1af9e74e1f8800"))),
    ]);
    check(&PgType::DATE, -1, &[("tz", "UTC"), ("ds", "German, DMY")], &[
        ("2024-07-05", Ok(("05.07.2024", "000022f8"))),
        ("0044-03-15 BC", Ok(("15.03.0044 BC", "fff49d7b"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "Europe/Berlin"), ("ds", "ISO, YMD")], &[
        ("2024-07-05 10:00:00.5Z", Ok(("2024-07-05 12:00:00.5+02", "0002bf7be5310920"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "<+05>-05"), ("ds", "ISO, YMD")], &[
        ("2024-01-05 10:00Z", Ok(("2024-01-05 15:00:00+05", "0002b12eae0b2800"))),
    ]);
    check(&PgType::TIMESTAMP, -1, &[("tz", "UTC"), ("ds", "ISO, YMD")], &[
        ("0044-03-15 10:00 BC", Ok(("0044-03-15 10:00:00 BC", "ff1af9e74e1f8800"))),
    ]);
    check(&PgType::DATE, -1, &[("tz", "UTC"), ("ds", "ISO, YMD")], &[
        ("2024-07-05", Ok(("2024-07-05", "000022f8"))),
        ("0044-03-15 BC", Ok(("0044-03-15 BC", "fff49d7b"))),
    ]);
}
