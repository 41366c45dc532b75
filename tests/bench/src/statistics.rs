//! Statistics of many measured values.

use std::time::Duration;

/// Measured values, smallest first. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    /// None if there are no values.
    pub(crate) fn new(values: impl IntoIterator<Item = f64>) -> Option<Sample> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Sample(values))
    }

    /// The value in the middle, or halfway between the two that are.
    pub(crate) fn median(&self) -> f64 {
        let Sample(values) = self;
        let middle = values.len() / 2;
        if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
    }

    /// The smallest value that at least 99 of 100 do not exceed. The largest of fewer than 100.
    pub(crate) fn p99(&self) -> f64 {
        let Sample(values) = self;
        values[(values.len() * 99).div_ceil(100) - 1]
    }

    /// The smallest value.
    pub(crate) fn min(&self) -> f64 {
        self.0[0]
    }

    /// The largest value.
    pub(crate) fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Measured in blocks that took turns with others, so that noise hits all alike. The spread of the blocks'
/// medians shows how much noise there was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks(Vec<Vec<f64>>);

impl Blocks {
    /// One more block of values.
    pub(crate) fn push(&mut self, block: Vec<f64>) {
        self.0.push(block);
    }

    /// All values.
    pub(crate) fn all(&self) -> Option<Sample> {
        Sample::new(self.0.iter().flatten().copied())
    }

    /// The medians of the blocks.
    pub(crate) fn medians(&self) -> Option<Sample> {
        Sample::new(
            self.0.iter().filter_map(|block| Sample::new(block.iter().copied())).map(|block| block.median()),
        )
    }
}

/// In microseconds.
pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// In milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: impl IntoIterator<Item = u32>) -> Sample {
        Sample::new(values.into_iter().map(f64::from)).unwrap()
    }

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(sample([9, 1, 5]).median(), 5.0);
        assert_eq!(sample([4, 1, 3, 2]).median(), 2.5);
        assert_eq!(sample([7]).median(), 7.0);
        assert_eq!(Sample::new([]), None);
    }

    #[test]
    fn one_of_a_hundred_may_be_slower_than_the_99th_percentile() {
        assert_eq!(sample(1..=100).p99(), 99.0);
        assert_eq!(sample(1..=1000).p99(), 990.0);
        assert_eq!(sample(1..=101).p99(), 100.0);
        assert_eq!(sample(1..=20).p99(), 20.0);
    }

    #[test]
    fn blocks_show_the_noise() {
        let mut blocks = Blocks::default();
        for block in [[1, 2, 30], [4, 5, 6], [2, 3, 4]] {
            blocks.push(block.map(f64::from).to_vec());
        }
        let medians = blocks.medians().unwrap();
        assert_eq!((medians.min(), medians.max(), medians.count()), (2.0, 5.0, 3));
        assert_eq!(blocks.all().unwrap().median(), 4.0);
    }
}
