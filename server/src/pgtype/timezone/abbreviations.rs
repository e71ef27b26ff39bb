//! Abbreviations of time zones that timestamps may end with: PostgreSQL's `Default` set.
//!
//! The set is a matter of taste, not of record: `IST` is Israel's and `CST` America's. Where an
//! abbreviation has meant different offsets over time, it names the zone whose history says which.

/// What an abbreviation means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abbreviation {
    /// Standard time, in seconds east of Greenwich.
    Standard(i32),
    /// Summer time, in seconds east of Greenwich.
    Daylight(i32),
    /// What the named zone says about the abbreviation at that time.
    Dynamic(&'static str),
}

/// The meaning of an abbreviation in lower case.
pub fn look_up(abbreviation: &str) -> Option<Abbreviation> {
    let offset_in = |table: &[(&str, i32)]| {
        table.binary_search_by_key(&abbreviation, |(name, _)| *name).ok().map(|index| table[index].1)
    };
    if let Some(offset) = offset_in(&STANDARD) {
        return Some(Abbreviation::Standard(offset));
    }
    if let Some(offset) = offset_in(&DAYLIGHT) {
        return Some(Abbreviation::Daylight(offset));
    }
    let index = DYNAMIC.binary_search_by_key(&abbreviation, |(name, _)| *name).ok()?;
    Some(Abbreviation::Dynamic(DYNAMIC[index].1))
}

#[rustfmt::skip]
static STANDARD: [(&str, i32); 97] = [
    ("acst", 34_200), ("act", -18_000), ("acwst", 31_500), ("aest", 36_000), ("aft", 16_200),
    ("akst", -32_400), ("almt", 21_600), ("amt", -14_400), ("ast", -14_400), ("awst", 28_800),
    ("azot", -3_600), ("bdt", 21_600), ("bnt", 28_800), ("bort", 28_800), ("bot", -14_400),
    ("bra", -10_800), ("brt", -10_800), ("btt", 21_600), ("cast", 34_200), ("cct", 28_800), ("cet", 3_600),
    ("chast", 45_900), ("chut", 36_000), ("cot", -18_000), ("cst", -21_600), ("cxt", 25_200),
    ("ddut", 36_000), ("eat", 10_800), ("eet", 7_200), ("egt", -3_600), ("est", -18_000), ("fet", 10_800),
    ("fjt", 43_200), ("fnt", -7_200), ("galt", -21_600), ("gamt", -32_400), ("gft", -10_800),
    ("gilt", 43_200), ("gmt", 0), ("hkt", 28_800), ("hst", -36_000), ("ict", 25_200), ("irt", 12_600),
    ("ist", 7_200), ("jayt", 32_400), ("jst", 32_400), ("kst", 32_400), ("lhst", 37_800), ("ligt", 36_000),
    ("mart", -34_200), ("met", 3_600), ("mez", 3_600), ("mht", 43_200), ("mmt", 23_400), ("mpt", 36_000),
    ("mst", -25_200), ("mut", 14_400), ("mvt", 18_000), ("myt", 28_800), ("nft", -12_600), ("npt", 20_700),
    ("nst", -12_600), ("nzst", 43_200), ("nzt", 43_200), ("pet", -18_000), ("pgt", 36_000), ("pht", 28_800),
    ("pkt", 18_000), ("pmst", -10_800), ("pont", 39_600), ("pst", -28_800), ("pwt", 32_400),
    ("ret", 14_400), ("sast", 7_200), ("sct", 14_400), ("taht", -36_000), ("tft", 18_000), ("tjt", 18_000),
    ("tot", 46_800), ("trut", 36_000), ("tvt", 43_200), ("uct", 0), ("ut", 0), ("utc", 0), ("uyt", -10_800),
    ("uzt", 18_000), ("vut", 39_600), ("wakt", 43_200), ("wast", 25_200), ("wat", 3_600), ("wet", 0),
    ("wft", 43_200), ("wgt", -10_800), ("xjt", 21_600), ("yapt", 36_000), ("z", 0), ("zulu", 0),
];

