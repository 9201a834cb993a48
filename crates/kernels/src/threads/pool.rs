//! Threads that stay awake for a moment after each job, because the next operation of a forward pass follows within
//! microseconds: being woken by the operating system takes longer than a small operation.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a thread without work spins.
const SPIN: Duration = Duration::from_micros(20);
/// How long it then offers its core to others before it sleeps.
const OFFER: Duration = Duration::from_micros(200);
/// Checks between two looks at the clock.
const CHECKS: usize = 32;

/// Most tasks of a job: what 16 bits of a ticket hold.
const MOST_TASKS: usize = u16::MAX as usize;

/// Workers, and the thread that calls.
pub(crate) struct Pool {
    job: Arc<Job>,
    workers: Vec<JoinHandle<()>>,
}

/// The job that the workers see.
///
/// A ticket holds the job's number (32 bits), its number of tasks and the next task (16 each). Whoever takes a task
/// advances the ticket by compare-and-exchange. Where that succeeds with a task left, the job was not over when it
/// did, since this task was not done; and only when all are done, `data` and `call` are written for another job. So
/// what was read of them before is of this job. (A thread would have to sleep through 2^32 jobs, and wake at the same
/// number, for a ticket to be mistaken.)
struct Job {
    ticket: AtomicU64,
    data: AtomicPtr<()>,
    call: AtomicPtr<()>,
    done: AtomicUsize,
    /// Whether a thread has a job running.
    busy: AtomicBool,
    /// Workers that sleep, or are about to.
    sleeping: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    closed: AtomicBool,
}

/// Calls a task through a pointer to it.
///
/// # Safety
/// `task` points to a live `F`.
unsafe fn call<F: Fn(usize) + Sync>(task: *const (), index: usize) {
    // SAFETY: the contract above.
    unsafe { (*task.cast::<F>())(index) }
}

fn parts(ticket: u64) -> (u64, usize, usize) {
    (ticket >> 32, (ticket >> 16 & 0xffff) as usize, (ticket & 0xffff) as usize)
}

impl Pool {
    /// A pool of `threads` threads, the calling one among them.
    pub(crate) fn new(threads: usize) -> Self {
        let job = Arc::new(Job {
            ticket: AtomicU64::new(0),
            data: AtomicPtr::default(),
            call: AtomicPtr::default(),
            done: AtomicUsize::new(0),
            busy: AtomicBool::new(false),
            sleeping: AtomicUsize::new(0),
            lock: Mutex::new(()),
            wake: Condvar::new(),
            panic: Mutex::new(None),
            closed: AtomicBool::new(false),
        });
        let start = |index: usize| {
            let job = Arc::clone(&job);
            // Without this thread the others do its work.
            thread::Builder::new().name(format!("kernels-{index}")).spawn(move || job.work()).ok()
        };
        let workers = (1..threads).filter_map(start).collect();
        Self { job, workers }
    }

    /// Threads, the calling one among them.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `task(0) .. task(count)` on all threads; on the calling one alone where the pool is busy with the job of
    /// another thread, or with the one that this is a task of. A panic of a task is passed on when all are done.
    pub(crate) fn run<F: Fn(usize) + Sync>(&self, count: usize, task: F) {
        let group = count.div_ceil(MOST_TASKS).max(1);
        self.run_few(count.div_ceil(group), |index| {
            (index * group..count.min((index + 1) * group)).for_each(&task);
        });
    }

    /// [`Pool::run`] for at most [`MOST_TASKS`] tasks.
    fn run_few<F: Fn(usize) + Sync>(&self, count: usize, task: F) {
        let job = &*self.job;
        if count < 2 || self.workers.is_empty() || job.busy.swap(true, Ordering::Acquire) {
            return (0..count).for_each(task);
        }
        job.data.store((&raw const task).cast_mut().cast(), Ordering::Relaxed);
        job.call.store(call::<F> as *mut (), Ordering::Relaxed);
        job.done.store(0, Ordering::Relaxed);
        let number = (job.ticket.load(Ordering::Relaxed) >> 32) + 1;
        job.ticket.store(number << 32 | (count as u64) << 16, Ordering::SeqCst);
        if job.sleeping.load(Ordering::SeqCst) > 0 {
            drop(job.locked());
            job.wake.notify_all();
        }
        while job.take_one() {}
        let mut pause = Pause::new();
        while job.done.load(Ordering::Acquire) < count {
            pause.wait();
        }
        let panic = job.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        job.busy.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.job.closed.store(true, Ordering::SeqCst);
        drop(self.job.locked());
        self.job.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker does not panic: tasks that do are caught.
            let _ = worker.join();
        }
    }
}

