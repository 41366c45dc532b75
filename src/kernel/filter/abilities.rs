//! The abilities of this kernel and this `nft`.

/// The abilities of this kernel and this `nft` that not all have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Abilities {
    /// The hook egress (Linux 5.16).
    pub(in crate::kernel) egress: bool,
    /// Look-ups in the routing tables at the hook ingress.
    pub(in crate::kernel) fib: bool,
}

impl Default for Abilities {
    fn default() -> Abilities {
        Abilities { egress: true, fib: true }
    }
}

impl Abilities {
    /// In the order in which they are tried.
    pub(in crate::kernel) const ALL: [Abilities; 4] = [
        Abilities { egress: true, fib: true },
        Abilities { egress: true, fib: false },
        Abilities { egress: false, fib: true },
        Abilities { egress: false, fib: false },
    ];

    /// The protection that is lost, in words.
    pub(in crate::kernel) fn lacks(self) -> Option<String> {
        let egress = "nft or the kernel (5.16 is needed) has no egress hook, so the LAN can see frames of the shim itself";
        let fib = "the kernel has no nft_fib_netdev, so a guest can send to its host from foreign addresses";
        let lacks = [(self.egress, egress), (self.fib, fib)].into_iter().filter(|(can, _)| !can);
        let lacks: Vec<&str> = lacks.map(|(_, words)| words).collect();
        (!lacks.is_empty()).then(|| lacks.join("; "))
    }
}
