//! Long files and long functions, as a place to look.

use crate::source::SourceFile;

/// Files are worth a look above this many lines.
const FILE_LINES: usize = 500;

/// And functions above this many.
const FUNCTION_LINES: usize = 70;

/// What is longer, longest first, below a heading.
pub(crate) fn report(sources: &[SourceFile]) -> String {
    let mut long = Vec::new();
    for file in sources {
        let lines = file.text.lines().count();
        if lines > FILE_LINES {
            long.push((lines, file.path.clone()));
        }
        for (at, length) in functions(&file.text).filter(|(_, length)| *length > FUNCTION_LINES) {
            long.push((length, format!("{}:{at}", file.path)));
        }
    }
    long.sort_by(|one, other| other.cmp(one));
    let lines = sources.iter().map(|file| file.text.lines().count()).sum::<usize>();
    let heading = format!(
        "{} files, {lines} lines; longer than {FILE_LINES} (files) or {FUNCTION_LINES} (functions):",
        sources.len()
    );
    let list = long.iter().map(|(length, place)| format!("{length:6} {place}"));
    std::iter::once(heading).chain(list).collect::<Vec<_>>().join("\n")
}

/// The functions of a file in the layout of rustfmt: the line where each begins, and its length.
fn functions(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let lines = text.lines().collect::<Vec<_>>();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let is_function = code.starts_with("fn ")
            || code.split(" fn ").next().is_some_and(|before| {
                before.len() < code.len()
                    && before
                        .split(' ')
                        .all(|word| word.starts_with("pub") || ["async", "const", "unsafe"].contains(&word))
            });
        if is_function {
            let end = format!("{}}}", &line[..line.len() - code.len()]);
            let length = match code.ends_with('}') {
                true => Some(0),
                false => lines[at..].iter().position(|line| *line == end),
            };
            found.extend(length.map(|length| (at + 1, length + 1)));
        }
    }
    found.into_iter()
}

#[test]
fn functions_are_measured_from_their_first_line_to_their_last() {
    let text = "impl A {\n    pub(crate) async fn b() {\n        c();\n    }\n}\n\nfn d() {}\nfn e() {\n}\n";
    assert_eq!(functions(text).collect::<Vec<_>>(), [(2, 3), (7, 1), (8, 2)]);
}
