use crate::bench::{
    scenario::Unit,
    summary::{Curves, Point, Results},
};

use super::{super::show, markup::Markup, series::FRAME};

/// Colours that the style has; further contenders share the last, which their labels make up for.
const COLOURS: usize = 6;
const WIDTH: f64 = 860.0;
/// Where bars begin and end; names stand before, numbers after.
const BARS: (f64, f64) = (150.0, 650.0);
const BAR_STEP: f64 = 40.0;

/// A bar of a chart.
pub(super) struct Bar {
    pub(super) colour: usize,
    pub(super) name: String,
    /// Its length, from 0 to 1, if it was measured.
    pub(super) share: Option<f64>,
    /// From where to where rounds differ.
    pub(super) span: Option<(f64, f64)>,
    /// The number beside it.
    pub(super) text: String,
}

/// A chart of horizontal bars, each with its name and its number.
pub(super) fn bars(page: &mut Markup, title: &str, bars: &[Bar]) {
    let told: Vec<String> = bars.iter().map(|bar| format!("{}: {}", bar.name, bar.text)).collect();
    svg(page, title, &told.join("; "), bars.len() as f64 * BAR_STEP + 8.0, |page| {
        for (index, bar) in bars.iter().enumerate() {
            let top = index as f64 * BAR_STEP + 8.0;
            let x = |share: f64| BARS.0 + share.clamp(0.0, 1.0) * (BARS.1 - BARS.0);
            rectangle(page, "track", top, BARS.1 - BARS.0);
            if let Some(share) = bar.share {
                rectangle(page, &class("f", bar.colour), top, x(share) - BARS.0);
            }
            if let Some((min, max)) = bar.span {
                line(page, "span", (x(min), top + 12.0), (x(max), top + 12.0));
            }
            label(page, "end", (BARS.0 - 12.0, top + 17.0), &bar.name);
            label(page, "", (BARS.1 + 12.0, top + 17.0), &bar.text);
        }
    });
}

/// What the axis of percentiles is labelled with, as far as curves go.
const PERCENTILES: [f64; 6] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99];
/// Labels at the ends of lines are at least so far apart.
const LABEL_STEP: f64 = 17.0;

/// A contender's curves, in its colour.
struct Drawn<'a> {
    colour: usize,
    name: &'a str,
    curves: &'a Curves,
}

/// From data to places.
struct Scale {
    /// Powers of ten of the times at the bottom and at the top.
    decades: (i32, i32),
    /// How many nines the right border has.
    nines: f64,
}

impl Scale {
    fn new(drawn: &[Drawn<'_>]) -> Option<Self> {
        let points = || drawn.iter().flat_map(|drawn| drawn.curves.idle.iter().chain(&drawn.curves.flood));
        let logs = || points().map(|point| point.1.max(0.1).log10());
        let least = logs().min_by(f64::total_cmp)?.floor() as i32;
        let greatest = (logs().max_by(f64::total_cmp)?.ceil() as i32).max(least + 1);
        let nines = points().map(|point| nines(point.0)).fold(1.0, f64::max);
        Some(Self { decades: (least, greatest), nines })
    }

    fn x(&self, percentile: f64) -> f64 {
        FRAME.0 + nines(percentile) / self.nines * (FRAME.1 - FRAME.0)
    }

    fn y(&self, time: f64) -> f64 {
        let (least, greatest) = (f64::from(self.decades.0), f64::from(self.decades.1));
        FRAME.3 - (time.max(0.1).log10() - least) / (greatest - least) * (FRAME.3 - FRAME.2)
    }
}

/// How many nines a percentile has: 1 for 90, 2 for 99.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-9).log10()
}

/// Times by percentile: dashed before the flood, solid under it.
pub(super) fn curves(page: &mut Markup, ran: &[(usize, &Results)]) {
    let drawn: Vec<_> = (ran.iter())
        .filter_map(|&(colour, contender)| {
            Some(Drawn { colour, name: &contender.name, curves: contender.curves.as_ref()? })
        })
        .collect();
    let Some(scale) = Scale::new(&drawn) else {
        page.leaf("p", &[("class", "soft")], "No handshake was completed.");
        return;
    };
    let told: Vec<String> = drawn.iter().map(tell).collect();
    svg(page, "Handshake time by percentile of attempts", &told.join("; "), FRAME.3 + 44.0, |page| {
        grid(page, &scale);
        for Drawn { colour, curves, .. } in &drawn {
            for (kind, points) in [("line idle", &curves.idle), ("line", &curves.flood)] {
                let places = points.iter().map(|point| format!("{:.1},{:.1}", scale.x(point.0), scale.y(point.1)));
                let places = places.collect::<Vec<_>>().join(" ");
                if !places.is_empty() {
                    let class = format!("{kind} {}", class("s", *colour));
                    page.empty("polyline", &[("class", &class), ("points", &places)]);
                }
            }
        }
        let last = |drawn: &Drawn<'_>| {
            let end = drawn.curves.flood.last()?;
            Some(((scale.x(end.0), scale.y(end.1)), drawn.colour, drawn.name.to_owned()))
        };
        ends(page, drawn.iter().filter_map(last).collect());
    });
}

