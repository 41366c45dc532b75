//! Cures as commands that can be copied. Names from guests that could mean something to a shell are in none of
//! them.

use super::gathered::Gathered;
use crate::model::inventory::ServerKind;
use crate::model::text::is_plain;
use crate::model::{Code, explanation::Cure};
use crate::reconcile::schedule::Error;
use crate::report::material::Material;

/// The programs that commands in hints begin with.
const PROGRAMS: [&str; 5] = ["ip ", "nft ", "apt ", "sysctl ", "systemctl "];

/// A hint as a cure. Most are a sentence, and some end with a command.
pub(super) fn of_hint(hint: &str) -> Cure {
    let is_command = |text: &str| {
        let is_prose = text.contains([';', '…']) || text.contains(", ");
        !is_prose && PROGRAMS.iter().any(|program| text.starts_with(program))
    };
    match hint.split_once(": ") {
        _ if is_command(hint) => Cure::of("run").by(hint),
        Some((sentence, command)) if is_command(command) => Cure::of(sentence).by(command),
        _ => Cure::of(hint),
    }
}

/// The cure of an operation that failed, in the words of `status`.
pub(super) fn of_failure(error: Option<&Error>) -> Cure {
    let hint = error.and_then(|error| error.hint.as_deref());
    of_hint(hint.unwrap_or("it is retried with increasing pauses; the log has every try"))
}

/// The cure of a code, unless it is to do nothing.
pub(super) fn of_code(code: Code) -> Option<Cure> {
    (!code.cure().starts_with("nothing")).then(|| Cure::of(code.cure()))
}

/// The cure of something that is about to be done.
pub(super) fn of_waiting(material: &Material<'_>) -> Cure {
    match material.applies {
        true => Cure::of("wait: this takes milliseconds"),
        false => Cure::of("start the daemon").by("systemctl start macvlan-shimd"),
    }
}

/// A name that is safe in a command.
pub(super) fn plain(name: &str) -> Option<&str> {
    is_plain(name).then_some(name)
}

/// A command of the server's client about the guest: `lxc start web`.
pub(super) fn by_client(gathered: &Gathered<'_, '_>, verb: &str) -> Option<String> {
    let name = plain(&gathered.key.guest.name)?;
    Some(format!("{} {verb} {name}", client(gathered)?))
}

/// The same with more words behind the guest's name.
pub(super) fn by_client_after(gathered: &Gathered<'_, '_>, verb: &str, words: &str) -> Option<String> {
    by_client(gathered, verb).map(|command| format!("{command} {words}"))
}

/// A command in the guest: `lxc exec web -- ip address`.
pub(super) fn in_guest(gathered: &Gathered<'_, '_>, command: String) -> Option<String> {
    by_client(gathered, "exec").map(|exec| format!("{exec} -- {command}"))
}

/// The server's client, in the guest's project.
fn client(gathered: &Gathered<'_, '_>) -> Option<String> {
    let program = match gathered.kind()? {
        ServerKind::Lxd => "lxc",
        ServerKind::Incus => "incus",
    };
    match gathered.key.guest.project.as_str() {
        "default" => Some(program.to_owned()),
        project => Some(format!("{program} --project {}", plain(project)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_that_is_a_command_can_be_copied() {
        let command = |hint: &str| (of_hint(hint).sentence, of_hint(hint).commands);
        assert_eq!(command("ip link set eth1 up"), ("run".into(), vec!["ip link set eth1 up".into()]));
        assert_eq!(
            command("if nothing needs it: ip route delete 10.0.0.9/32 dev mynet"),
            ("if nothing needs it".into(), vec!["ip route delete 10.0.0.9/32 dev mynet".into()])
        );
        for sentence in [
            "give the guest another address",
            "sysctl -w net.ipv4.conf.all.arp_ignore=0, and likewise for every other link",
            "if nothing needs it: ip link delete mvs-eth0; else rename it: ip link set mvs-eth0 name …",
        ] {
            assert_eq!(of_hint(sentence), Cure::of(sentence));
        }
    }
}
