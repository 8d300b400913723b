use super::*;
use std::sync::{Mutex, mpsc};

/// A reader who takes nothing until he is told to go on.
struct Paused {
    go_on: mpsc::Receiver<()>,
    reached: mpsc::Sender<()>,
    page: Arc<Mutex<Vec<u8>>>,
}

impl Write for Paused {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.reached.send(()).ok();
        self.go_on.recv().ok();
        self.page.lock().unwrap().extend(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn whoever_logs_waits_for_no_reader_and_lost_lines_are_counted() {
    let ((start, go_on), (reached, is_reached)) = (mpsc::channel(), mpsc::channel());
    let page = Arc::<Mutex<Vec<u8>>>::default();
    let out = Paused { go_on, reached, page: page.clone() };
    let (sender, lines) = bounded(2);
    let mut way = Way { lines: sender, lost: Arc::default() };
    let lost = Arc::clone(&way.lost);
    let thread = thread::spawn(move || write(&lines, &lost, out));
    way.write_all(b"0\n").unwrap();
    is_reached.recv().unwrap();
    // Two may wait behind the one that is being written.
    for number in 1..10 {
        way.write_all(format!("{number}\n").as_bytes()).unwrap();
    }
    drop((start, way));
    thread.join().unwrap();
    let text = String::from_utf8(page.lock().unwrap().clone()).unwrap();
    assert_eq!(text, "0\nxskip: 7 lines of the log are lost, because it was not read in time\n1\n2\n");
}
