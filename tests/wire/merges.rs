//! What the views of schema `tidemark` tell of a server that works: segments that come and are merged.

use std::time::{Duration, Instant};

use tidemark_tests::server::{DataDir, Options};

use crate::raw::Raw;

/// A merge in the background that takes longer than this does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many small segments of a partition are merged without being asked to.
const FLUSHES: usize = 8;

#[test]
fn a_merge_in_the_background_is_told_of() {
    let directory = DataDir::new();
    let server = Options::new().data_dir(&directory.path).start();
    let mut raw = Raw::connect(server.pg);
    raw.run(
        "CREATE TABLE c (ts timestamptz, host SYMBOL, v integer) \
         WITH (kind = 'timeseries', time_key = 'ts', series_key = 'host', merge_after = '100 years')",
    );
    for flush in 0..FLUSHES {
        raw.run(&format!("INSERT INTO c VALUES ('2024-01-01 00:00:{flush:02}', 'h{flush}', {flush})"));
        raw.run("CALL tidemark.flush('c')");
    }
    let begun = Instant::now();
    while raw.value("SELECT count(*) FROM tidemark.merges WHERE collection = 'c'") == "0" {
        assert!(begun.elapsed() < PATIENCE, "{}", raw.value("SELECT count(*) FROM tidemark.jobs"));
    }
    let merge = "SELECT cardinality(input_segments) = output_rows, input_bytes > 0, output_bytes > 0, \
                 output_segment > input_segments[1], duration >= interval '0', error, reason \
                 FROM tidemark.merges WHERE collection = 'c' ORDER BY start_time LIMIT 1";
    assert_eq!(raw.value(merge), "t|t|t|t|t|NULL|small");
    // Its output is live, in its partition and on the disk; what it was made of is not.
    let output = "SELECT count(*) FROM tidemark.segments s JOIN tidemark.merges m \
                  ON m.output_segment = s.segment_id AND m.output_rows = s.rows WHERE s.level = 1";
    assert_eq!(raw.value(output), "1");
    let inputs = "SELECT count(*) FROM tidemark.segments s JOIN tidemark.merges m \
                  ON s.segment_id = ANY (m.input_segments)";
    assert_eq!(raw.value(inputs), "0");
    let file = raw.value("SELECT file FROM tidemark.segments ORDER BY level DESC LIMIT 1");
    assert!(directory.path.join(&file).is_file(), "{file}");
    let partition = "SELECT p.rows, p.segments = count(*) FROM tidemark.partitions p \
                     JOIN tidemark.segments s USING (partition_id) GROUP BY p.rows, p.segments";
    assert_eq!(raw.value(partition), format!("{FLUSHES}|t"));
    assert_eq!(
        raw.value("SELECT count(*), sum(v) FROM c"),
        format!("{FLUSHES}|{}", FLUSHES * (FLUSHES - 1) / 2)
    );
}

/// A merge reads no faster than `merge-rate` says.
#[test]
fn a_merge_takes_as_long_as_its_rate_says() {
    const RATE: u64 = 100_000;
    let server = Options::new().setting("merge-rate", RATE).start();
    let mut raw = Raw::connect(server.pg);
    raw.run("CREATE TABLE c (ts timestamptz, v text) WITH (kind = 'timeseries', time_key = 'ts')");
    for _ in 0..2 {
        raw.run(
            "INSERT INTO c SELECT '2024-01-01'::timestamptz + n * interval '1 second', md5(n::text) \
             FROM generate_series(1, 4000) AS g(n)",
        );
        raw.run("CALL tidemark.flush('c')");
    }
    raw.run("CALL tidemark.merge('c')");
    let merge = format!(
        "SELECT output_rows, input_bytes > {RATE}, duration >= input_bytes / {RATE}.0 * interval '1 second' \
         FROM tidemark.merges"
    );
    assert_eq!(raw.value(&merge), "8000|t|t");
}
