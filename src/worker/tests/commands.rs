//! A worker is spoken to by commands, and woken by whoever wants something of its application.

use super::{Context, Mailbox, WorkerIndex, Workers, mailboxes, stack};
use crate::{
    stack::Stack,
    time::Instant,
    worker::{CommandError, MAX_COMMANDS},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker as TaskWaker},
    thread,
};

/// Carries out what waits, as a worker does between two batches; whether that was anything.
fn obey(mailbox: &Mailbox, stack: &mut Stack) -> bool {
    let mut obeyed = false;
    while let Some(command) = mailbox.next_command() {
        command(&mut Context::new(Instant::ZERO, stack, WorkerIndex { number: 0, workers: 1 }));
        obeyed = true;
    }
    obeyed
}

/// A worker of one mailbox that only carries out commands, until it is closed.
fn spoken_to(boxes: &Arc<[Mailbox]>) -> thread::JoinHandle<()> {
    let boxes = boxes.clone();
    thread::spawn(move || {
        let mut stack = stack();
        while !boxes[0].is_closed() {
            obey(&boxes[0], &mut stack);
            thread::yield_now();
        }
    })
}

#[test]
fn a_command_is_carried_out_on_the_stack_and_answered() {
    let boxes = mailboxes(1);
    let worker = Workers::new(boxes.clone()).get(0).unwrap();
    let thread = spoken_to(&boxes);
    worker.call(|cx| cx.stack().listen(None, 80)).unwrap().unwrap();
    assert_eq!(worker.call(|cx| cx.worker().workers), Ok(1));
    assert_eq!(worker.call(|cx| cx.stack().flow_counts()), Ok((0, 0, 0)));
    boxes[0].close();
    thread.join().unwrap();
}

#[test]
fn a_command_that_panics_is_said_and_the_worker_goes_on() {
    let boxes = mailboxes(1);
    let worker = Workers::new(boxes.clone()).get(0).unwrap();
    let thread = spoken_to(&boxes);
    let refused = worker.call(|_| -> u32 { panic!("on purpose") });
    assert_eq!(refused, Err(CommandError::Panicked { worker: 0 }));
    assert_eq!(worker.call(|_| 7), Ok(7));
    boxes[0].close();
    thread.join().unwrap();
}

#[test]
fn commands_are_carried_out_in_the_order_in_which_they_were_given() {
    let (boxes, order) = (mailboxes(1), Arc::new(AtomicUsize::new(0)));
    let worker = Workers::new(boxes.clone()).get(0).unwrap();
    for number in 0..100 {
        let order = order.clone();
        let expected = move || assert_eq!(order.fetch_add(1, Ordering::Relaxed), number);
        worker.post(move |_| expected()).unwrap();
    }
    assert!(obey(&boxes[0], &mut stack()));
    assert_eq!(order.load(Ordering::Relaxed), 100);
}

#[test]
fn a_queue_that_is_full_refuses_and_takes_again_when_there_is_room() {
    let boxes = mailboxes(1);
    let worker = Workers::new(boxes.clone()).get(0).unwrap();
    (0..MAX_COMMANDS).for_each(|_| worker.post(|_| ()).unwrap());
    assert_eq!(worker.post(|_| ()), Err(CommandError::QueueFull { worker: 0 }));
    assert!(boxes[0].next_command().is_some());
    assert_eq!(worker.post(|_| ()), Ok(()));
}

#[test]
fn whoever_waits_for_a_worker_that_ends_learns_it() {
    let boxes = mailboxes(1);
    let worker = Workers::new(boxes.clone()).get(0).unwrap();
    let waiting = {
        let worker = worker.clone();
        thread::spawn(move || worker.call(|_| ()))
    };
    while boxes[0].may_sleep() {
        thread::yield_now();
    }
    boxes[0].close();
    assert_eq!(waiting.join().unwrap(), Err(CommandError::Gone { worker: 0 }));
    assert_eq!(worker.call(|_| ()), Err(CommandError::Gone { worker: 0 }));
    assert_eq!(worker.post(|_| ()), Err(CommandError::Gone { worker: 0 }));
    worker.tell(|_| panic!("nobody carries it out"));
}

#[test]
fn a_worker_does_not_wait_for_a_worker() {
    let boxes = mailboxes(2);
    let worker = Workers::new(boxes).get(1).unwrap();
    let refused = thread::spawn(move || {
        crate::worker::command::become_worker();
        (worker.call(|_| ()), worker.post(|_| ()))
    });
    assert_eq!(refused.join().unwrap(), (Err(CommandError::OnWorker), Ok(())));
}

#[test]
fn a_worker_with_a_command_or_a_wake_up_has_no_time_to_sleep() {
    let boxes = mailboxes(1);
    let worker = Workers::new(boxes.clone()).get(0).unwrap();
    let mailbox = &boxes[0];
    assert!(mailbox.may_sleep());
    worker.post(|_| ()).unwrap();
    assert!(!mailbox.may_sleep());
    assert!(obey(mailbox, &mut stack()));
    assert!(mailbox.may_sleep());
    worker.waker().wake();
    assert!(!mailbox.may_sleep());
    assert!(mailbox.was_wanted());
    assert!(!mailbox.was_wanted(), "any number of wake-ups are one");
    assert!(mailbox.may_sleep());
}

#[test]
fn a_waker_of_a_task_wakes_the_worker_and_rings_only_where_it_sleeps() {
    let boxes = mailboxes(1);
    let worker = Workers::new(boxes.clone()).get(0).unwrap();
    let waker = TaskWaker::from(Arc::new(worker.waker()));
    waker.wake_by_ref();
    assert!(!boxes[0].is_rung(), "it is awake");
    assert!(boxes[0].was_wanted());
    assert!(boxes[0].may_sleep());
    waker.wake();
    assert!(boxes[0].is_rung(), "it sleeps");
    assert!(boxes[0].was_wanted());
}

/// What is spoken of here must be possible from any thread.
#[test]
fn handles_go_anywhere() {
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    is_shared::<crate::worker::WorkerHandle>();
    is_shared::<crate::worker::Waker>();
    is_shared::<Workers>();
    fn wakes<T: Wake + Send + Sync + 'static>() {}
    wakes::<crate::worker::Waker>();
}