impl Job {
    fn locked(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the next task of the job, if there is one.
    fn take_one(&self) -> bool {
        let mut ticket = self.ticket.load(Ordering::Acquire);
        loop {
            let (_, count, next) = parts(ticket);
            if next >= count {
                return false;
            }
            let (data, call) = (self.data.load(Ordering::Relaxed), self.call.load(Ordering::Relaxed));
            // `next` is below `count`, so the addition stays within its 16 bits.
            match self.ticket.compare_exchange_weak(ticket, ticket + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    // SAFETY: by the exchange (see `Job`) this is the `call::<F>` that belongs to `data`, a task that the
                    // thread in `run` keeps alive until this one is done.
                    let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
                        let call = std::mem::transmute::<*mut (), unsafe fn(*const (), usize)>(call);
                        call(data, next);
                    }));
                    if let Err(panic) = outcome {
                        *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
                    }
                    self.done.fetch_add(1, Ordering::Release);
                    return true;
                }
                Err(changed) => ticket = changed,
            }
        }
    }

    fn has_task(&self) -> bool {
        let (_, count, next) = parts(self.ticket.load(Ordering::SeqCst));
        next < count
    }

    /// What a worker does.
    fn work(&self) {
        let mut pause = Pause::new();
        while !self.closed.load(Ordering::Relaxed) {
            if self.take_one() {
                pause = Pause::new();
            } else if !pause.wait() {
                self.sleep();
                pause = Pause::new();
            }
        }
    }

    /// Sleeps until there is a job.
    fn sleep(&self) {
        let mut guard = self.locked();
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        // Whoever publishes a job either sees this worker in `sleeping`, or has published before this check.
        while !self.has_task() && !self.closed.load(Ordering::SeqCst) {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waiting that costs little when it is short and leaves the core to others when it is long.
struct Pause {
    checks: usize,
    began: Option<Instant>,
    elapsed: Duration,
}

impl Pause {
    fn new() -> Self {
        Self { checks: 0, began: None, elapsed: Duration::ZERO }
    }

    /// Waits for a moment; false where it has been long enough to sleep.
    fn wait(&mut self) -> bool {
        self.checks += 1;
        if self.checks.is_multiple_of(CHECKS) || self.elapsed >= SPIN {
            self.elapsed = self.began.get_or_insert_with(Instant::now).elapsed();
        }
        if self.elapsed < SPIN {
            std::hint::spin_loop();
        } else {
            thread::yield_now();
        }
        self.elapsed < OFFER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(sum: &AtomicUsize, value: usize) {
        sum.fetch_add(value, Ordering::Relaxed);
    }

    #[test]
    fn every_task_runs_once_whatever_the_number() {
        for threads in 1..5 {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads);
            for count in [0, 1, 2, 7, 100, MOST_TASKS + 1000] {
                let runs: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                pool.run(count, |index| add(&runs[index], 1));
                assert!(
                    runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1),
                    "{threads} threads, {count} tasks"
                );
            }
        }
    }

    #[test]
    fn jobs_follow_each_other_and_workers_wake_up() {
        let pool = Pool::new(3);
        let sum = AtomicUsize::new(0);
        for job in 0..20_000 {
            let task = |index: usize| add(&sum, job + index);
            pool.run(1 + job % 9, task);
            if job % 4000 == 0 {
                thread::sleep(Duration::from_millis(2));
            }
        }
        let of_job = |job: usize| (0..1 + job % 9).map(|index| job + index).sum::<usize>();
        assert_eq!(sum.into_inner(), (0..20_000).map(of_job).sum::<usize>());
    }

    #[test]
    fn jobs_within_jobs_and_from_several_threads() {
        let pool = Pool::new(2);
        let sum = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        pool.run(4, |_| pool.run(3, |index| add(&sum, index)));
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 3 * 500 * 4 * 3);
    }

    #[test]
    fn a_panic_is_passed_on_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        let done = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.run(8, |index| {
                assert!(index != 5, "task five");
                done.fetch_add(1, Ordering::Relaxed);
            });
        }));
        let panic = result.expect_err("the panic of task five");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"task five"));
        assert_eq!(done.load(Ordering::Relaxed), 7);
        pool.run(8, |_| add(&done, 1));
        assert_eq!(done.into_inner(), 15);
    }
}
