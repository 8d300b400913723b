use super::*;

fn visit(begun: u64, took: u64, earlier: Option<u8>, outcome: Result<u8, Failure>) -> Visit {
    Visit { begun: Duration::from_millis(begun), took: Duration::from_millis(took), earlier, outcome }
}

#[test]
fn failures_are_told_apart_by_whose_connection_it_was() {
    let visits = [
        visit(0, 2, None, Ok(1)),
        visit(100, 4, Some(1), Err(Failure::Reset)),
        visit(110, 1, None, Err(Failure::Refused)),
        visit(120, 3_000, Some(2), Err(Failure::Silent)),
        visit(130, 1, Some(2), Ok(2)),
    ];
    let metrics = killed(&visits, Duration::from_millis(90));
    for (name, value) in [
        ("requests", 5.0),
        ("failed_requests", 3.0),
        ("failed_on_killed", 1.0),
        ("failed_on_others", 1.0),
        ("failed_on_new", 1.0),
        ("refused", 1.0),
        ("reset", 1.0),
        ("silent", 1.0),
        ("failing_ms", 3_030.0),
        ("request_us_p99", 2_000.0),
    ] {
        assert_eq!(metrics.get(name), Some(value), "{name}");
    }
}

#[test]
fn failures_are_counted_when_they_had_failed() {
    let visits = [
        visit(95, 10, None, Err(Failure::Reset)),
        visit(150, 60, None, Err(Failure::Reset)),
        visit(150, 50, None, Ok(1)),
        visit(200, 3_000, None, Err(Failure::Silent)),
    ];
    let series = failures(&visits, Duration::from_millis(100), Duration::from_millis(250));
    assert_eq!(series, [(0.0, 1.0), (100.0, 1.0), (200.0, 1.0)], "the last step has all that came later");
    assert_eq!(failures(&[], Duration::ZERO, Duration::from_nanos(1)), [(0.0, 0.0)]);
}

#[test]
fn a_connection_on_which_another_answers_has_moved() {
    let visits = [visit(0, 1, Some(1), Ok(1)), visit(0, 1, Some(1), Ok(2)), visit(0, 1, None, Ok(3))];
    let metrics = common(&visits);
    assert_eq!((metrics.get("moved"), metrics.get("failed_requests")), (Some(1.0), Some(0.0)));
}

#[test]
fn reloads_add_a_backend_change_a_weight_and_change_nothing() {
    let lists: Vec<_> = (0..RELOADS).map(members_after).collect();
    assert!(lists.iter().all(|it| it.len() == usize::from(BACKENDS) + 1));
    assert!(lists[0] != lists[1] && lists[1] != lists[2] && lists[2] == lists[3]);
}

#[test]
fn times_are_of_what_was_answered() {
    let visits: Vec<_> = (0..200).map(|took| visit(0, took, None, Ok(1))).collect();
    let mut metrics = Metrics::default();
    set_times(&mut metrics, &visits);
    assert_eq!((metrics.get("request_us_p99"), metrics.get("request_us_max")), (Some(198_000.0), Some(199_000.0)));
    set_times(&mut metrics, &[]);
    assert_eq!(metrics.get("request_us_p99"), None);
}
