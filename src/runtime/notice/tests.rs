use super::*;
use crate::{
    worker::Placement,
    xdp::{CopyMode, Require, XdpMode},
};

fn setup(mode: XdpMode, copies: &[CopyMode]) -> Setup {
    let queues = (0..).zip(copies).map(|(queue, &copy)| (queue, Some(1), copy)).collect();
    let (interface, require, placement) = ("xskip0".to_owned(), Require::Nothing, Placement::ByHash);
    Setup { interface, require, mode, queues, placement }
}

#[test]
fn less_than_was_asked_for_is_a_warning_and_everything_is_not() {
    use CopyMode::{Copy, ZeroCopy};
    let is_warning = |mode, copies: &[CopyMode]| Notice::Serving(setup(mode, copies)).is_warning();
    assert!(!is_warning(XdpMode::Native, &[ZeroCopy, ZeroCopy]));
    assert!(is_warning(XdpMode::Native, &[ZeroCopy, Copy]));
    assert!(is_warning(XdpMode::Generic, &[ZeroCopy]));
    assert!(Notice::CookiesKeepKey { reason: "it rains".to_owned() }.is_warning());
    let mtu = |mtu| InterfaceChange::Mtu { mtu, most: 1_770 };
    for (mtu, is_warning) in [(mtu(1_400), false), (mtu(3_000), true)] {
        assert_eq!(Notice::Interface { interface: "xskip0".to_owned(), change: mtu }.is_warning(), is_warning);
    }
}

#[test]
fn a_setup_says_what_was_got_and_where_workers_are() {
    let said = Notice::Serving(setup(XdpMode::Generic, &[CopyMode::Copy])).to_string();
    assert_eq!(
        said,
        "xskip0: asked for native XDP with zero copy (required: nothing), got generic XDP with copy mode; queue 0 on core 1"
    );
    let mut several = setup(XdpMode::Native, &[CopyMode::ZeroCopy, CopyMode::ZeroCopy]);
    several.queues[1].1 = None;
    assert!(
        several.to_string().ends_with("; queue 0 on core 1; queue 1 on no core of its own; flows are placed by a hash"),
        "{several}"
    );
    several.placement = Placement::ByQueue;
    assert!(several.to_string().ends_with("; flows stay on the queue they come to"), "{several}");
}

#[test]
fn a_handler_hears_everything_in_order_and_so_does_who_asks_later() {
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let ear = heard.clone();
    let handler: Handler = Arc::new(move |notice: &Notice| ear.lock().unwrap().push(notice.to_string()));
    let notices = Notices::new(Some(handler), true);
    for mtu in 0..1_000 {
        let change = InterfaceChange::Mtu { mtu, most: 1_770 };
        notices.tell(Notice::Interface { interface: "xskip0".to_owned(), change });
    }
    let heard = heard.lock().unwrap();
    assert_eq!((heard.len(), heard[999].as_str()), (1_000, "xskip0: the MTU is 999 now"));
    let kept: Vec<String> = notices.kept().iter().map(Notice::to_string).collect();
    assert_eq!(kept, heard[..KEPT], "memory has an end");
}
