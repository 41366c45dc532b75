//! The program that checks metrics and rules, as their users have it.

use std::io::Write;
use std::process::{Command, Stdio};

/// Runs it with this input; its complaints, or nothing if it is content.
pub(crate) fn promtool(arguments: &[&str], input: &str) -> Result<(), String> {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("promtool cannot be run ({error}); tests/lab/setup.sh installs it"))?;
    let mut stdin = child.stdin.take().unwrap();
    let written = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    match output.status.success() {
        true => written.map_err(|error| format!("promtool did not read its input: {error}")),
        false => Err(said),
    }
}
