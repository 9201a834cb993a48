//! A training step allocates nothing once its buffers have grown: every allocation of its thread is counted.

#![expect(unsafe_code, reason = "an allocator that counts")]

mod tiny;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use lm::Precision;
use lm::adapter::LoraConfig;
use lm::train::{Trainer, TrainingConfig, TrainingExample};

struct Counting;

thread_local! {
    /// Of this thread: the test harness has one of its own, which allocates when it likes.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is handed to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One thread: which worker grows which of its own buffers when is up to the scheduler.
#[test]
fn a_step_allocates_nothing_once_its_buffers_have_grown() {
    assert_eq!(kernels::threads::set(1), 1);
    let examples: Vec<TrainingExample> = (0..16)
        .map(|index| TrainingExample { tokens: tiny::tokens(12, index), supervised_from: 9 })
        .collect();
    for (name, model) in tiny::variants() {
        let base = tiny::random(model, 1);
        for precision in [Precision::F32, Precision::Bf16] {
            for config in [TrainingConfig::lora(LoraConfig::with_rank(4)), TrainingConfig::full()] {
                for recompute in [false, true] {
                    let config = TrainingConfig {
                        precision,
                        recompute,
                        batch_examples: 2,
                        epochs: 1,
                        ..config.clone()
                    };
                    let method = format!("{name}, {:?}, {precision:?}, recompute {recompute}", config.method);
                    let mut trainer = Trainer::new(&base, config, &examples).expect("sound examples");
                    let counts: Vec<usize> = (0..8)
                        .map(|_| {
                            let before = ALLOCATIONS.get();
                            trainer.step().expect("a step");
                            ALLOCATIONS.get() - before
                        })
                        .collect();
                    assert!(counts[0] > 0, "{method}: the first step grows the buffers");
                    // Scratch memory is handed out in the order in which it came back: it may grow once more.
                    assert_eq!(counts[3..], [0; 5], "{method}: {counts:?}");
                }
            }
        }
    }
}
