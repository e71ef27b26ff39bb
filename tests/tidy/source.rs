//! The source of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

use tidemark_tests::server::source_path;

/// One Rust file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// From the root of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    /// The lines before the file's unit tests, with what follows `//` taken away.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
        lines.map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default()))
    }

    /// Where a word is, as one line of a report each. A word is whole: `rand::` is not in `brand::`.
    pub(crate) fn code_lines_with(&self, word: &str) -> impl Iterator<Item = String> {
        let is_part = |character: char| character.is_alphanumeric() || character == '_';
        let is_found = move |line: &str| {
            line.match_indices(word).any(|(at, _)| word.starts_with('.') || !line[..at].ends_with(is_part))
        };
        let found = self.code_lines().filter(move |(_, line)| is_found(line));
        found.map(|(at, line)| format!("{}:{at}: {}", self.path, line.trim()))
    }
}

fn root() -> PathBuf {
    source_path("..")
}

/// A file, from the root of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All Rust files of the workspace, by path.
pub(crate) fn sources() -> Vec<SourceFile> {
    let mut found = Vec::new();
    for member in ["catalog", "engine", "server", "tests"] {
        collect(&root().join(member), member, &mut found);
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(found.len() > 100, "the source is somewhere else");
    found
}

fn collect(directory: &Path, path: &str, found: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{path}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &path, found);
        } else if path.ends_with(".rs") {
            found.push(SourceFile { path, text: fs::read_to_string(entry.path()).unwrap() });
        }
    }
}

#[test]
fn words_are_whole_and_comments_are_not_code() {
    let text = "let a = brand::x();\nlet b = rand::x();\n// rand::x()\n#[cfg(test)]\nrand::y()".to_owned();
    let file = SourceFile { path: "a.rs".to_owned(), text };
    assert_eq!(file.code_lines_with("rand::").collect::<Vec<_>>(), ["a.rs:2: let b = rand::x();"]);
}
