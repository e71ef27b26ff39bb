//! Running queries and timing them.
//!
//! 1. A query is run some times without counting; the first of these answers is kept, written in
//!    the form that all systems share, and compared when there is something to compare it with.
//! 2. It is run some more times. A time runs from sending the statement to having the last row.
//! 3. What is reported is the median and the minimum, over all instances of the query type.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use crate::answer::{self, Rows};
use crate::progress;
use crate::statistics::median;
use crate::workload::Query;
use tidemark_tests::failure::{Context, Result};

/// How queries are run, and where what they gave goes.
#[derive(Args, Debug)]
pub(crate) struct Plan {
    /// Runs of each query that do not count
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    warm_up: u32,
    /// Runs of each query that count
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// Write the answers to a file, in the same form for every system
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Fail unless the answers are those of this file
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Also write what was measured to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Something that answers SQL.
pub(crate) trait System {
    /// All rows of an answer, in the form in which they came.
    type Answer;

    async fn run(&mut self, sql: &str) -> Result<Self::Answer>;

    fn row_count(answer: &Self::Answer) -> usize;

    fn rows(answer: &Self::Answer) -> Result<Rows>;
}

/// What was measured of a query type.
#[derive(Debug, Serialize)]
struct Measured {
    name: &'static str,
    rows: usize,
    median_ms: f64,
    min_ms: f64,
    all_ms: Vec<f64>,
}

/// Runs the queries as planned and reports.
pub(crate) async fn run(system: &mut impl System, queries: &[Query], plan: &Plan) -> Result<()> {
    let expected = plan
        .check
        .as_ref()
        .map(|path| std::fs::read_to_string(path).context(|| format!("read {}", path.display())));
    let expected = expected.transpose()?;
    let progress = progress::of_queries(queries.len() as u64);
    let mut measured: Vec<Measured> = Vec::new();
    let mut answers = String::new();
    for query in queries {
        progress.set_message(query.name);
        let (section, times) =
            measure(system, query, plan).await.context(|| format!("run {}: {}", query.name, query.sql))?;
        if let Some(expected) = &expected {
            let theirs = answer::find_section(expected, query)
                .ok_or_else(|| format!("{} is not among the answers to compare with", query.name))?;
            answer::compare(&section.text, theirs).context(|| format!("accept {}", query.name))?;
        }
        if plan.answers.is_some() {
            answers.push_str(&section.text);
        }
        add(&mut measured, query.name, section.row_count, times);
        progress.inc(1);
    }
    progress.finish_and_clear();
    report(&measured);
    if let Some(path) = &plan.answers {
        std::fs::write(path, answers).context(|| format!("write {}", path.display()))?;
    }
    if let Some(path) = &plan.json {
        let text = serde_json::to_string_pretty(&measured)?;
        std::fs::write(path, text + "\n").context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

struct Section {
    text: String,
    row_count: usize,
}

async fn measure<S: System>(system: &mut S, query: &Query, plan: &Plan) -> Result<(Section, Vec<f64>)> {
    let answer = system.run(&query.sql).await?;
    let row_count = S::row_count(&answer);
    let section = Section { text: answer::section(query, &S::rows(&answer)?), row_count };
    drop(answer);
    for _ in 1..plan.warm_up {
        timed(system, &query.sql, row_count).await?;
    }
    let mut times = Vec::new();
    for _ in 0..plan.repeats {
        times.push(timed(system, &query.sql, row_count).await?);
    }
    Ok((section, times))
}

/// Runs a query once and gives the milliseconds; the answer must have as many rows as before.
pub(crate) async fn timed<S: System>(system: &mut S, sql: &str, row_count: usize) -> Result<f64> {
    let started = Instant::now();
    let answer = system.run(sql).await?;
    let elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
    if S::row_count(&answer) != row_count {
        return Err(format!("{row_count} rows at first, now {}", S::row_count(&answer)).into());
    }
    Ok(elapsed_ms)
}

/// Adds the times of an instance to those of its query type.
fn add(measured: &mut Vec<Measured>, name: &'static str, rows: usize, times: Vec<f64>) {
    let mut all_ms = times;
    if let Some(before) = measured.pop_if(|last| last.name == name) {
        all_ms.extend(before.all_ms);
    }
    let min_ms = all_ms.iter().copied().fold(f64::INFINITY, f64::min);
    measured.push(Measured { name, rows, median_ms: median(&all_ms), min_ms, all_ms });
}

fn report(measured: &[Measured]) {
    println!("{:<24}{:>10}{:>12}{:>12}", "query", "rows", "median ms", "min ms");
    for Measured { name, rows, median_ms, min_ms, .. } in measured {
        println!("{name:<24}{rows:>10}{median_ms:>12.2}{min_ms:>12.2}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_reported_as_one() {
        let mut measured = Vec::new();
        add(&mut measured, "a", 1, vec![1.0, 2.0]);
        add(&mut measured, "a", 1, vec![6.0]);
        add(&mut measured, "b", 1, vec![5.0]);
        let of: Vec<_> = measured.iter().map(|m| (m.name, m.median_ms, m.min_ms)).collect();
        assert_eq!(of, [("a", 2.0, 1.0), ("b", 5.0, 5.0)]);
    }
}
