mod charts;
mod markup;
mod series;

use crate::bench::{
    scenario::{FAILURES, HANDSHAKE_P99, Headline, SYN_FLOOD, Scenario, Unit},
    summary::{Report, Results},
};

use self::{
    charts::{Bar, bars, curves},
    markup::Markup,
    series::series,
};
use super::{percent, range, scenario, show, table::names, times};

const STYLE: &str = include_str!("style.css");

/// One self-contained page: no scripts, nothing from elsewhere.
pub fn html(report: &Report) -> String {
    let mut page = Markup::default();
    page.element("html", &[("lang", "en")], |page| {
        page.element("head", &[], |page| {
            page.empty("meta", &[("charset", "utf-8")]);
            page.empty("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
            page.leaf("title", &[], &title(report));
            page.leaf("style", &[], STYLE);
        });
        page.element("body", &[], |page| page.element("main", &[], |page| body(page, report)));
    });
    page.page()
}

fn title(report: &Report) -> String {
    match scenario(report).title {
        "" => format!("xskip bench {}", report.scenario),
        title => title.to_owned(),
    }
}

fn body(page: &mut Markup, report: &Report) {
    let scenario = scenario(report);
    page.element("header", &[], |page| {
        page.leaf("h1", &[], &title(report));
        for paragraph in scenario.about {
            page.leaf("p", &[], paragraph);
        }
    });
    tiles(page, report);
    let ran: Vec<(usize, &Results)> =
        report.contenders.iter().enumerate().filter(|(_, contender)| contender.unavailable.is_none()).collect();
    for headline in scenario.headlines {
        page.leaf("h2", &[], headline.heading);
        let name = format!("{}, by contender", scenario.describe(headline.metric).label);
        figure(page, headline.caption, |page| bars(page, &name, &compared(scenario, headline, &ran)));
    }
    if let Some(drawn) = scenario.series.as_ref().filter(|_| ran.iter().any(|(_, it)| !it.series.is_empty())) {
        page.leaf("h2", &[], drawn.heading);
        figure(page, drawn.caption, |page| series(page, drawn, &ran));
    }
    if scenario.name == SYN_FLOOD.name {
        clients(page, &ran);
    }
    page.leaf("h2", &[], "All numbers");
    numbers(page, report, &ran);
    comparisons(page, report);
    absent(page, report);
    particulars(page, report);
}

/// What became of the ordinary clients of a server under a flood.
fn clients(page: &mut Markup, ran: &[(usize, &Results)]) {
    page.leaf("h2", &[], "Who got through");
    figure(page, "The share of ordinary attempts that succeeded under the flood, over all rounds.", |page| {
        bars(page, "Share of legitimate attempts that succeeded, by contender", &succeeded(ran));
    });
    page.leaf("h2", &[], "How long a handshake took");
    figure(
        page,
        "Solid: under the flood. Dashed: before it. Read: so many percent of all attempts had their connection within this \
         time. A solid line that ends early ends where attempts failed, or where there were too few of them to tell. \
         Lower is better; each line up is ten times as long.",
        |page| curves(page, ran),
    );
}

fn figure(page: &mut Markup, caption: &str, inside: impl FnOnce(&mut Markup)) {
    page.element("figure", &[], |page| {
        inside(page);
        page.leaf("figcaption", &[], caption);
    });
}

/// The few things to know.
fn tiles(page: &mut Markup, report: &Report) {
    let Some(ours) = report.contender("xskip") else { return };
    let kernel = report.contender("kernel");
    let scenario = scenario(report);
    page.element("div", &[("class", "tiles")], |page| {
        for headline in scenario.headlines {
            if let Some(ratio) = report.ratio("xskip/kernel", headline.metric) {
                let label = scenario.describe(headline.metric).label;
                let spread = format!("from {} to {} over the rounds", times(ratio.min), times(ratio.max));
                tile(page, &times(ratio.median), &format!("the kernel's figure: {label} ({spread})"));
            }
        }
        if let Some(share) = ours.success() {
            let theirs =
                kernel.and_then(Results::success).map(|share| format!("; with the kernel, {}", percent(share)));
            let text = format!("of ordinary attempts got through to xskip{}", theirs.unwrap_or_default());
            tile(page, &percent(share), &text);
        }
        if let Some(time) = ours.median.get(HANDSHAKE_P99) {
            let theirs = kernel.and_then(|kernel| kernel.median.get(HANDSHAKE_P99));
            let theirs = theirs.map(|time| format!("; with the kernel, {}", show(Some(time), Unit::Microseconds)));
            let text =
                format!("within which 99 % of completed handshakes with xskip were done{}", theirs.unwrap_or_default());
            tile(page, &show(Some(time), Unit::Microseconds), &text);
        }
    });
}

fn tile(page: &mut Markup, number: &str, text: &str) {
    page.element("div", &[("class", "tile")], |page| {
        page.leaf("b", &[], number);
        page.leaf("span", &[("class", "soft")], text);
    });
}

/// A metric of all contenders, side by side.
fn compared(scenario: &Scenario, headline: &Headline, ran: &[(usize, &Results)]) -> Vec<Bar> {
    let greatest = (ran.iter().filter_map(|(_, contender)| contender.range(headline.metric)))
        .map(|(_, max)| max)
        .fold(f64::MIN_POSITIVE, f64::max);
    let unit = scenario.describe(headline.metric).unit;
    let bar = |(colour, contender): &(usize, &Results)| {
        let value = contender.median.get(headline.metric);
        Bar {
            colour: *colour,
            name: contender.name.clone(),
            share: value.map(|value| value / greatest),
            span: contender.range(headline.metric).map(|(min, max)| (min / greatest, max / greatest)),
            text: show(value, unit),
        }
    };
    ran.iter().map(bar).collect()
}

fn succeeded(ran: &[(usize, &Results)]) -> Vec<Bar> {
    let bar = |(colour, contender): &(usize, &Results)| {
        let share = contender.success();
        let failures: f64 = contender.rounds.iter().filter_map(|round| round.get(FAILURES)).sum();
        let failed = if failures == 0.0 { "none failed".to_owned() } else { format!("{failures:.0} failed") };
        let text = share.map_or_else(|| "not measured".to_owned(), |share| format!("{} ({failed})", percent(share)));
        Bar { colour: *colour, name: contender.name.clone(), share, span: None, text }
    };
    ran.iter().map(bar).collect()
}

fn numbers(page: &mut Markup, report: &Report, ran: &[(usize, &Results)]) {
    let caption = "The median over the rounds; below it, the rounds in order. Times are of attempts that succeeded.";
    page.element("div", &[("class", "wide")], |page| {
        page.element("table", &[], |page| {
            page.leaf("caption", &[], caption);
            page.element("thead", &[], |page| {
                page.element("tr", &[], |page| {
                    page.leaf("th", &[("scope", "col")], "metric");
                    for (_, contender) in ran {
                        page.leaf("th", &[("scope", "col")], &contender.name);
                    }
                });
            });
            page.element("tbody", &[], |page| {
                for name in names(report) {
                    page.element("tr", &[], |page| row(page, scenario(report), name, ran));
                }
            });
        });
    });
}

fn row(page: &mut Markup, scenario: &Scenario, name: &'static str, ran: &[(usize, &Results)]) {
    let metric = scenario.describe(name);
    page.leaf("th", &[("scope", "row"), ("title", name)], metric.label);
    for (_, contender) in ran {
        page.element("td", &[], |page| {
            page.text(&show(contender.median.get(name), metric.unit));
            let rounds: Vec<_> = contender.rounds.iter().map(|round| show(round.get(name), metric.unit)).collect();
            if rounds.len() > 1 {
                page.element("small", &[], |page| {
                    for (index, round) in rounds.iter().enumerate() {
                        if index > 0 {
                            page.empty("br", &[]);
                        }
                        page.text(round);
                    }
                });
            }
        });
    }
}

fn comparisons(page: &mut Markup, report: &Report) {
    let scenario = scenario(report);
    if scenario
        .headlines
        .iter()
        .all(|headline| report.ratios.values().all(|of_pair| !of_pair.contains_key(headline.metric)))
    {
        return;
    }
    page.leaf("h2", &[], "Compared round by round");
    for headline in scenario.headlines {
        let text = format!("{}: the median of the ratios, and their range.", scenario.describe(headline.metric).label);
        page.leaf("p", &[("class", "soft")], &text);
        page.element("dl", &[], |page| {
            let pairs = report.ratios.iter().filter_map(|(pair, of_pair)| Some((pair, of_pair.get(headline.metric)?)));
            for (pair, ratio) in pairs {
                page.leaf("dt", &[], &pair.replace('/', " / "));
                page.leaf("dd", &[], &range(ratio));
            }
        });
    }
}

fn absent(page: &mut Markup, report: &Report) {
    for contender in &report.contenders {
        if let Some(reason) = &contender.unavailable {
            page.leaf("p", &[], &format!("{} did not run: {reason}", contender.name));
        }
    }
}

fn particulars(page: &mut Markup, report: &Report) {
    page.leaf("h2", &[], "Where it was measured");
    let machine = &report.machine;
    page.element("dl", &[], |page| {
        for (name, value) in [
            ("kernel", machine.kernel.as_str()),
            ("processor", &machine.cpu),
            ("cores", &machine.cores.to_string()),
            ("xskip", &machine.xskip),
            ("rounds", &report.rounds.to_string()),
        ] {
            page.leaf("dt", &[], name);
            page.leaf("dd", &[], value);
        }
    });
    for (heading, lines) in [("What ran where", &report.placement), ("Commands", &report.commands)] {
        if !lines.is_empty() {
            page.leaf("h2", &[], heading);
            page.leaf("pre", &[], &lines.join("\n"));
        }
    }
    if !report.notes.is_empty() {
        page.leaf("h2", &[], "How it was measured");
        for note in &report.notes {
            page.leaf("p", &[], note);
        }
    }
}
