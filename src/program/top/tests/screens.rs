//! Every screen in every size, as it is kept in the repository.

use super::{busy, idle};
use crate::top::{
    history::History,
    once::text_of,
    picture::Picture,
    view::{Order, Screen, View},
};
use std::{env, fs, path::Path, time::Duration};

/// Set to anything, it lets the screens be written anew.
const REWRITE: &str = "XSKIP_TOP_REWRITE";
const SIZES: [(u16, u16); 4] = [(80, 24), (120, 40), (40, 12), (20, 10)];

fn history(of: fn(u32) -> Picture) -> History {
    let mut history = History::of(of(0));
    (1..=40).for_each(|second| {
        let mut picture = of(second);
        // So that lines have a shape.
        let wave = u64::from(second % 8);
        picture.workers[0].octets.as_mut().unwrap().sent +=
            wave * 20_000_000 * u64::from(picture.connections.len() > 1);
        history.push(picture);
    });
    history
}

fn screen(view: View, history: &History, size: (u16, u16)) -> String {
    text_of(&view, history, Duration::from_secs(1), size)
}

#[test]
fn screens_are_what_they_were() {
    let (busy, idle, first) = (history(busy), history(idle), History::of(busy(7)));
    let mut views = Screen::ALL.map(|screen| (screen.name(), View { screen, ..View::default() }, &busy)).to_vec();
    let view = View::default();
    views.extend([
        ("help", View { has_help: true, ..view }, &busy),
        ("connections by trouble", View { screen: Screen::Connections, order: Order::Unhappiest, ..view }, &busy),
        ("overview, paused", View { is_paused: true, ..view }, &busy),
        ("overview of an idle server", view, &idle),
        ("drops of an idle server", View { screen: Screen::Drops, ..view }, &idle),
        ("overview, without rates", view, &first),
    ]);
    let mut offences = Vec::new();
    for (columns, rows) in SIZES {
        let ruler = "-".repeat(columns.into());
        let parts = views.iter().map(|(name, view, history)| {
            format!("{name}\n{ruler}\n{}\n{ruler}\n", screen(*view, history, (columns, rows)))
        });
        let now = parts.collect::<Vec<_>>().join("\n");
        let name = format!("top/tests/golden/{columns}x{rows}.txt");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
        if env::var_os(REWRITE).is_some() {
            fs::write(&path, &now).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != now {
            offences
                .push(format!("{name} says otherwise. If that is meant: {REWRITE}=1 cargo test --lib screens\n{now}"));
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn any_size_has_a_screen_that_fits_it() {
    let (busy, idle) = (history(busy), history(idle));
    for columns in (0..130).step_by(3).chain([500]) {
        for rows in (0..45).chain([200]) {
            for screen_of in Screen::ALL {
                let view = View { screen: screen_of, has_help: rows % 7 == 0, ..View::default() };
                for history in [&busy, &idle] {
                    let text = screen(view, history, (columns, rows));
                    assert!(text.lines().count() <= rows.into());
                    assert!(text.lines().all(|line| line.chars().count() <= columns.into()));
                }
            }
        }
    }
    let small = screen(View::default(), &busy, (19, 10)).replace('\n', " ");
    assert!(small.contains("too small") && small.contains("xskip show"), "{small}");
}

#[test]
fn what_is_in_trouble_is_marked_by_a_sign_as_well() {
    let view = View { screen: Screen::Connections, order: Order::Unhappiest, ..View::default() };
    let text = screen(view, &history(busy), (80, 24));
    let marked: Vec<&str> = text.lines().filter(|line| line.starts_with('!')).collect();
    assert_eq!(marked.len(), 2, "{text}");
    assert!(marked[0].contains("recovery") && marked[1].contains("window"), "{text}");
}
