//! The kinds of operations, as they are counted: an object, and what is done to it.

use super::Op;
use super::named::named;

/// A kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpKind {
    /// What it changes.
    pub object: OpObject,
    /// What it does.
    pub action: OpAction,
}

named! {
    /// An object of ours in the kernel.
    OpObject {
        /// The link itself: its existence, name, mark, MAC, MTU, flags.
        Shim = "shim",
        /// A sysctl of a shim.
        Sysctl = "sysctl",
        /// An address of a shim.
        Address = "address",
        /// An entry by which a shim answers for an address of the host.
        Proxy = "proxy",
        /// A neighbour entry on a shim, or one that a question to the LAN has left.
        Neighbour = "neighbour",
        /// The filter of a shim.
        Filter = "filter",
        /// A route through a shim.
        Route = "route",
        /// The policy rule.
        Rule = "rule",
    }
}

named! {
    /// What is done to an object.
    OpAction {
        /// It is made. A neighbour entry may have been there with another MAC.
        Add = "add",
        /// It is there, and gets another value.
        Change = "change",
        /// It is taken away, or left to the kernel.
        Delete = "delete",
    }
}

impl OpKind {
    /// Every kind that there is.
    pub const ALL: &[OpKind] = &[
        OpKind::of(OpObject::Shim, OpAction::Add),
        OpKind::of(OpObject::Shim, OpAction::Change),
        OpKind::of(OpObject::Shim, OpAction::Delete),
        OpKind::of(OpObject::Sysctl, OpAction::Change),
        OpKind::of(OpObject::Address, OpAction::Add),
        OpKind::of(OpObject::Address, OpAction::Delete),
        OpKind::of(OpObject::Proxy, OpAction::Add),
        OpKind::of(OpObject::Proxy, OpAction::Delete),
        OpKind::of(OpObject::Neighbour, OpAction::Add),
        OpKind::of(OpObject::Neighbour, OpAction::Delete),
        OpKind::of(OpObject::Filter, OpAction::Change),
        OpKind::of(OpObject::Filter, OpAction::Delete),
        OpKind::of(OpObject::Route, OpAction::Add),
        OpKind::of(OpObject::Route, OpAction::Change),
        OpKind::of(OpObject::Route, OpAction::Delete),
        OpKind::of(OpObject::Rule, OpAction::Add),
        OpKind::of(OpObject::Rule, OpAction::Delete),
    ];

    const fn of(object: OpObject, action: OpAction) -> OpKind {
        OpKind { object, action }
    }
}

impl Op {
    /// Its kind; `None` for a question, which changes nothing of ours.
    pub fn kind(&self) -> Option<OpKind> {
        use {OpAction as A, OpObject as O};
        let (object, action) = match self {
            Op::CreateShim { .. } => (O::Shim, A::Add),
            Op::Rename { .. }
            | Op::Mark { .. }
            | Op::SetMac { .. }
            | Op::SetMtu { .. }
            | Op::SetFlags { .. }
            | Op::SetUp { .. } => (O::Shim, A::Change),
            Op::DeleteShim { .. } => (O::Shim, A::Delete),
            Op::Set { .. } => (O::Sysctl, A::Change),
            Op::AddAddress { .. } => (O::Address, A::Add),
            Op::DeleteAddress { .. } => (O::Address, A::Delete),
            Op::AddProxy { .. } => (O::Proxy, A::Add),
            Op::DeleteProxy { .. } => (O::Proxy, A::Delete),
            Op::SetNeighbour { .. } => (O::Neighbour, A::Add),
            Op::DeleteNeighbour { .. } | Op::ReleaseNeighbour { .. } => (O::Neighbour, A::Delete),
            Op::SetFilter { .. } => (O::Filter, A::Change),
            Op::DeleteFilter { .. } => (O::Filter, A::Delete),
            Op::SetRoute { replace: false, .. } => (O::Route, A::Add),
            Op::SetRoute { replace: true, .. } => (O::Route, A::Change),
            Op::DeleteRoute { .. } => (O::Route, A::Delete),
            Op::AddRule { .. } => (O::Rule, A::Add),
            Op::DeleteRule { .. } => (O::Rule, A::Delete),
            Op::Ask { .. } => return None,
        };
        Some(OpKind::of(object, action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of `Op::kind` are those of the list, because every series of the list exists from the start.
    #[test]
    fn every_kind_of_an_op_is_on_the_list() {
        let source = include_str!("op_kind.rs").split_once("pub fn kind").unwrap().1;
        let source = source.split_once("#[cfg(test)]").unwrap().0;
        let mut kinds = Vec::new();
        for (object, action) in source.split("(O::").skip(1).map(|part| part.split_once(", A::").unwrap()) {
            let action = action.split_once(')').unwrap().0;
            let object = OpObject::ALL.iter().find(|one| format!("{one:?}") == object).unwrap();
            let action = OpAction::ALL.iter().find(|one| format!("{one:?}") == action).unwrap();
            kinds.push(OpKind::of(*object, *action));
        }
        kinds.sort();
        assert!(kinds.windows(2).all(|pair| pair[0] != pair[1]), "a kind has one arm: {kinds:?}");
        let mut all = OpKind::ALL.to_vec();
        all.sort();
        assert_eq!(kinds, all);
    }
}
