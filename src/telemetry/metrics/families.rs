//! Families of metrics, written one after the other.

use super::http::Form;
use crate::stats::Histogram;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
    registry::{Registry, Unit},
};
use std::{fmt, time::Duration};

/// Writes families, each with what it means.
pub struct Families<'a, 'e>(&'a mut DescriptorEncoder<'e>);

/// Whether it was taken.
pub type Written = Result<(), fmt::Error>;

impl<'a, 'e> Families<'a, 'e> {
    /// To be written by this encoder.
    pub fn of(encoder: &'a mut DescriptorEncoder<'e>) -> Self {
        Self(encoder)
    }

    /// One number of each, that only grows.
    pub fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> Written {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, count) in samples {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    /// One number of each.
    pub fn gauges<L: EncodeLabelSet, N: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (L, N)>,
    ) -> Written {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// One number of all of it that only grows, if there is one.
    pub fn counter<N: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: Option<N>,
    ) -> Written {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        value.map_or(Ok(()), |value| family.encode_counter::<NoLabelSet, _, u64>(&value, None))
    }

    /// One number of all of it, as it is now, if there is one.
    pub fn gauge<N: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: Option<N>,
    ) -> Written {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        value.map_or(Ok(()), |value| family.encode_gauge(&value))
    }

    /// What is said of each, beside a 1.
    pub fn infos<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = L>,
    ) -> Written {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Info)?;
        samples.into_iter().try_for_each(|labels| family.encode_info(&labels))
    }

    /// Seconds of each, that only grow.
    pub fn seconds<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, Duration)>,
    ) -> Written {
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Counter)?;
        for (labels, time) in samples {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&time.as_secs_f64(), None)?;
        }
        Ok(())
    }

    /// How often something took how long, of each.
    pub fn histograms<'h, L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, &'h Histogram)>,
    ) -> Written {
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, histogram) in samples {
            let bounds =
                histogram.iter().map(|(bound, count)| (bound.map_or(f64::INFINITY, |it| it.as_secs_f64()), count));
            let buckets: Vec<_> = bounds.collect();
            let (sum, count) = (histogram.sum().as_secs_f64(), histogram.count());
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// A page of what somebody collects.
pub fn encode(page: impl Collector, form: Form) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(page));
    form.encode(&registry)
}
