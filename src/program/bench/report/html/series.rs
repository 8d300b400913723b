//! What a scenario draws of each contender, from left to right.

use super::{
    super::thousands,
    charts::{class, ends, label, line, svg},
    markup::Markup,
};
use crate::bench::{scenario::Series, summary::Results};

/// Left, right, top, bottom; names stand beyond the right.
pub(super) const FRAME: (f64, f64, f64, f64) = (80.0, 690.0, 16.0, 340.0);
/// Parts of an axis between labels.
const PARTS: u32 = 4;

/// A line of each contender that has one, both axes from nought to the most there is.
pub(super) fn series(page: &mut Markup, series: &Series, ran: &[(usize, &Results)]) {
    let drawn: Vec<_> = ran.iter().filter(|(_, contender)| !contender.series.is_empty()).collect();
    let points = || drawn.iter().flat_map(|(_, contender)| &contender.series);
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(1.0, f64::max);
    let (width, height) = (most(|point| point.0), most(|point| point.1));
    let x = |value: f64| FRAME.0 + value / width * (FRAME.1 - FRAME.0);
    let y = |value: f64| FRAME.3 - value / height * (FRAME.3 - FRAME.2);
    let told = drawn.iter().map(|(_, contender)| {
        let all: f64 = contender.series.iter().map(|point| point.1).fold(0.0, f64::max);
        format!("{}: {} at most", contender.name, thousands(all))
    });
    svg(page, series.name, &told.collect::<Vec<_>>().join("; "), FRAME.3 + 44.0, |page| {
        for part in 0..=PARTS {
            let share = f64::from(part) / f64::from(PARTS);
            let (left, below) = (x(share * width), y(share * height));
            line(page, "grid", (FRAME.0, below), (FRAME.1, below));
            label(page, "soft end", (FRAME.0 - 10.0, below + 4.0), &number(share * height));
            label(page, "soft middle", (left, FRAME.3 + 18.0), &number(share * width));
        }
        label(page, "soft middle", ((FRAME.0 + FRAME.1) / 2.0, FRAME.3 + 36.0), series.x);
        for (colour, contender) in &drawn {
            let places = contender.series.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)));
            let (places, class) = (places.collect::<Vec<_>>().join(" "), format!("line {}", class("s", *colour)));
            page.empty("polyline", &[("class", &class), ("points", &places)]);
        }
        let last = |(colour, contender): &&(usize, &'_ Results)| {
            let end = contender.series.last().copied().unwrap_or_default();
            ((x(end.0), y(end.1)), *colour, contender.name.clone())
        };
        ends(page, drawn.iter().map(last).collect());
    });
}

/// Whole where it is, with a tenth where the axis is short.
fn number(value: f64) -> String {
    if value.fract() == 0.0 || value >= 10.0 { thousands(value) } else { format!("{value:.1}") }
}
