//! What a query in PromQL asks for, as far as it takes to hold it against a scrape: metrics, labels, and values that are spelt out.

use super::exposition::Exposition;
use std::collections::BTreeSet;

/// Labels that Prometheus gives whatever it scrapes.
const TARGET: [&str; 2] = ["instance", "job"];
/// What is followed by labels in brackets.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

#[derive(Debug, Default)]
pub struct Query {
    pub metrics: BTreeSet<String>,
    /// Of a metric: a label and what it shall be; nothing where that is a variable's.
    matchers: Vec<(String, String, Option<String>)>,
    /// Labels that are named elsewhere.
    labels: BTreeSet<String>,
}

impl Query {
    #[track_caller]
    pub fn read(text: &str) -> Self {
        let (mut query, mut rest) = (Self::default(), text);
        while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '[' || c == '"') {
            rest = &rest[start..];
            if rest.starts_with('[') {
                rest = after(rest, ']').1; // a time
                continue;
            }
            assert!(!rest.starts_with('"'), "text where none is understood: {text}");
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (word, more) = rest.split_at(end);
            rest = more;
            if word.starts_with("xskip_") || word.starts_with("process_") {
                query.metrics.insert(word.to_owned());
                if let Some(matchers) = rest.strip_prefix('{') {
                    let (matchers, more) = after(matchers, '}');
                    query.match_all(word, matchers);
                    rest = more;
                }
            } else if GROUPING.contains(&word) {
                let (labels, more) =
                    after(rest.trim_start().strip_prefix('(').unwrap_or_else(|| panic!("{text}")), ')');
                query.labels.extend(labels.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned));
                rest = more;
            } else {
                let is_function = rest.trim_start().starts_with('(') || rest.trim_start().starts_with("by ");
                assert!(is_function || ["and", "or", "unless"].contains(&word), "{word} is nothing of ours: {text}");
            }
        }
        assert!(!query.metrics.is_empty(), "it asks for nothing: {text}");
        query
    }

    /// `label="value"`, or by another operator, with commas between.
    #[track_caller]
    fn match_all(&mut self, metric: &str, matchers: &str) {
        for matcher in matchers.split(',') {
            let at = matcher.find(['=', '!']).unwrap_or_else(|| panic!("no matcher: {matcher}"));
            let (label, rest) = matcher.split_at(at);
            let quoted = rest.trim_start_matches(['=', '!', '~']).strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            let value = quoted.unwrap_or_else(|| panic!("no value: {matcher}"));
            match value.starts_with('$') {
                true => self.matchers.push((metric.to_owned(), label.to_owned(), None)),
                false => self.matchers.extend(
                    value.split('|').map(|value| (metric.to_owned(), label.to_owned(), Some(value.to_owned()))),
                ),
            }
        }
    }

    /// Adds the labels of a legend, `{{label}}`.
    pub fn and_legend(mut self, legend: &str) -> Self {
        let named = legend.split("{{").skip(1).map(|it| after(it, '}').0.trim().to_owned());
        self.labels.extend(named);
        self
    }

    /// Everything that is asked for is there.
    #[track_caller]
    pub fn is_in(&self, page: &Exposition) {
        for metric in &self.metrics {
            assert!(page.of(metric).next().is_some(), "there is no {metric}: {self:?}");
        }
        for (metric, label, value) in self.matchers.iter().filter(|(_, label, _)| !TARGET.contains(&label.as_str())) {
            let labels = page.labels_of(metric);
            let values = labels.get(label.as_str()).unwrap_or_else(|| panic!("{metric} has no {label}: {self:?}"));
            if let Some(value) = value {
                assert!(values.contains(value.as_str()), "{metric} has no {label}={value:?}, only {values:?}");
            }
        }
        for label in self.labels.iter().filter(|label| !TARGET.contains(&label.as_str())) {
            let is_there = self.metrics.iter().any(|metric| page.labels_of(metric).contains_key(label.as_str()));
            assert!(is_there, "none of these has a label {label}: {self:?}");
        }
    }
}

/// What stands before the next such character, and what behind it.
#[track_caller]
fn after(text: &str, end: char) -> (&str, &str) {
    text.split_once(end).unwrap_or_else(|| panic!("no {end:?} in {text:?}"))
}
