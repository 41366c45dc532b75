//! Completions for shells: from the command line's own definition, and the names of guests.

use anyhow::{Context, Result, ensure};
use clap::CommandFactory;
use clap_complete::Shell;
use macvlan_shim::cli::Cli;
use macvlan_shim::model::names::PROGRAM;

/// The commands that take names of guests.
const WITH_NAMES: [&str; 3] = ["status", "explain", "events"];

/// The command that prints the names.
const NAMES: &str = "macvlan-shim status --list 2>/dev/null";

/// The script for each shell, by the shell's name.
pub(crate) fn completions() -> Result<[(&'static str, String); 3]> {
    Ok([
        ("bash", bash(generated(Shell::Bash)?)?),
        ("zsh", zsh(&generated(Shell::Zsh)?)?),
        ("fish", fish(generated(Shell::Fish)?)),
    ])
}

fn generated(shell: Shell) -> Result<String> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), PROGRAM, &mut script);
    Ok(String::from_utf8(script)?)
}

/// Each command has a list of its options. clap_complete 4.6 calls a program with a hyphen by two names, so that
/// no command's list would be found.
fn bash(script: String) -> Result<String> {
    let mut script = script.replace("macvlan__subcmd__shim", "macvlan__shim");
    for command in WITH_NAMES {
        let before = format!("macvlan__shim__subcmd__{command})\n            opts=\"");
        let place = script.find(&before).with_context(|| format!("bash's completion has no {before}"))?;
        script.insert_str(place + before.len(), &format!("$({NAMES}) "));
    }
    // The word that stands for the names in the list.
    Ok(script.replace(" [NAME]...", "").replace(" <SUBJECT>", ""))
}

/// Each argument ends in the function that completes it.
fn zsh(script: &str) -> Result<String> {
    let names = format!("{{compadd -- ${{(f)\"$({NAMES})\"}}}}'");
    let mut count = 0;
    let lines = script.split_inclusive('\n').map(|line| {
        let takes_names = line.starts_with("'*::names ") || line.starts_with("':subject ");
        if !takes_names {
            return line.to_owned();
        }
        count += 1;
        line.replace("_default'", &names)
    });
    let script = lines.collect();
    ensure!(count == WITH_NAMES.len(), "zsh's completion has another form: {count} commands take names");
    Ok(script)
}

fn fish(script: String) -> String {
    let names = WITH_NAMES.map(|command| {
        let condition = format!("__fish_macvlan_shim_using_subcommand {command}");
        format!("complete -c {PROGRAM} -n \"{condition}\" -f -a \"({NAMES})\"\n")
    });
    script + &names.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_asks_for_the_names() {
        for (shell, script) in completions().unwrap() {
            assert_eq!(script.matches(NAMES).count(), WITH_NAMES.len(), "{shell}");
        }
    }
}
