mod charts;
mod markup;

use crate::bench::summary::{FAILURES, HANDSHAKE_P99, Report, Results, SYN_ACKS, Unit};

use self::{
    charts::{Bar, bars, curves},
    markup::Markup,
};
use super::{describe, percent, range, show, table::names, times};

const STYLE: &str = include_str!("style.css");

/// What the page says of a scenario, for somebody who was not there.
const SYN_FLOOD: &[&str] = &[
    "A server listens on one end of a virtual Ethernet cable. From the other end, a flood of connection requests (TCP SYNs) \
     with made-up senders pours in, as in a denial-of-service attack. Meanwhile, ordinary clients keep coming: at a steady \
     rate they connect, fetch a page and leave.",
    "What counts is what becomes of the ordinary clients: do they still get through, and how long do they wait? The second \
     question is how much of the flood a server can answer at all, since a server that falls behind drops requests without \
     knowing whose they are.",
    "The same flood and the same clients drove each contender in turn, round by round. Clients came at planned times, whether \
     or not earlier ones had been served, and their waiting counts from the planned time.",
];

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
    match report.scenario.as_str() {
        "syn-flood" => "Getting through a SYN flood".to_owned(),
        other => format!("xskip bench {other}"),
    }
}

fn body(page: &mut Markup, report: &Report) {
    page.element("header", &[], |page| {
        page.leaf("h1", &[], &title(report));
        if report.scenario == "syn-flood" {
            for paragraph in SYN_FLOOD {
                page.leaf("p", &[], paragraph);
            }
        }
    });
    tiles(page, report);
    page.leaf("h2", &[], "How much of the flood was answered");
    let ran: Vec<(usize, &Results)> =
        report.contenders.iter().enumerate().filter(|(_, contender)| contender.unavailable.is_none()).collect();
    figure(
        page,
        "SYN-ACKs per second: the median over the rounds; the thin line spans the least to the greatest. More is better.",
        |page| bars(page, "SYN-ACKs per second by contender", &answered(&ran)),
    );
    page.leaf("h2", &[], "Who got through");
    figure(page, "The share of ordinary attempts that succeeded under the flood, over all rounds.", |page| {
        bars(page, "Share of legitimate attempts that succeeded, by contender", &succeeded(&ran));
    });
    page.leaf("h2", &[], "How long a handshake took");
    figure(
        page,
        "Solid: under the flood. Dashed: before it. Read: so many percent of all attempts had their connection within this \
         time. A solid line that ends early ends where attempts failed, or where there were too few of them to tell. \
         Lower is better; each line up is ten times as long.",
        |page| curves(page, &ran),
    );
    page.leaf("h2", &[], "All numbers");
    numbers(page, report, &ran);
    comparisons(page, report);
    absent(page, report);
    particulars(page, report);
}

fn figure(page: &mut Markup, caption: &str, inside: impl FnOnce(&mut Markup)) {
    page.element("figure", &[], |page| {
        inside(page);
        page.leaf("figcaption", &[], caption);
    });
}

/// The three things to know.
fn tiles(page: &mut Markup, report: &Report) {
    let Some(ours) = report.contender("xskip") else { return };
    let kernel = report.contender("kernel");
    page.element("div", &[("class", "tiles")], |page| {
        if let Some(ratio) = report.ratio("xskip/kernel", SYN_ACKS) {
            let spread = format!("from {} to {} over the rounds", times(ratio.min), times(ratio.max));
            tile(page, &times(ratio.median), &format!("the SYN-ACKs per second of the kernel ({spread})"));
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

fn answered(ran: &[(usize, &Results)]) -> Vec<Bar> {
    let greatest =
        ran.iter().filter_map(|(_, contender)| contender.range(SYN_ACKS)).map(|(_, max)| max).fold(1.0, f64::max);
    let bar = |(colour, contender): &(usize, &Results)| {
        let value = contender.median.get(SYN_ACKS);
        Bar {
            colour: *colour,
            name: contender.name.clone(),
            share: value.map(|value| value / greatest),
            span: contender.range(SYN_ACKS).map(|(min, max)| (min / greatest, max / greatest)),
            text: show(value, Unit::PerSecond),
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
                    page.element("tr", &[], |page| row(page, name, ran));
                }
            });
        });
    });
}

fn row(page: &mut Markup, name: &'static str, ran: &[(usize, &Results)]) {
    let metric = describe(name);
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
    let pairs = || report.ratios.iter().filter_map(|(pair, of_pair)| Some((pair, of_pair.get(SYN_ACKS)?)));
    if pairs().next().is_none() {
        return;
    }
    page.leaf("h2", &[], "Compared round by round");
    page.leaf("p", &[("class", "soft")], "SYN-ACKs per second: the median of the ratios, and their range.");
    page.element("dl", &[], |page| {
        for (pair, ratio) in pairs() {
            page.leaf("dt", &[], &pair.replace('/', " / "));
            page.leaf("dd", &[], &range(ratio));
        }
    });
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
}
