//! Yes, no or perhaps.

/// Whether a condition fits a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It does not.
    No,
    /// It is not understood, or depends on something that is not known.
    Perhaps,
    /// It does.
    Yes,
}

impl Fit {
    /// A fact.
    pub fn of(is_so: bool) -> Fit {
        if is_so { Fit::Yes } else { Fit::No }
    }

    /// Both hold.
    pub fn and(self, other: Fit) -> Fit {
        self.min(other)
    }

    /// One of the two holds.
    pub fn or(self, other: Fit) -> Fit {
        self.max(other)
    }

    /// It does not hold, if `inverted`.
    pub fn inverted(self, inverted: bool) -> Fit {
        match (self, inverted) {
            (Fit::Yes, true) => Fit::No,
            (Fit::No, true) => Fit::Yes,
            (fit, _) => fit,
        }
    }

    /// All hold.
    pub fn all(fits: impl IntoIterator<Item = Fit>) -> Fit {
        fits.into_iter().fold(Fit::Yes, Fit::and)
    }

    /// One of them holds.
    pub fn any(fits: impl IntoIterator<Item = Fit>) -> Fit {
        fits.into_iter().fold(Fit::No, Fit::or)
    }
}
