//! Names of ordered aggregates, and their order of rows.

use super::*;

#[test]
fn names_say_what_an_aggregate_is_and_how_it_is_ordered() {
    let orders =
        [Order { descending: false, nulls_first: false }, Order { descending: true, nulls_first: true }];
    assert_eq!(name("string_agg", true, &orders), "#string_agg!:aldf");
    let found = by_name("#string_agg!:aldf").unwrap();
    let found = found.inner().downcast_ref::<Ordered>().unwrap();
    assert_eq!(
        (found.kind, found.is_distinct, found.orders.as_slice()),
        (Kind::StringAgg, true, &orders[..])
    );
    assert!(by_name("string_agg").is_none() && by_name("#nothing:al").is_none());
    assert_eq!(value_count("#percentile_cont:al"), Some(2));
}

#[test]
fn percentiles_of_intervals_are_intervals() {
    let interval = DataType::Interval(datafusion::arrow::datatypes::IntervalUnit::MonthDayNano);
    let cont = by_name("#percentile_cont:al").unwrap();
    let types = [interval.clone(), DataType::Decimal128(2, 1), interval.clone()];
    assert_eq!(cont.return_type(&types).unwrap(), interval);
}
