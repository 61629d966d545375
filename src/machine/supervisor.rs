//! The supervisor: one thread a program, which hears the program's watched calls and the keeper's words. Calls in,
//! replies out; what takes its time is done by workers, so that no call waits for another.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, recv};

use crate::call::{Call, Reply};
use crate::caller::{Caller, Latest};
use crate::keeper::Word;
use crate::sys::{self, Interrupts, Listener};
use crate::watcher::{Answer, Watcher};

/// A worker that has had nothing to do for this long ends.
const IDLE: Duration = Duration::from_secs(1);

/// So many threads with an interrupted call are remembered before those that are gone are looked for.
const REMEMBERED: usize = 256;

/// Hears and answers the calls of one program.
pub(crate) struct Supervisor {
    listener: Arc<Listener>,
    routes: HashMap<i64, Vec<Arc<dyn Watcher>>>,
    repeats: Option<Arc<Repeats>>,
    workers: Arc<Workers>,
    /// Answers that panicked: faults of the bench's own.
    broken: Arc<AtomicU64>,
}

impl Supervisor {
    pub(crate) fn new(
        listener: OwnedFd,
        interrupts: Interrupts,
        watchers: &[Arc<dyn Watcher>],
        broken: Arc<AtomicU64>,
    ) -> Self {
        let mut routes: HashMap<i64, Vec<Arc<dyn Watcher>>> = HashMap::new();
        for watcher in watchers {
            let mut numbers: Vec<i64> = watcher.wants().iter().map(|want| want.nr()).collect();
            numbers.sort_unstable();
            numbers.dedup();
            for nr in numbers {
                routes.entry(nr).or_default().push(Arc::clone(watcher));
            }
        }
        let repeats = (interrupts == Interrupts::Let).then(Arc::<Repeats>::default);
        Self {
            listener: Arc::new(Listener::new(listener)),
            routes,
            repeats,
            workers: Arc::default(),
            broken,
        }
    }

    /// What signals can do to a call that waits.
    pub(crate) fn interrupts(&self) -> Interrupts {
        match self.repeats {
            Some(_) => Interrupts::Let,
            None => Interrupts::Withheld,
        }
    }

    /// Works until the keeper has ended: then no process of the program is left. Each of its words goes to `told`.
    pub(crate) fn run(&self, keeper: &OwnedFd, told: impl Fn(Word)) {
        sys::withhold_signals();
        let mut open = true;
        loop {
            let mut waited = [
                PollFd::new(keeper, PollFlags::IN),
                PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
            ];
            let _ = poll(&mut waited[..1 + usize::from(open)], None);
            let (word, call) = (waited[0].revents(), waited[1].revents());
            if call.contains(PollFlags::IN) {
                match self.listener.receive() {
                    Ok(Some(call)) => self.hear(call),
                    Ok(None) => {}
                    Err(_) => open = false,
                }
            } else if !call.is_empty() {
                // Nobody is left who carries the filter. The keeper's end is still to come.
                open = false;
            }
            if !word.is_empty() {
                let mut text = [0; 64];
                match recv(keeper, &mut text, RecvFlags::DONTWAIT) {
                    Ok((read, _)) if read > 0 => {
                        if let Some(word) = Word::decode(&text[..read]) {
                            told(word);
                        }
                    }
                    Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                    _ => return,
                }
            }
        }
    }

    fn hear(&self, call: Call) {
        if let Some(repeats) = &self.repeats
            && repeats.same_again(&call, &self.listener)
        {
            return;
        }
        let caller = Caller::new(call, Arc::clone(&self.listener), self.interrupts());
        let asked = catch_unwind(AssertUnwindSafe(|| self.ask(&caller)));
        match asked.unwrap_or_else(|_| Answer::Now(self.broke())) {
            Answer::Pass => self.finish(&call, Reply::Continue),
            Answer::Now(reply) => self.finish(&call, reply),
            Answer::Later(work) => {
                if let (Some(repeats), Some(latest)) = (&self.repeats, caller.latest()) {
                    repeats.begin(&call, latest);
                }
                let this = self.share();
                self.workers.run(Box::new(move || {
                    let reply = catch_unwind(AssertUnwindSafe(work));
                    let reply = reply.unwrap_or_else(|_| this.broke());
                    this.finish(&call, reply);
                }));
            }
        }
    }

    fn ask(&self, caller: &Caller) -> Answer {
        let watchers = self.routes.get(&caller.call().nr);
        for watcher in watchers.into_iter().flatten() {
            match watcher.answer(caller) {
                Answer::Pass => {}
                answer => return answer,
            }
        }
        Answer::Pass
    }

    /// The bench's own fault is not the program's: the kernel does what was asked.
    fn broke(&self) -> Reply {
        self.broken.fetch_add(1, Ordering::Relaxed);
        Reply::Continue
    }

