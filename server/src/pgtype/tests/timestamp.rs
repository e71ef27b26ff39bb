//! `timestamp` and `timestamptz` in their many forms, with what PostgreSQL 15 answers.

use super::check;
use crate::pgtype::PgType;

#[test]
#[rustfmt::skip]
fn timestamps_with_a_zone_are_instants() {
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "UTC")], &[
        ("2024-01-05", Ok(("2024-01-05 00:00:00+00", "0002b1264c46c000"))),
        ("2024-01-05 10:00", Ok(("2024-01-05 10:00:00+00", "0002b12eae0b2800"))),
        ("2024-01-05T10:00:00Z", Ok(("2024-01-05 10:00:00+00", "0002b12eae0b2800"))),
        ("2024-01-05 10:00:00.123456789+02", Ok(("2024-01-05 08:00:00.123457+00", "0002b12d00e5c241"))),
        ("20240105", Ok(("2024-01-05 00:00:00+00", "0002b1264c46c000"))),
        ("20240105T040506.789-07", Ok(("2024-01-05 11:05:06.789+00", "0002b12f96e80688"))),
        ("240105 1000", Ok(("2024-01-05 10:00:00+00", "0002b12eae0b2800"))),
        ("Jan 5 2024", Ok(("2024-01-05 00:00:00+00", "0002b1264c46c000"))),
        ("January 5, 2024 10:30 PM", Ok(("2024-01-05 22:30:00+00", "0002b1392840aa00"))),
        ("5-jan-2024", Ok(("2024-01-05 00:00:00+00", "0002b1264c46c000"))),
        ("2024-jan-05", Ok(("2024-01-05 00:00:00+00", "0002b1264c46c000"))),
        ("1/5/2024 4:05:06", Ok(("2024-01-05 04:05:06+00", "0002b129b8d28080"))),
        ("01-05-24", Ok(("2024-01-05 00:00:00+00", "0002b1264c46c000"))),
        ("2024.005", Ok(("2024-01-05 00:00:00+00", "0002b1264c46c000"))),
        ("2024005", Err("22008: date/time field value out of range: \"2024005\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("J2451187", Ok(("1999-01-08 00:00:00+00", "ffffe3de44cfc000"))),
        ("J2451187.5", Ok(("1999-01-08 12:00:00+00", "ffffe3e853bb7000"))),
        ("JD2451187-08", Ok(("1999-01-08 08:00:00+00", "ffffe3e4f96ce000"))),
        ("y2001m02d04", Ok(("2001-02-04 00:00:00+00", "00001f6ea0860000"))),
        ("2024-01-05 24:00:00", Ok(("2024-01-06 00:00:00+00", "0002b13a6a1e2000"))),
        ("2024-01-05 23:59:60", Ok(("2024-01-06 00:00:00+00", "0002b13a6a1e2000"))),
        ("2024-01-05 23:59:59.9999999", Ok(("2024-01-06 00:00:00+00", "0002b13a6a1e2000"))),
        ("epoch", Ok(("1970-01-01 00:00:00+00", "fffca2fec4c82000"))),
        ("infinity", Ok(("infinity", "7fffffffffffffff"))),
        ("-infinity", Ok(("-infinity", "8000000000000000"))),
        ("0044-03-15 BC", Ok(("0044-03-15 00:00:00+00 BC", "ff1af9deec5b2000"))),
        ("15 mar 44 bc 10:00", Ok(("0044-03-15 10:00:00+00 BC", "ff1af9e74e1f8800"))),
        ("Fri Jan 05 10:00:00 2024", Ok(("2024-01-05 10:00:00+00", "0002b12eae0b2800"))),
        ("2024-01-05 12:00 am", Ok(("2024-01-05 00:00:00+00", "0002b1264c46c000"))),
        ("2024-01-05 12:30 pm", Ok(("2024-01-05 12:30:00+00", "0002b130c67c4200"))),
        ("99-1-1", Err("22008: date/time field value out of range: \"99-1-1\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("2024-01-05 at 10:00", Ok(("2024-01-05 10:00:00+00", "0002b12eae0b2800"))),
        ("2024-01-05 10:00:00 -0330", Ok(("2024-01-05 13:30:00+00", "0002b1319d0fe600"))),
        ("2024-01-05 10:00:00+05:30:15", Ok(("2024-01-05 04:29:45+00", "0002b12a10fa4040"))),
        ("2024-01-05 10:00 Europe/Berlin", Ok(("2024-01-05 09:00:00+00", "0002b12dd7778400"))),
        ("2024-07-05 10:00 europe/berlin", Ok(("2024-07-05 08:00:00+00", "0002bf7a38022000"))),
        ("2024-01-05 10:00 EST", Ok(("2024-01-05 15:00:00+00", "0002b132deed5c00"))),
        ("2024-07-05 10:00 EDT", Ok(("2024-07-05 14:00:00+00", "0002bf7f3f77f800"))),
        ("2024-01-05 10:00 MSK", Ok(("2024-01-05 07:00:00+00", "0002b12c2a503c00"))),
        ("1990-01-05 10:00 MSK", Ok(("1990-01-05 07:00:00+00", "fffee15ca0f17c00"))),
        ("2024-07-01 10:00 MET DST", Ok(("2024-07-01 08:00:00+00", "0002bf29c0a4a000"))),
        ("2024-01-05 10:00 UTC", Ok(("2024-01-05 10:00:00+00", "0002b12eae0b2800"))),
        ("2024-01-05 10:00 FOO+3", Ok(("2024-01-05 13:00:00+00", "0002b13131c61400"))),
        ("2024-01-05 allballs", Ok(("2024-01-05 00:00:00+00", "0002b1264c46c000"))),
        ("2024-01-05 04:05.5", Ok(("2024-01-05 00:04:05.5+00", "0002b1265ae8c860"))),
        ("infinity 10:00Z", Ok(("infinity", "7fffffffffffffff"))),
        ("5jan2024", Ok(("2024-01-05 00:00:00+00", "0002b1264c46c000"))),
        ("4714-11-24 BC", Ok(("4714-11-24 00:00:00+00 BC", "fd0f7cc1411fa000"))),
        ("10000-01-01", Ok(("10000-01-01 00:00:00+00", "0380e70b913b8000"))),
        ("0001-01-01", Ok(("0001-01-01 00:00:00+00", "ff1fe2ffc59c6000"))),
        ("294246-12-31 23:59:59", Ok(("294246-12-31 23:59:59+00", "7ffca2465a941dc0"))),
        ("Jan 5", Err("22007: invalid input syntax for type timestamp with time zone: \"Jan 5\"")),
        ("2024-02-29", Ok(("2024-02-29 00:00:00+00", "0002b578b58c6000"))),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_is_no_timestamp_is_refused() {
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "UTC")], &[
        ("", Err("22007: invalid input syntax for type timestamp with time zone: \"\"")),
        ("2024", Err("22007: invalid input syntax for type timestamp with time zone: \"2024\"")),
        ("2024-01", Err("22007: invalid input syntax for type timestamp with time zone: \"2024-01\"")),
        ("2024-13-01", Err("22008: date/time field value out of range: \"2024-13-01\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("2024-12-32", Err("22008: date/time field value out of range: \"2024-12-32\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("2023-02-29", Err("22008: date/time field value out of range: \"2023-02-29\"")),
        ("2024-01-05 25:00", Err("22008: date/time field value out of range: \"2024-01-05 25:00\"")),
        ("2024-01-05 10:60", Err("22008: date/time field value out of range: \"2024-01-05 10:60\"")),
        ("2024-01-05 10:00:61", Err("22008: date/time field value out of range: \"2024-01-05 10:00:61\"")),
        ("10:00", Err("22007: invalid input syntax for type timestamp with time zone: \"10:00\"")),
        ("2024-01-05 10:00 Nowhere/Land", Err("22023: time zone \"nowhere/land\" not recognized")),
        ("2024-01-05 10:00 foo", Err("22007: invalid input syntax for type timestamp with time zone: \"2024-01-05 10:00 foo\"")),
        ("2024-01-05 10:00+16", Err("22009: time zone displacement out of range: \"2024-01-05 10:00+16\"")),
        ("2024-01-05 10:00+15:60", Err("22009: time zone displacement out of range: \"2024-01-05 10:00+15:60\"")),
        ("2024-01-05 13:00 PM", Err("22008: date/time field value out of range: \"2024-01-05 13:00 PM\"")),
        ("0000-01-01", Err("22008: date/time field value out of range: \"0000-01-01\"")),
        ("0 BC", Err("22008: date/time field value out of range: \"0 BC\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("2024-01-05 2024-01-06", Err("22007: invalid input syntax for type timestamp with time zone: \"2024-01-05 2024-01-06\"")),
        ("10:00 11:00", Err("22007: invalid input syntax for type timestamp with time zone: \"10:00 11:00\"")),
        ("1997-02-10 dst", Err("22007: invalid input syntax for type timestamp with time zone: \"1997-02-10 dst\"")),
        ("294277-01-01", Err("22008: timestamp out of range: \"294277-01-01\"")),
        ("4714-11-23 BC", Err("22008: timestamp out of range: \"4714-11-23 BC\"")),
        ("99999999-01-01", Err("22008: timestamp out of range: \"99999999-01-01\"")),
        ("x", Err("22007: invalid input syntax for type timestamp with time zone: \"x\"")),
        ("-", Err("22007: invalid input syntax for type timestamp with time zone: \"-\"")),
        ("2024-01-05 10:00:00é", Err("22007: invalid input syntax for type timestamp with time zone: \"2024-01-05 10:00:00é\"")),
        ("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26", Err("22007: invalid input syntax for type timestamp with time zone: \"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26\"")),
        ("+infinity", Err("22007: invalid input syntax for type timestamp with time zone: \"+infinity\"")),
        ("2024-W01-1", Err("22007: invalid input syntax for type timestamp with time zone: \"2024-W01-1\"")),
        ("infinity 2024-01-01", Err("22007: invalid input syntax for type timestamp with time zone: \"infinity 2024-01-01\"")),
        ("-infinity 100000", Err("22008: date/time field value out of range: \"-infinity 100000\"\nHINT: Perhaps you need a different \"datestyle\" setting.")),
        ("20240105 1", Err("22007: invalid input syntax for type timestamp with time zone: \"20240105 1\"")),
        ("t10:00", Err("22007: invalid input syntax for type timestamp with time zone: \"t10:00\"")),
        ("2024-01-05 t", Err("22007: invalid input syntax for type timestamp with time zone: \"2024-01-05 t\"")),
        ("Jan Feb 2024", Err("22007: invalid input syntax for type timestamp with time zone: \"Jan Feb 2024\"")),
    ]);
}

#[test]
#[rustfmt::skip]
fn timestamps_without_a_zone_read_over_zones() {
    check(&PgType::TIMESTAMP, -1, &[("tz", "Europe/Berlin")], &[
        ("2024-01-05 10:00+02", Ok(("2024-01-05 10:00:00", "0002b12eae0b2800"))),
        ("2024-01-05 10:00 Europe/Berlin", Ok(("2024-01-05 10:00:00", "0002b12eae0b2800"))),
        ("2024-07-01 10:00:00.5 PST", Ok(("2024-07-01 10:00:00.5", "0002bf2b6dd38920"))),
        ("epoch", Ok(("1970-01-01 00:00:00", "fffca2fec4c82000"))),
        ("infinity", Ok(("infinity", "7fffffffffffffff"))),
        ("2024-01-05 10:00 Nowhere/Land", Err("22023: time zone \"nowhere/land\" not recognized")),
        ("20240105 996199", Ok(("2024-01-09 04:02:39", "0002b17a276cf5c0"))),
        ("2024-01-05 25:00", Err("22008: date/time field value out of range: \"2024-01-05 25:00\"")),
    ]);
}

#[test]
#[rustfmt::skip]
fn local_times_in_gaps_and_overlaps_are_instants() {
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "Europe/Berlin")], &[
        ("2024-03-31 01:59:59", Ok(("2024-03-31 01:59:59+01", "0002b7e9292561c0"))),
        ("2024-03-31 02:00", Ok(("2024-03-31 03:00:00+02", "0002b7e92934a400"))),
        ("2024-03-31 02:30", Ok(("2024-03-31 03:30:00+02", "0002b7e9947e7600"))),
        ("2024-03-31 03:00", Ok(("2024-03-31 03:00:00+02", "0002b7e92934a400"))),
        ("2024-10-27 01:59", Ok(("2024-10-27 01:59:00+02", "0002c868c9ba3900"))),
        ("2024-10-27 02:00", Ok(("2024-10-27 02:00:00+01", "0002c869a3e16400"))),
        ("2024-10-27 02:30", Ok(("2024-10-27 02:30:00+01", "0002c86a0f2b3600"))),
        ("2024-10-27 03:00", Ok(("2024-10-27 03:00:00+01", "0002c86a7a750800"))),
        ("1800-01-01", Ok(("1800-01-01 00:00:00+00:53:28", "ffe993dc38e0ce00"))),
        ("2037-07-01", Ok(("2037-07-01 00:00:00+02", "0004343ad568b800"))),
        ("2099-07-01", Ok(("2099-07-01 00:00:00+02", "000b27ae81d79800"))),
        ("2150-07-01", Ok(("2150-07-01 00:00:00+02", "0010df65cfe5b800"))),
        ("9999-12-31 23:59:59", Ok(("9999-12-31 23:59:59+01", "0380e70aba9899c0"))),
        ("2024-07-01 00:00Z", Ok(("2024-07-01 02:00:00+02", "0002bf230c078000"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "Europe/Moscow")], &[
        ("2014-10-26 01:30", Ok(("2014-10-26 01:30:00+03", "0001a9459b4c0a00"))),
        ("2011-03-27 02:30", Ok(("2011-03-27 03:30:00+04", "00014269db99ce00"))),
        ("1992-01-19 01:30", Ok(("1992-01-19 01:30:00+02", "ffff1bcd118d2e00"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "Pacific/Apia")], &[
        ("2011-12-29 12:00", Ok(("2011-12-29 12:00:00-10", "00015841019e9800"))),
        ("2011-12-30 12:00", Ok(("2011-12-31 12:00:00+14", "000158551f75f800"))),
        ("2011-12-31 12:00", Ok(("2011-12-31 12:00:00+14", "000158551f75f800"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "Australia/Lord_Howe")], &[
        ("2024-04-07 01:45", Ok(("2024-04-07 01:45:00+10:30", "0002b86dcdf8c500"))),
        ("2024-10-06 02:15", Ok(("2024-10-06 02:45:00+11", "0002c6bb7060d700"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "America/St_Johns")], &[
        ("1900-01-01 00:00Z", Ok(("1899-12-31 20:29:08-03:30:52", "fff4c9ee7c0b8000"))),
        ("2024-01-01 00:00Z", Ok(("2023-12-31 20:30:00-03:30", "0002b0d5d4e94000"))),
    ]);
    check(&PgType::TIMESTAMPTZ, -1, &[("tz", "<+05:30>-05:30")], &[
        ("2024-01-01 00:00Z", Ok(("2024-01-01 05:30:00+05:30", "0002b0d5d4e94000"))),
    ]);
}

#[test]
#[rustfmt::skip]
fn seconds_are_rounded_to_their_type() {
    check(&PgType::TIMESTAMPTZ, 0, &[], &[
        ("2024-01-05 10:00:00.5", Ok(("2024-01-05 10:00:01+00", "0002b12eae1a6a40"))),
        ("2024-01-05 10:00:01.499999", Ok(("2024-01-05 10:00:01+00", "0002b12eae1a6a40"))),
        ("1969-12-31 23:59:59.5", Ok(("1969-12-31 23:59:59+00", "fffca2fec4b8ddc0"))),
        ("1999-12-31 23:59:58.5", Ok(("1999-12-31 23:59:58+00", "ffffffffffe17b80"))),
        ("infinity", Ok(("infinity", "7fffffffffffffff"))),
    ]);
    check(&PgType::TIMESTAMP, 3, &[], &[
        ("2024-01-05 10:00:00.1235", Ok(("2024-01-05 10:00:00.124", "0002b12eae0d0c60"))),
        ("1999-12-31 23:59:58.1235", Ok(("1999-12-31 23:59:58.123", "ffffffffffe35bf8"))),
        ("2024-01-05 10:00:00.12349999", Ok(("2024-01-05 10:00:00.124", "0002b12eae0d0c60"))),
        ("0044-03-15 10:00:00.0005 BC", Ok(("0044-03-15 10:00:00 BC", "ff1af9e74e1f8800"))),
    ]);
    check(&PgType::TIMESTAMP, 6, &[], &[
        ("2024-01-05 10:00:00.1234565", Ok(("2024-01-05 10:00:00.123456", "0002b12eae0d0a40"))),
        ("2024-01-05 10:00:00.1234575", Ok(("2024-01-05 10:00:00.123458", "0002b12eae0d0a42"))),
        ("2024-01-05 10:00:00.12345650000000001", Ok(("2024-01-05 10:00:00.123457", "0002b12eae0d0a41"))),
        ("2024-01-05 10:00:00.0000005", Ok(("2024-01-05 10:00:00", "0002b12eae0b2800"))),
        ("2024-01-05 10:00:00.0000015", Ok(("2024-01-05 10:00:00.000002", "0002b12eae0b2802"))),
    ]);
}
