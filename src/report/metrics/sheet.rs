//! Families that are being filled.

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::families::{About, Kind, Spec};
use crate::model::Timestamp;
use crate::model::tally::Reactions;

/// The metrics cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the metrics cannot be written: {0}")]
pub struct Unwritable(#[from] prometheus::Error);

/// The families with their values so far.
#[derive(Debug, Default)]
pub(super) struct Sheet(Vec<MetricFamily>);

impl Sheet {
    /// Adds a family with a value for each row of labels. Without rows there is no family.
    pub(super) fn add<'a, const N: usize>(
        &mut self,
        spec: Spec<N>,
        rows: impl IntoIterator<Item = ([&'a str; N], u64)>,
    ) {
        let metric = |(values, value): ([&str; N], u64)| metric(&spec, values, value as f64);
        self.push(spec.about, rows.into_iter().map(metric).collect());
    }

    /// Adds a family of times, in seconds since 1970.
    pub(super) fn add_times<'a, const N: usize>(
        &mut self,
        spec: Spec<N>,
        rows: impl IntoIterator<Item = ([&'a str; N], Option<Timestamp>)>,
    ) {
        let known = |(values, time): ([&'a str; N], Option<Timestamp>)| {
            let since = Timestamp::default().age(time?);
            // No digits beyond milliseconds.
            Some(metric(&spec, values, since.as_millis() as f64 / 1e3))
        };
        self.push(spec.about, rows.into_iter().filter_map(known).collect());
    }

    /// Adds a histogram of times.
    pub(super) fn add_histogram(&mut self, spec: Spec<0>, reactions: &Reactions) {
        let mut histogram = Histogram::default();
        histogram.set_sample_count(reactions.count());
        histogram.set_sample_sum(reactions.sum().as_secs_f64());
        let bucket = |(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        };
        histogram.set_bucket(reactions.cumulative().map(bucket).collect());
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.push(spec.about, vec![metric]);
    }

    /// The text.
    pub(super) fn written(&self) -> Result<String, Unwritable> {
        Ok(TextEncoder::new().encode_to_string(&self.0)?)
    }

    fn push(&mut self, about: &About, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(about.name.to_owned());
        family.set_help(about.help.to_owned());
        family.set_field_type(match about.kind {
            Kind::Gauge => MetricType::GAUGE,
            Kind::Counter => MetricType::COUNTER,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(metrics);
        self.0.push(family);
    }
}

fn metric<const N: usize>(spec: &Spec<N>, values: [&str; N], value: f64) -> Metric {
    let label = |(name, value): (&&str, &str)| {
        let mut label = LabelPair::default();
        label.set_name((*name).to_owned());
        label.set_value(value.to_owned());
        label
    };
    let mut metric = Metric::default();
    metric.set_label(spec.about.labels.iter().zip(values).map(label).collect());
    if spec.about.kind == Kind::Counter {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}
