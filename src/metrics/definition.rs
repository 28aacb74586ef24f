//! What a metric is: the one place where its name, heading, unit and direction are said.
//!
//! A metric is declared beside the function that computes it, by one entry of `declare!`; records,
//! tables, plots and published values all refer to that entry.

use super::benchmark::Benchmark;
use super::{accuracy, detection, latency, mask, segmentation};

/// What the number of a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 0 to 100
    Percent,
    Milliseconds,
    ImagesPerSecond,
    /// A ratio of two times.
    Times,
    /// 10^9 floating-point operations
    Gflop,
    GflopPerSecond,
    Count,
    /// Shown to people in MiB.
    Bytes,
}

impl Unit {
    /// How it is written beside a number; empty where the heading says it.
    pub fn symbol(self) -> &'static str {
        match self {
            Unit::Percent => "%",
            Unit::Milliseconds => "ms",
            Unit::ImagesPerSecond => "images/s",
            Unit::Times | Unit::Count => "",
            Unit::Gflop => "GFLOP",
            Unit::GflopPerSecond => "GFLOP/s",
            Unit::Bytes => "MiB",
        }
    }

    /// The value as people read it, in [`Unit::symbol`]; records and CSV keep the value itself.
    pub fn for_people(self, value: f64) -> f64 {
        match self {
            Unit::Bytes => value / f64::from(1 << 20),
            _ => value,
        }
    }
}

/// Which of two values is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

impl Better {
    pub fn is_better(self, a: f64, b: f64) -> bool {
        match self {
            Better::Higher => a > b,
            Better::Lower => a < b,
        }
    }
}

/// A metric as it is declared.
#[derive(Debug)]
pub struct Definition {
    /// Name in records and CSV headers.
    pub name: &'static str,
    /// Heading in tables for people.
    pub title: &'static str,
    pub unit: Unit,
    /// Digits after the point in tables for people.
    pub digits: usize,
    /// `None` where neither direction is better.
    pub better: Option<Better>,
    /// What published values of this metric are measured on, unless they say another.
    pub benchmark: Option<&'static Benchmark>,
}

impl Definition {
    /// What an entry of [`declare!`] leaves out.
    pub(super) const DEFAULT: Definition = Definition {
        name: "",
        title: "",
        unit: Unit::Count,
        digits: 2,
        better: None,
        benchmark: None,
    };
}

/// Declares metrics: a static [`Definition`] each, and `DECLARED`, the module's list of them in the
/// order of columns.
macro_rules! declare {
    ($($(#[$doc:meta])* $metric:ident { $($field:ident: $value:expr),* $(,)? })*) => {
        $(
            $(#[$doc])*
            pub static $metric: $crate::metrics::Definition = $crate::metrics::Definition {
                $($field: $value,)*
                ..$crate::metrics::Definition::DEFAULT
            };
        )*

        /// Every metric of this module, in the order of columns.
        pub static DECLARED: &[&$crate::metrics::Definition] = &[$(&$metric),*];
    };
}
pub(super) use declare;

/// Percentages that this tool does not measure: published beside those that it does.
pub static PUBLISHED_ONLY: Definition = Definition {
    name: "published_only",
    unit: Unit::Percent,
    better: Some(Better::Higher),
    ..Definition::DEFAULT
};

/// Every metric, in the order of columns.
pub fn declared() -> impl Iterator<Item = &'static Definition> {
    [
        accuracy::DECLARED,
        segmentation::DECLARED,
        mask::DECLARED,
        detection::DECLARED,
        latency::DECLARED,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The metric of this name in records.
pub fn find(name: &str) -> Option<&'static Definition> {
    declared().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_metrics_share_a_name_or_a_heading() {
        let all: Vec<_> = declared().collect();
        for (i, metric) in all.iter().enumerate() {
            assert!(!metric.name.is_empty() && !metric.title.is_empty());
            assert!(std::ptr::eq(find(metric.name).unwrap(), *metric));
            for other in &all[..i] {
                assert_ne!(metric.name, other.name);
                assert_ne!(metric.title, other.title);
            }
        }
    }

    #[test]
    fn bytes_are_read_in_mebibytes() {
        assert_eq!(Unit::Bytes.for_people(3_145_728.0), 3.0);
        assert_eq!(Unit::Percent.for_people(86.06), 86.06);
    }
}
