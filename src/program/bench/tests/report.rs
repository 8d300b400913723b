use roxmltree::{Document, ParsingOptions};

use crate::bench::{
    report::{html, table},
    scenario::SYN_FLOOD,
    summary::{Report, Results},
};

use super::{round, sample};

const TABLE: &str = "\
syn-flood: medians of 2 rounds

                               xskip     kernel
SYN-ACKs that came back  3,500,000/s  750,000/s
legitimate attempts              200        200
… of which failed                  0         75

SYN-ACKs that came back, compared round by round: median (range)
  xskip / kernel: 5.50× (3.00× to 8.00×)

nft-synproxy did not run: no <nft> & no \"luck\"
";

/// Parses a page, which is so well-formed that an XML parser takes it.
fn parse(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).expect("well-formed")
}

#[test]
fn the_table() {
    assert_eq!(table(&sample()), TABLE);
}

#[test]
fn the_page_is_well_formed_and_complete() {
    let page = html(&sample());
    let document = parse(&page);
    let count = |name: &str| document.descendants().filter(|node| node.has_tag_name(name)).count();
    assert_eq!(count("svg"), 3);
    assert_eq!(count("polyline"), 4, "a curve before and a curve under the flood, of two that ran");
    for svg in document.descendants().filter(|node| node.has_tag_name("svg")) {
        assert_eq!(svg.attribute("role"), Some("img"));
        for name in ["title", "desc"] {
            let text = svg.children().find(|child| child.has_tag_name(name)).and_then(|child| child.text());
            assert!(text.is_some_and(|text| !text.is_empty()), "{name}");
        }
    }
    let text: String = document.descendants().filter_map(|node| node.text()).collect::<Vec<_>>().join(" ");
    for piece in ["6.18", "A CPU", "core 0: server", "xskip bench syn-flood --rounds 2", "3,500,000/s", "62.5 %"] {
        assert!(text.contains(piece), "{piece}");
    }
    assert!(text.contains("nft-synproxy did not run: no <nft> & no \"luck\""));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = html(&sample());
    for foreign in ["<script", "<link", "<img", "http:", "https:", "@import", "url(", "onload"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn nothing_gets_into_the_page_unescaped() {
    let nasty = "</pre><script>alert('&\"')</script>\u{1}";
    let mut report = sample();
    report.scenario = nasty.to_owned();
    report.machine.cpu = nasty.to_owned();
    report.machine.kernel = nasty.to_owned();
    report.commands = vec![nasty.to_owned()];
    report.placement = vec![nasty.to_owned()];
    report.contenders[0].name = nasty.to_owned();
    report.contenders[2].unavailable = Some(nasty.to_owned());
    let page = html(&report);
    assert!(!page.contains("<script"));
    let document = parse(&page);
    assert!(document.descendants().all(|node| !node.has_tag_name("script")));
}

#[test]
fn little_to_tell_is_told_too() {
    for contenders in
        [vec![], vec![Results::unavailable("xskip", "no rights")], vec![Results::new("xskip", vec![round(0.0, 200.0)])]]
    {
        let report = Report::new(&SYN_FLOOD, contenders);
        parse(&html(&report));
        assert!(table(&report).starts_with("syn-flood"));
    }
}
