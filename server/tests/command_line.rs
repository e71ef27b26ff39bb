//! The server's command line: what it says before it serves anybody.
//!
//! That this target exists also makes `cargo test` build the binary, which the tests of the whole
//! server start.
#![expect(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::process::{Command, Output};

fn tidemark(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TIDEMARK_")) {
        command.env_remove(name);
    }
    command.args(arguments).output().unwrap()
}

#[test]
fn it_tells_its_version_and_its_settings() {
    let version = tidemark(&["--version"]);
    assert_eq!(
        String::from_utf8(version.stdout).unwrap(),
        concat!("tidemark ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let help = String::from_utf8(tidemark(&["--help"]).stdout).unwrap();
    for setting in
        ["--data-dir", "--pg-listen", "--http-listen", "--line-listen", "--config", "TIDEMARK_PASSWORD"]
    {
        assert!(help.contains(setting), "{setting} is not in the help");
    }
}

#[test]
fn a_wrong_setting_is_named_with_its_value_and_what_is_allowed() {
    for (argument, expected) in [
        ("--pg-listen=nowhere", "invalid value for pg-listen: \"nowhere\""),
        ("--memtable-size=many", "invalid value for memtable-size: \"many\""),
        ("--commit=sometimes", "invalid value for commit: \"sometimes\""),
        ("--log-format=xml", "invalid value for log-format: \"xml\""),
    ] {
        let refused = tidemark(&[argument]);
        assert!(!refused.status.success(), "{argument} is taken");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains(expected), "{argument}: {said}");
        assert!(said.contains('('), "{argument}: what is allowed is not said: {said}");
    }
}
