use crate::bench::summary::Report;

use super::{range, scenario, show};

/// The medians of all contenders side by side, for a terminal.
pub fn table(report: &Report) -> String {
    let scenario = scenario(report);
    let ran: Vec<_> = report.contenders.iter().filter(|contender| contender.unavailable.is_none()).collect();
    let mut header = vec![String::new()];
    header.extend(ran.iter().map(|contender| contender.name.clone()));
    let mut rows = vec![header];
    for name in names(report) {
        let metric = scenario.describe(name);
        let mut row = vec![metric.label.to_owned()];
        row.extend(ran.iter().map(|contender| show(contender.median.get(name), metric.unit)));
        rows.push(row);
    }
    let mut text = format!("{}: medians of {} rounds\n\n", report.scenario, report.rounds);
    text.push_str(&align(&rows));
    for headline in scenario.headlines {
        let ratios: Vec<String> = (report.ratios.iter())
            .filter_map(|(pair, of_pair)| Some((pair.replace('/', " / "), range(of_pair.get(headline.metric)?))))
            .map(|(pair, range)| format!("  {pair}: {range}\n"))
            .collect();
        if !ratios.is_empty() {
            let label = scenario.describe(headline.metric).label;
            text.push_str(&format!("\n{label}, compared round by round: median (range)\n"));
            text.extend(ratios);
        }
    }
    for contender in &report.contenders {
        if let Some(reason) = &contender.unavailable {
            text.push_str(&format!("\n{} did not run: {reason}\n", contender.name));
        }
    }
    text
}

/// The names of all metrics that any contender has, in order.
pub(super) fn names(report: &Report) -> Vec<&'static str> {
    let mut names = Vec::new();
    for (name, _) in report.contenders.iter().flat_map(|contender| contender.median.iter()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The first column to the left, the others to the right, two spaces between.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let line: Vec<String> = cells
            .map(
                |(column, (cell, &width))| {
                    if column == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}
