//! What a scrape says, read as strictly as OpenMetrics 1.0 has it: whatever is not in its grammar is refused, with the line.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of a series.
pub type Labels = BTreeMap<String, String>;

#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub unit: Option<String>,
}

#[derive(Debug, Default)]
pub struct Exposition {
    pub families: BTreeMap<String, Family>,
    /// By name, suffix and all, and by labels.
    pub series: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Reads OpenMetrics.
    #[track_caller]
    pub fn read(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
        Self::read_families(body, |kind| match kind {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{other} is no type that is used here"),
        })
    }

    /// Reads the older form, which calls families by the names of their samples, and knows no units and no end.
    #[track_caller]
    pub fn read_plain(text: &str) -> Self {
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
        Self::read_families(text, |kind| match kind {
            "counter" | "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{other} is no type that is used here"),
        })
    }

    #[track_caller]
    fn read_families(body: &str, suffixes: fn(&str) -> &'static [&'static str]) -> Self {
        assert!(body.ends_with('\n') && !body.contains('\r'), "lines end with a line feed");
        let (mut all, mut last) = (Self::default(), String::new());
        for line in body.trim_end_matches('\n').split('\n') {
            match line.strip_prefix("# ") {
                Some(said) => all.describe(said, &mut last),
                None => all.sample(line, &last, suffixes),
            }
        }
        for (name, Family { kind, help, unit }) in &all.families {
            assert!(!kind.is_empty(), "{name} has no TYPE");
            assert!(help.ends_with('.') || help.contains(':'), "{name} is not described: {help:?}");
            if let Some(unit) = unit {
                assert!(name.ends_with(&format!("_{unit}")), "{name} does not end with its unit, {unit}");
            }
        }
        all
    }

    /// `HELP`, `TYPE` or `UNIT`. A family's lines stand together.
    #[track_caller]
    fn describe(&mut self, said: &str, last: &mut String) {
        let mut words = said.splitn(3, ' ');
        let (Some(what), Some(name), Some(rest)) = (words.next(), words.next(), words.next()) else {
            panic!("no line of metadata: {said}")
        };
        assert!(is_name(name, true), "{name} is no name");
        if name != last {
            assert!(!self.families.contains_key(name), "{name} stands in two places");
            *last = name.to_owned();
        }
        let is_sampled = self.series.keys().any(|(series, _)| series.strip_suffix("_total").unwrap_or(series) == name);
        assert!(!is_sampled, "metadata behind samples: {said}");
        let family = self.families.entry(name.to_owned()).or_default();
        match what {
            "HELP" if family.help.is_empty() => family.help = unescape(rest, &['\\', 'n', '"']),
            "TYPE" if family.kind.is_empty() => family.kind = rest.to_owned(),
            "UNIT" if family.unit.is_none() => family.unit = Some(rest.to_owned()),
            _ => panic!("said twice, or unknown: {said}"),
        }
    }

    #[track_caller]
    fn sample(&mut self, line: &str, family: &str, suffixes: fn(&str) -> &'static [&'static str]) {
        let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no sample: {line:?}"));
        let (name, rest) = line.split_at(end);
        let kind = &self.families.get(family).unwrap_or_else(|| panic!("of no family: {line}")).kind;
        let is_its = suffixes(kind).iter().any(|suffix| name.strip_suffix(suffix) == Some(family));
        assert!(is_its, "{name} is not of {family}, a {kind}");
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest),
            None => (Labels::new(), rest),
        };
        let value = value.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
        assert!(value.bytes().all(|it| it.is_ascii_digit() || b".e-".contains(&it)), "{value} is no number: {line}");
        let value: f64 = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
        if kind == "counter" {
            assert!(value >= 0.0, "{line}");
        }
        if kind == "info" {
            assert!(value == 1.0, "{line}");
        }
        let before = self.series.insert((name.to_owned(), labels), value);
        assert_eq!(before, None, "the series stands there twice: {line}");
    }

    /// The value of a series.
    #[track_caller]
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.find(name, labels);
        found.unwrap_or_else(|| panic!("there is no {name} {labels:?}, only {:?}", self.of(name).collect::<Vec<_>>()))
    }

    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.series.get(&(name.to_owned(), labels)).copied()
    }

    /// All series of this name.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Labels, f64)> {
        self.series.iter().filter(move |((it, _), _)| it == name).map(|((_, labels), value)| (labels, *value))
    }

    /// The sum of those whose label has this value.
    pub fn sum(&self, name: &str, (label, value): (&str, &str)) -> f64 {
        self.of(name).filter(|(labels, _)| labels.get(label).is_some_and(|it| it == value)).map(|(_, it)| it).sum()
    }

    /// The labels of all series of this name, with the values that each has.
    pub fn labels_of<'a>(&'a self, name: &'a str) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (label, value) in self.of(name).flat_map(|(labels, _)| labels) {
            all.entry(label).or_default().insert(value);
        }
        all
    }
}

fn is_name(name: &str, with_colons: bool) -> bool {
    let is_in = |c: char| c.is_ascii_alphanumeric() || c == '_' || with_colons && c == ':';
    name.chars().all(is_in) && name.chars().next().is_some_and(|first| !first.is_ascii_digit())
}

/// Labels, behind their brace, and what comes after them.
#[track_caller]
fn labels(text: &str) -> (Labels, &str) {
    let (mut labels, mut rest) = (Labels::new(), text);
    loop {
        let (name, more) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {rest}"));
        assert!(is_name(name, false), "{name} is no label");
        let mut is_escaped = false;
        let end = more.find(|c| {
            let ends = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            ends
        });
        let (value, more) = more.split_at(end.unwrap_or_else(|| panic!("a value without an end: {more}")));
        let before = labels.insert(name.to_owned(), unescape(value, &['\\', 'n', '"']));
        assert_eq!(before, None, "the label {name} twice: {text}");
        match more[1..].strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, more[1..].strip_prefix('}').unwrap_or_else(|| panic!("no end: {text}"))),
        }
    }
}

#[track_caller]
fn unescape(text: &str, escapes: &[char]) -> String {
    let (mut plain, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => plain.push('\n'),
                Some(c) if escapes.contains(&c) => plain.push(c),
                other => panic!("no escape: \\{other:?} in {text}"),
            },
            c => plain.push(c),
        }
    }
    plain
}