    fn finish(&self, call: &Call, reply: Reply) {
        if reply == Reply::Gone {
            // Its thread may have made other calls since.
            return;
        }
        match &self.repeats {
            // A call that is gone needs no reply: only a deadly signal interrupts it.
            None => drop(self.listener.send(call.id, reply)),
            Some(repeats) => repeats.finish(call, reply, &self.listener),
        }
    }

    /// For a worker: what is needed to finish a call.
    fn share(&self) -> Self {
        Self {
            listener: Arc::clone(&self.listener),
            routes: HashMap::new(),
            repeats: self.repeats.clone(),
            workers: Arc::default(),
            broken: Arc::clone(&self.broken),
        }
    }
}

/// Calls that a signal interrupted after the bench had heard them, on kernels that cannot forbid it: the thread calls
/// again, with the same arguments, and means the same call. What was done for it must not be done twice.
#[derive(Default)]
struct Repeats(Mutex<HashMap<u32, Repeat>>);

struct Repeat {
    nr: i64,
    args: [u64; 6],
    /// What the worker sees of it.
    latest: Arc<Latest>,
    /// What is to be answered, once that is known.
    reply: Option<Reply>,
}

impl Repeats {
    /// Whether this is a call that is known already: then it is answered here, or will be by the worker that has it.
    fn same_again(&self, call: &Call, listener: &Listener) -> bool {
        let mut known = lock(&self.0);
        let Some(before) = known.get_mut(&call.tid) else {
            return false;
        };
        if (before.nr, before.args) != (call.nr, call.args)
            || before.latest.over.load(Ordering::Acquire)
        {
            known.remove(&call.tid);
            return false;
        }
        before.latest.id.store(call.id, Ordering::Release);
        if let Some(reply) = before.reply
            && listener.send(call.id, reply).is_ok()
        {
            known.remove(&call.tid);
        }
        true
    }

    fn begin(&self, call: &Call, latest: &Arc<Latest>) {
        let latest = Arc::clone(latest);
        self.remember(&mut lock(&self.0), call, latest, None);
    }

    fn finish(&self, call: &Call, reply: Reply, listener: &Listener) {
        let mut known = lock(&self.0);
        let same = |before: &&mut Repeat| (before.nr, before.args) == (call.nr, call.args);
        let latest = match known.get_mut(&call.tid).filter(same) {
            Some(before) => Arc::clone(&before.latest),
            None => Latest::of(call),
        };
        let id = latest.id.load(Ordering::Acquire);
        if listener.send(id, reply).is_ok() || reply == Reply::Continue {
            known.remove(&call.tid);
        } else {
            self.remember(&mut known, call, latest, Some(reply));
        }
    }

    fn remember(
        &self,
        known: &mut HashMap<u32, Repeat>,
        call: &Call,
        latest: Arc<Latest>,
        reply: Option<Reply>,
    ) {
        if known.len() >= REMEMBERED {
            known.retain(|tid, _| std::fs::exists(format!("/proc/{tid}")).unwrap_or(true));
        }
        let repeat = Repeat {
            nr: call.nr,
            args: call.args,
            latest,
            reply,
        };
        known.insert(call.tid, repeat);
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads for calls that take their time: as many as there are such calls at once, which is at most one a thread of the
/// program; a thread that is done waits a little for the next call.
#[derive(Default)]
struct Workers {
    bench: Mutex<Bench>,
    wake: Condvar,
}

#[derive(Default)]
struct Bench {
    jobs: VecDeque<Job>,
    idle: usize,
    working: usize,
}

impl Workers {
    fn run(self: &Arc<Self>, job: Job) {
        let mut bench = lock(&self.bench);
        bench.jobs.push_back(job);
        if bench.idle >= bench.jobs.len() {
            self.wake.notify_one();
            return;
        }
        let this = Arc::clone(self);
        let made = thread::Builder::new()
            .name("machine-worker".to_owned())
            .spawn(move || this.work());
        if made.is_ok() {
            bench.working += 1;
        } else if bench.working == 0
            && let Some(job) = bench.jobs.pop_back()
        {
            // No thread can be made and none will come: late is better than never.
            drop(bench);
            job();
        }
    }

    fn work(&self) {
        sys::withhold_signals();
        let mut bench = lock(&self.bench);
        loop {
            if let Some(job) = bench.jobs.pop_front() {
                drop(bench);
                job();
                bench = lock(&self.bench);
                continue;
            }
            bench.idle += 1;
            let (woken, waited) = self
                .wake
                .wait_timeout(bench, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            bench = woken;
            bench.idle -= 1;
            if waited.timed_out() && bench.jobs.is_empty() {
                bench.working -= 1;
                return;
            }
        }
    }
}

/// No lock here is held while foreign code runs, so a poisoned one is sound.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
