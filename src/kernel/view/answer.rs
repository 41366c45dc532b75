//! The meaning of nft's answers for the snapshot.

use std::time::Duration;

use super::filters::UnderWay;
use super::slice::Slice;
use super::state::State;
use crate::kernel::filter::{FilterListing, NftAnswer, NftError};
use crate::model::snapshot::Filter;

impl State {
    /// Takes in the answers that are there, and has the filters read again if that is wanted. `patience`: how
    /// long to wait for the first answer.
    pub(in crate::kernel) fn take_in_filters(&mut self, patience: Duration) {
        let mut patience = patience;
        while self.filters.is_under_way()
            && let Some((done, answer)) = self.filters.next(std::mem::take(&mut patience))
        {
            self.take_in_answer(done, answer);
        }
        self.filters.read_again();
    }

    fn take_in_answer(&mut self, UnderWay { op, causes }: UnderWay, answer: NftAnswer) {
        let share = answer.spent / u32::try_from(causes.len()).unwrap_or(u32::MAX).max(1);
        causes.into_iter().for_each(|id| self.stale.spent(id, share));
        if self.filters.listed(answer.since) {
            self.stale.take_back(Slice::Filter);
        }
        if let Some(op) = op {
            match &answer.result {
                // Even if the listing is as before, because then somebody has undone our write.
                Ok(()) => self.changes.all = true,
                Err(_) => self.stale.add_host(),
            }
            self.filters.end(op, answer.result);
        }
        self.put_filters(answer.listing);
    }

    /// If nft cannot read a filter, it cannot write it either, so nothing is decided on an unknown filter.
    /// Without nft the filters stay in the kernel, and the last known ones are kept.
    fn put_filters(&mut self, listing: Result<FilterListing, NftError>) {
        let before = &self.snapshot.filter;
        let filter = match listing {
            Ok(FilterListing { filter, dropped }) => {
                self.stale.succeeded(Slice::Filter);
                self.dropped = dropped;
                filter
            }
            Err(NftError::Absent(why)) => {
                self.stale.succeeded(Slice::Filter);
                Filter { usable: false, lacks: Some(why), ..before.clone() }
            }
            Err(NftError::Lacks(why) | NftError::Failed(why)) => {
                let why = format!("{} could not be read: {why}", Slice::Filter);
                if self.stale.failed(Slice::Filter, &why) {
                    tracing::warn!("{why}");
                }
                Filter { usable: false, lacks: None, ..before.clone() }
            }
        };
        self.changes.all |= filter != self.snapshot.filter;
        self.snapshot.filter = filter;
    }
}
