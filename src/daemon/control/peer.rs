//! The asker at the control socket: root, or a user who is admitted as a member of the socket's group. The
//! file's mode makes the kernel check the same, but a mode can be changed, and a connection can be handed on.

use std::ffi::CString;
use std::io;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, chown, getegid, geteuid, getgrouplist};
use tokio::net::UnixStream;

use crate::model::names::PROGRAM;

/// The process at the other end of a connection, according to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Root, or the user who runs the daemon.
    Root,
    /// Somebody else, by user and group.
    User(Uid, Gid),
    /// The kernel does not say.
    Unknown,
}

impl Peer {
    /// The process at the other end.
    pub(super) fn of(stream: &UnixStream) -> Peer {
        let Ok(credentials) = stream.peer_cred() else { return Peer::Unknown };
        let user = Uid::from_raw(credentials.uid());
        if user.is_root() || user == geteuid() {
            return Peer::Root;
        }
        Peer::User(user, Gid::from_raw(credentials.gid()))
    }
}

/// The rights of an asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// It may ask. Others cannot keep it waiting.
    Root,
    /// It may ask.
    Member,
    /// It may do nothing.
    Stranger,
}

impl Asker {
    /// Whether a peer is admitted at the socket of that group. Its members are looked up in another thread,
    /// because the list may come from the network.
    pub(super) async fn of(peer: Peer, group: Gid) -> Asker {
        let member = match peer {
            Peer::Root => return Asker::Root,
            Peer::User(_, its) if its == group => true,
            Peer::User(user, its) => {
                let lookup = tokio::task::spawn_blocking(move || is_member(user, its, group));
                lookup.await.unwrap_or_default()
            }
            Peer::Unknown => false,
        };
        if member { Asker::Member } else { Asker::Stranger }
    }
}

fn is_member(user: Uid, its: Gid, group: Gid) -> bool {
    let name = User::from_uid(user).ok().flatten().and_then(|user| CString::new(user.name).ok());
    let groups = name.and_then(|name| getgrouplist(&name, its).ok());
    groups.is_some_and(|groups| groups.contains(&group))
}

/// The group whose members may ask: the group with our name if there is one, else our own.
pub(super) fn group() -> Gid {
    Group::from_name(PROGRAM).ok().flatten().map_or_else(getegid, |group| group.gid)
}

/// Gives a file to that group.
pub(super) fn give_to_group(file: &Path) -> io::Result<()> {
    let group = group();
    if group == getegid() {
        return Ok(());
    }
    Ok(chown(file, None, Some(group))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn root_and_members_are_admitted_and_nobody_else() {
        let (group, other) = (Gid::from_raw(60_077), Gid::from_raw(60_078));
        // No machine has this user, so only the group of its connection can admit it.
        let stranger = Uid::from_raw(60_077);
        for (peer, asker) in [
            (Peer::Root, Asker::Root),
            (Peer::User(stranger, group), Asker::Member),
            (Peer::User(stranger, other), Asker::Stranger),
            (Peer::Unknown, Asker::Stranger),
        ] {
            assert_eq!(Asker::of(peer, group).await, asker, "{peer:?}");
        }
    }

    #[test]
    fn membership_is_that_of_the_user_database() {
        // `daemon` is in its own group on every Debian, Fedora and Arch, and root in none of its.
        let daemon = User::from_name("daemon").unwrap().unwrap();
        assert!(is_member(daemon.uid, Gid::from_raw(60_077), Gid::from_raw(60_077)));
        assert!(!is_member(daemon.uid, daemon.gid, Gid::from_raw(60_077)));
    }
}
