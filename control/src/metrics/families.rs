//! Metric families of one scrape, put together from numbers that others have counted.

use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// Names and values of labels.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// Families in the order in which they are first written to.
#[derive(Debug, Default)]
pub(super) struct Families(Vec<MetricFamily>);

/// One family, and its kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
}

impl Families {
    fn add(&mut self, family: Family, kind: MetricType, labels: Labels<'_>) -> &mut Metric {
        let at = self.0.iter().position(|known| known.name() == family.name);
        let at = at.unwrap_or_else(|| {
            let mut made = MetricFamily::default();
            made.set_name(family.name.to_owned());
            made.set_help(family.help.to_owned());
            made.set_field_type(kind);
            self.0.push(made);
            self.0.len() - 1
        });
        let labels = labels.iter().map(|&(name, value)| {
            let mut label = LabelPair::default();
            label.set_name(name.to_owned());
            label.set_value(value.to_owned());
            label
        });
        let metrics = self.0[at].mut_metric();
        metrics.push(Metric::from_label(labels.collect()));
        let last = metrics.len() - 1;
        &mut metrics[last]
    }

    /// Counts up while the process lives.
    pub(super) fn counter(&mut self, family: Family, labels: Labels<'_>, value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        let metric = self.add(family, MetricType::COUNTER, labels);
        metric.set_counter(counter);
    }

    /// What is there at the moment.
    pub(super) fn gauge(&mut self, family: Family, labels: Labels<'_>, value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let metric = self.add(family, MetricType::GAUGE, labels);
        metric.set_gauge(gauge);
    }

    /// Counts by class, each with its upper bound (infinity for the last), and the sum of what was
    /// counted.
    pub(super) fn histogram(
        &mut self,
        family: Family,
        labels: Labels<'_>,
        classes: impl Iterator<Item = (f64, u64)>,
        sum: f64,
    ) {
        let mut count = 0;
        let mut buckets = Vec::new();
        for (bound, more) in classes {
            count += more;
            // The encoder adds the one without end by itself.
            if bound.is_infinite() {
                continue;
            }
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            buckets.push(bucket);
        }
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(count);
        histogram.set_sample_sum(sum);
        let metric = self.add(family, MetricType::HISTOGRAM, labels);
        metric.set_histogram(histogram);
    }

    /// Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    /// If a family is empty, which [`Families::add`] does not make.
    pub(super) fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.0)
    }
}