/// A curve in words: its last point.
fn tell(drawn: &Drawn<'_>) -> String {
    let end = |points: &[Point]| match points.last() {
        Some(Point(percentile, time)) => format!("{percentile} % within {}", show(Some(*time), Unit::Microseconds)),
        None => "no handshake".to_owned(),
    };
    let Drawn { name, curves, .. } = drawn;
    format!("{name}: before the flood {}, under it {}", end(&curves.idle), end(&curves.flood))
}

fn grid(page: &mut Markup, scale: &Scale) {
    for decade in scale.decades.0..=scale.decades.1 {
        let time = 10_f64.powi(decade);
        let y = scale.y(time);
        line(page, "grid", (FRAME.0, y), (FRAME.1, y));
        let text = match time {
            time if time < 1e3 => format!("{time} µs"),
            time if time < 1e6 => format!("{} ms", time / 1e3),
            time => format!("{} s", time / 1e6),
        };
        label(page, "soft end", (FRAME.0 - 10.0, y + 4.0), &text);
    }
    for percentile in PERCENTILES.into_iter().filter(|percentile| nines(*percentile) <= scale.nines + 0.01) {
        let x = scale.x(percentile);
        line(page, "grid", (x, FRAME.2), (x, FRAME.3));
        label(page, "soft middle", (x, FRAME.3 + 18.0), &format!("{percentile} %"));
    }
    label(page, "soft middle", ((FRAME.0 + FRAME.1) / 2.0, FRAME.3 + 36.0), "of all attempts were connected within");
}

/// Names at the right, as near to the ends of lines as they can be without touching each other. Each line has its end, its colour
/// and its name.
pub(super) fn ends(page: &mut Markup, lines: Vec<((f64, f64), usize, String)>) {
    let mut labels: Vec<_> = lines.into_iter().map(|(end, colour, name)| (end, end.1, colour, name)).collect();
    labels.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut lowest = f64::NEG_INFINITY;
    for label in &mut labels {
        label.1 = label.1.max(lowest + LABEL_STEP);
        lowest = label.1;
    }
    // What was pushed out of the frame pushes back.
    let mut highest = FRAME.3 + LABEL_STEP;
    for label in labels.iter_mut().rev() {
        label.1 = label.1.min(highest - LABEL_STEP);
        highest = label.1;
    }
    for (end, y, colour, name) in labels {
        line(page, "grid", end, (FRAME.1 + 12.0, y));
        label(page, &class("f", colour), (FRAME.1 + 16.0, y + 5.0), &name);
    }
}

pub(super) fn svg(page: &mut Markup, title: &str, told: &str, height: f64, inside: impl FnOnce(&mut Markup)) {
    let view = format!("0 0 {WIDTH} {height}");
    page.element("svg", &[("viewBox", &view), ("role", "img"), ("aria-label", title)], |page| {
        page.leaf("title", &[], title);
        page.leaf("desc", &[], told);
        inside(page);
    });
}

pub(super) fn class(kind: &str, colour: usize) -> String {
    format!("{kind}{}", colour.min(COLOURS - 1))
}

fn rectangle(page: &mut Markup, class: &str, top: f64, width: f64) {
    let (x, y, width) = (format!("{:.1}", BARS.0), format!("{top:.1}"), format!("{width:.1}"));
    page.empty("rect", &[("class", class), ("x", &x), ("y", &y), ("width", &width), ("height", "24"), ("rx", "3")]);
}

pub(super) fn line(page: &mut Markup, class: &str, from: (f64, f64), to: (f64, f64)) {
    let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(|place| format!("{place:.1}"));
    page.empty("line", &[("class", class), ("x1", &x1), ("y1", &y1), ("x2", &x2), ("y2", &y2)]);
}

pub(super) fn label(page: &mut Markup, class: &str, at: (f64, f64), text: &str) {
    let [x, y] = [at.0, at.1].map(|place| format!("{place:.1}"));
    page.leaf("text", &[("class", class), ("x", &x), ("y", &y)], text);
}
