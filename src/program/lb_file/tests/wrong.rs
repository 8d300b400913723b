//! Wrong files, each with the exact words that are said about it.

use super::{changed, good, read};
use crate::lb_file::File;
use std::path::Path;

/// What is changed of the good file (`-` and `+`), and then what is said.
const CASES: &str = include_str!("wrong.txt");

#[test]
fn each_is_said_with_its_place_and_its_remedy() {
    let (mut count, mut otherwise) = (0, String::new());
    for case in CASES.trim_end().split("\n\n") {
        let lines = |mark: char| case.lines().filter_map(move |line| line.strip_prefix(mark)).collect::<Vec<_>>();
        let (was, is) = (lines('-').join("\n"), lines('+').join("\n"));
        let said: Vec<&str> = case.lines().filter(|line| !line.starts_with(['-', '+'])).collect();
        let text = changed(&was, &is);
        let Err(faults) = read(&text) else { panic!("{is:?} is taken") };
        if faults.to_string() != said.join("\n") {
            otherwise += &format!(
                "{}\n{faults}\n\n",
                case.lines().take_while(|it| it.starts_with(['-', '+'])).collect::<Vec<_>>().join("\n")
            );
        }
        count += 1;
    }
    assert!(otherwise.is_empty(), "said otherwise:\n\n{otherwise}");
    assert!(count > 70, "{count} cases");
}

#[test]
fn all_of_them_at_once_in_the_order_of_the_file() {
    let text = "interface = \"eth0\"\nmetrics = 5\n\n[[service]]\nname = \"web\"\nadress = \"198.18.0.80:443\"\nmode = \"direct\"\n\
        [[service.backend]]\nname = \"a\"\nweight = -1\naddress = \"0.0.0.0\"\n\n\
        [[service]]\nname = \"dns\"\naddress = \"198.18.0.53:53\"\nprotocol = \"udp\"\nrows = 4\n";
    let faults = read(text).unwrap_err();
    let places: Vec<_> = faults.iter().map(|fault| fault.place.unwrap()).collect();
    assert_eq!(places, [(2, 11), (6, 1), (7, 8), (10, 10), (11, 11), (13, 1), (17, 8)], "{faults}");
    assert_eq!(faults.count(), 7);
    assert_eq!(faults.file(), "lb.toml");
}

#[test]
fn an_empty_or_half_written_file_is_refused_in_one_sentence() {
    for text in ["", "\n \n", "\u{feff}"] {
        let said = read(text).unwrap_err().to_string();
        assert_eq!(said, "lb.toml: it is empty, and a balancer without services is none: is it being written?");
    }
    // Wherever writing stopped, at a line's end or in its midst, but where the file could end.
    let may_end = super::GOOD.find("\n[[service.backend]]\nname = \"web-2\"").unwrap();
    for end in 1..super::GOOD.len() - 1 {
        let text = &super::GOOD[..end];
        let is_whole = (may_end - 1..=may_end + 1).contains(&end)
            || text.ends_with("12:443\"")
            || text.ends_with("12:443\"\n")
            || text.ends_with("weight = 5");
        match read(text) {
            Ok(_) => assert!(is_whole, "{text:?} is taken"),
            Err(faults) => {
                assert!(!is_whole, "{text:?}: {faults}");
                assert!((1..=2).contains(&faults.count()), "{text:?}: {faults}");
            }
        }
    }
    good(super::GOOD);
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lb.toml");
    let said = |path: &Path| File::read(path).unwrap_err().to_string();
    assert_eq!(said(&path), format!("{}: it cannot be read: No such file or directory (os error 2)", path.display()));
    assert!(said(folder.path()).contains("it cannot be read: Is a directory"), "{}", said(folder.path()));
    std::fs::write(&path, b"interface = \"eth0\"\n\xff\n").unwrap();
    let expected = format!("{}: line 2 is no text in UTF-8, as TOML is: write the file anew", path.display());
    assert_eq!(said(&path), expected);
}

#[test]
fn what_is_printed_moves_no_cursor_and_is_no_page() {
    let text = changed("mode = \"dsr\"", &format!("mode = \"\\u001b[2J{}\"", "é".repeat(5_000)));
    let said = read(&text).unwrap_err().to_string();
    assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{said:?}");
    assert!(said.lines().all(|line| line.chars().count() < 200), "{said}");
    let text = changed("mode = \"dsr\"", &format!("when_all_down = {}7", " ".repeat(3_000)));
    let said = read(&text).unwrap_err().to_string();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "lb.toml:6:3017: `when_all_down` must be text in quotes, and is a whole number");
    assert_eq!((lines[1].find('7'), lines[2].find('^')), (Some(44), Some(44)));
    let many = (0..250).fold(String::new(), |text, index| format!("{text}key{index} = 1\n"));
    let said = read(&many).unwrap_err().to_string();
    assert!(said.ends_with("lb.toml: 152 more faults are not shown"), "{said}");
}