#[rustfmt::skip]
static DAYLIGHT: [(&str, i32); 48] = [
    ("acdt", 37_800), ("acsst", 37_800), ("adt", -10_800), ("aedt", 39_600), ("aesst", 39_600),
    ("akdt", -28_800), ("almst", 25_200), ("awsst", 32_400), ("azost", 0), ("bdst", 7_200),
    ("brst", -7_200), ("bst", 3_600), ("cadt", 37_800), ("cdt", -18_000), ("cest", 7_200),
    ("cetdst", 7_200), ("chadt", 49_500), ("clst", -10_800), ("edt", -14_400), ("eest", 10_800),
    ("eetdst", 10_800), ("egst", 0), ("fjst", 46_800), ("fnst", -3_600), ("idt", 10_800), ("kdt", 36_000),
    ("kgst", 21_600), ("mdt", -21_600), ("mest", 7_200), ("mesz", 7_200), ("metdst", 7_200),
    ("msd", 14_400), ("must", 18_000), ("ndt", -9_000), ("nzdt", 46_800), ("pdt", -25_200),
    ("pkst", 21_600), ("pmdt", -7_200), ("pyst", -10_800), ("sadt", 37_800), ("ulast", 32_400),
    ("uyst", -7_200), ("uzst", 21_600), ("wadt", 28_800), ("wdt", 32_400), ("wetdst", 3_600),
    ("wgst", -7_200), ("yekst", 21_600),
];

#[rustfmt::skip]
static DYNAMIC: [(&str, &str); 50] = [
    ("amst", "Asia/Yerevan"), ("anast", "Asia/Anadyr"), ("anat", "Asia/Anadyr"),
    ("arst", "America/Argentina/Buenos_Aires"), ("art", "America/Argentina/Buenos_Aires"),
    ("azst", "Asia/Baku"), ("azt", "Asia/Baku"), ("ckt", "Pacific/Rarotonga"), ("clt", "America/Santiago"),
    ("davt", "Antarctica/Davis"), ("easst", "Pacific/Easter"), ("east", "Pacific/Easter"),
    ("fkst", "Atlantic/Stanley"), ("fkt", "Atlantic/Stanley"), ("gest", "Asia/Tbilisi"),
    ("get", "Asia/Tbilisi"), ("gyt", "America/Guyana"), ("iot", "Indian/Chagos"), ("irkst", "Asia/Irkutsk"),
    ("irkt", "Asia/Irkutsk"), ("kgt", "Asia/Bishkek"), ("kost", "Pacific/Kosrae"),
    ("krast", "Asia/Krasnoyarsk"), ("krat", "Asia/Krasnoyarsk"), ("lhdt", "Australia/Lord_Howe"),
    ("lint", "Pacific/Kiritimati"), ("lkt", "Asia/Colombo"), ("magst", "Asia/Magadan"),
    ("magt", "Asia/Magadan"), ("mawt", "Antarctica/Mawson"), ("msk", "Europe/Moscow"),
    ("novst", "Asia/Novosibirsk"), ("novt", "Asia/Novosibirsk"), ("nut", "Pacific/Niue"),
    ("omsst", "Asia/Omsk"), ("omst", "Asia/Omsk"), ("petst", "Asia/Kamchatka"), ("pett", "Asia/Kamchatka"),
    ("pyt", "America/Asuncion"), ("sgt", "Asia/Singapore"), ("tkt", "Pacific/Fakaofo"),
    ("tmt", "Asia/Ashgabat"), ("ulat", "Asia/Ulaanbaatar"), ("vet", "America/Caracas"),
    ("vlast", "Asia/Vladivostok"), ("vlat", "Asia/Vladivostok"), ("volt", "Europe/Volgograd"),
    ("yakst", "Asia/Yakutsk"), ("yakt", "Asia/Yakutsk"), ("yekt", "Asia/Yekaterinburg"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgtype::timezone::TimeZone;

    #[test]
    fn tables_are_sorted_and_name_known_zones() {
        assert!(STANDARD.is_sorted_by(|a, b| a.0 < b.0));
        assert!(DAYLIGHT.is_sorted_by(|a, b| a.0 < b.0));
        assert!(DYNAMIC.is_sorted_by(|a, b| a.0 < b.0));
        for (abbreviation, zone) in DYNAMIC {
            assert!(TimeZone::named(zone).is_some(), "{abbreviation} names {zone}");
        }
    }
}
