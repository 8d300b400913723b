//! What may be typed, and what is said about the rest.

use std::time::Duration;

use crate::impair::{Chance, DELAY_MAX, Direction, Impairment, ImpairmentError, QUEUE_DEFAULT};

fn read(text: &str) -> Impairment {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn refused(text: &str, remedy: &str) {
    let said = text.parse::<Impairment>().expect_err(text).to_string();
    assert!(said.contains(remedy), "{text}: {said}");
}

#[test]
fn every_option_has_its_place() {
    let all = "loss=1%,delay=20ms,jitter=5ms,reorder=2%,rate=100mbit,queue=100,duplicate=1.5%,corrupt=0.1%,seed=7";
    let direction = Direction {
        loss: Chance::per_million(10_000),
        duplicate: Chance::per_million(15_000),
        corrupt: Chance::per_million(1_000),
        reorder: Chance::per_million(20_000),
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(5),
        rate: Some(100_000_000),
        queue: 100,
    };
    assert_eq!(read(all), Impairment { up: direction, down: direction, seed: 7 });
}

#[test]
fn nothing_at_all_does_no_harm() {
    assert_eq!(read(""), Impairment::default());
    assert_eq!(read(" "), Impairment::default());
    assert_eq!(read("").up.queue, QUEUE_DEFAULT);
    assert_eq!(Impairment::default().to_string(), "");
}

#[test]
fn an_option_may_be_for_one_way() {
    let impairment = read("up:loss=1%, delay = 500us, down:rate=8kbit");
    assert_eq!((impairment.up.loss, impairment.down.loss), (Chance::per_million(10_000), Chance::NEVER));
    assert_eq!((impairment.up.rate, impairment.down.rate), (None, Some(8_000)));
    assert_eq!([impairment.up.delay, impairment.down.delay], [Duration::from_micros(500); 2]);
}

#[test]
fn units_and_decimals_are_exact() {
    assert_eq!(read("delay=1.5ms").up.delay, Duration::from_micros(1_500));
    assert_eq!(read("delay=10s").up.delay, DELAY_MAX);
    assert_eq!(read("loss=0.0001%").up.loss, Chance::per_million(1));
    assert_eq!(read("loss=100%").up.loss, Chance::per_million(1_000_000));
    assert_eq!(read("rate=2.5gbit").up.rate, Some(2_500_000_000));
    assert_eq!(read("rate=8000bit").up.rate, Some(8_000));
}

#[test]
fn what_is_written_is_read_back() {
    for text in [
        "loss=1%,delay=20ms,jitter=5ms,reorder=2%,rate=100mbit,queue=100,duplicate=1.5%,corrupt=0.1%,seed=7",
        "up:loss=33.3333%,down:loss=0.0001%,up:delay=1500us,down:delay=1s,down:rate=8001bit",
        "rate=12gbit",
    ] {
        assert_eq!(read(text).to_string(), text);
    }
    assert_eq!(read("rate=1000kbit,delay=2000us,queue=1000").to_string(), "delay=2ms,rate=1mbit");
}

#[test]
fn what_is_no_option_is_refused_with_those_there_are() {
    refused("los=1%", "there are loss, delay, jitter");
    refused("sideways:loss=1%", "\"sideways:loss\"");
    refused("loss", "write loss=1%");
    refused("up:rate=", "write up:rate=100mbit");
    refused("seed", "write seed=7");
    refused("loss=1%,,delay=1ms", "without empty places");
    refused("loss=1%,", "without empty places");
    refused("=1%", "no option \"\"");
}

#[test]
fn a_bad_value_is_refused_with_a_good_one() {
    for option in ["loss", "reorder", "duplicate", "corrupt"] {
        for value in ["1", "-1%", "101%", "100.0001%", "0.00001%", "many%", "%", "1e1%", ".5%", "1.%", "1 %"] {
            refused(&format!("{option}={value}"), "a percentage from 0% to 100%");
        }
    }
    for option in ["delay", "jitter"] {
        for value in ["20", "ms", "-5ms", "10.000001s", "11s", "1h", "0.5us", "99999999999999999999s"] {
            refused(&format!("{option}={value}"), "a time in us, ms or s, up to 10 s");
        }
    }
    for value in ["100", "mbit", "7kbit", "101gbit", "1MBit", "-1mbit", "0bit", "99999999999gbit"] {
        refused(&format!("rate={value}"), "from 8kbit to 100gbit");
    }
    for value in ["0", "-1", "32769", "1.5", "all"] {
        refused(&format!("rate=1mbit,queue={value}"), "a number of frames from 1 to 32768");
    }
    for value in ["-1", "x", "18446744073709551616"] {
        refused(&format!("seed={value}"), "a whole number below 2^64");
    }
}

#[test]
fn what_cannot_go_together_is_refused() {
    refused("jitter=1ms", "raise the delay");
    refused("delay=5ms,jitter=6ms", "lower the jitter");
    refused("reorder=1%", "give a delay beside reorder");
    refused("up:delay=1ms,reorder=1%", "give a delay beside reorder");
    refused("queue=5", "give a rate beside queue");
    refused("up:rate=1mbit,queue=5", "give a rate beside queue");
    refused("up:seed=1", "without up: or down:");
    for twice in ["loss=1%,loss=2%", "loss=1%,up:loss=2%", "down:loss=0%,loss=1%", "seed=1,seed=1"] {
        let error = twice.parse::<Impairment>().unwrap_err();
        assert!(matches!(error, ImpairmentError::Twice(_)), "{twice}: {error}");
    }
}
