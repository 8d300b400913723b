//! What is known of a flow, table by table and event by event.

use super::{connection, numbers::millis, paragraph};
use crate::runtime::inspect::{Explanation, HistoryReport};
use std::fmt::Write;

pub(super) fn lines(one: &Explanation) -> String {
    let mut text = format!("{} <-> {}\n", one.local, one.remote);
    for finding in &one.findings {
        text += &paragraph(&format!("  {}", finding.table), 14, &finding.text);
    }
    if let Some(it) = &one.connection {
        let _ = write!(text, "\nThe connection\n{}", connection::lines(it));
    }
    section(&mut text, "What is to be said of it", &one.sentences);
    if let Some(history) = one.history.as_ref().filter(|history| !history.events.is_empty()) {
        let _ = write!(text, "\nIts history, of {}\n{}", millis(history.age_ms), ladder(history));
    }
    for end in &one.ends {
        section(&mut text, &format!("A connection between them that ended {} ago", millis(end.ago_ms)), &end.sentences);
        text += &ladder(&end.history);
    }
    for refused in &one.refused {
        let _ = writeln!(
            text,
            "\nA frame of it that was refused ({}), {} ago",
            refused.reason,
            millis(refused.example.ago_ms)
        );
        text += &paragraph("", 2, &refused.meaning);
        text += &paragraph("", 2, &refused.example.text);
    }
    text
}

fn section(text: &mut String, title: &str, sentences: &[String]) {
    if sentences.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}");
    sentences.iter().for_each(|sentence| *text += &paragraph("", 2, sentence));
}

/// One line an event, or more.
fn ladder(history: &HistoryReport) -> String {
    let at = |after: u64| format!("{:>12}", format!("+{}.{:03} s", after / 1_000, after % 1_000));
    let mut text = paragraph(
        &at(0),
        14,
        match &*history.began {
            "opened" => "we begin to open it",
            "woken" => "last heard of the peer, before it slept",
            _ => "accepted",
        },
    );
    if history.missed > 0 {
        let _ = writeln!(text, "{:>12}  ({} earlier events are forgotten)", "...", history.missed);
    }
    for event in &history.events {
        text += &paragraph(&at(event.after_ms), 14, &event.text);
    }
    if let Some(ending) = &history.ending {
        text += &paragraph(&at(ending.after_ms), 14, &ending.reason);
    }
    text
}
