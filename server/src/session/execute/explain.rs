//! EXPLAIN: the physical plan, with what was read and what was skipped.

use serde_json::json;

use crate::error::SqlResult;
use crate::pgtype::datum::Datum;
use crate::plan::query::Explained;
use crate::session::Session;
use crate::session::control::StatementControl;
use crate::session::outcome::{Outcome, RowSource};
use crate::session::prepared::Body;

impl Session {
    pub(super) async fn explain(
        &mut self,
        query: &Body,
        analyze: bool,
        as_json: bool,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<Outcome> {
        let explained = match query {
            Body::Query(query) => {
                let run = self.run_query(control);
                control.run(query.explain(values, run, analyze)).await??
            }
            // The interpreter has no plan worth showing.
            _ => Explained { lines: vec!["CatalogQuery".to_owned()], row_count: None, execution_ms: None },
        };
        let rows = if as_json { vec![to_json(&explained)] } else { to_lines(&explained) };
        let datum = if as_json { Datum::Json } else { Datum::Text };
        let rows = RowSource::datums(rows.into_iter().map(|line| vec![datum(line)]));
        Ok(Outcome::Rows { rows, word: "EXPLAIN" })
    }
}

fn to_lines(explained: &Explained) -> Vec<String> {
    let mut lines = explained.lines.clone();
    lines.extend(explained.row_count.map(|rows| format!("Rows: {rows}")));
    lines.extend(explained.execution_ms.map(|ms| format!("Execution Time: {ms:.3} ms")));
    lines
}

/// One object per operator, nested as the operators are, in the form that tools expect of
/// PostgreSQL: a list with one object that has a `Plan`.
fn to_json(explained: &Explained) -> String {
    let mut stack: Vec<(usize, serde_json::Value)> = Vec::new();
    for line in &explained.lines {
        let depth = line.len() - line.trim_start().len();
        close(&mut stack, depth);
        let text = line.trim();
        let (name, detail) = text.split_once(": ").unwrap_or((text, ""));
        stack.push((depth, json!({ "Node Type": name, "Detail": detail })));
    }
    close(&mut stack, 0);
    let plan = stack.pop().map_or(json!({}), |(_, plan)| plan);
    let mut top = json!({ "Plan": plan });
    if let Some(ms) = explained.execution_ms {
        top["Execution Time"] = json!(ms);
    }
    json!([top]).to_string()
}

/// Puts finished operators into the ones above them.
fn close(stack: &mut Vec<(usize, serde_json::Value)>, depth: usize) {
    while stack.len() > 1 && stack.last().is_some_and(|(last, _)| *last >= depth.max(1)) {
        let (_, child) = stack.pop().expect("there is one");
        if let Some((_, parent)) = stack.last_mut() {
            let children = &mut parent["Plans"];
            match children.as_array_mut() {
                Some(children) => children.push(child),
                None => *children = json!([child]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_nests_as_the_plan_does() {
        let lines = ["A: x", "  B", "    C: y", "  D"].map(str::to_owned).to_vec();
        let text = to_json(&Explained { lines, row_count: None, execution_ms: None });
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let plan = &value[0]["Plan"];
        assert_eq!(plan["Node Type"], "A");
        assert_eq!(plan["Plans"][0]["Plans"][0]["Detail"], "y");
        assert_eq!(plan["Plans"][1]["Node Type"], "D");
    }
}
