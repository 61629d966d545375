//! How long the bench and its nodes wait for a processor: of the time in which they want to run, the share in which
//! somebody else does.
//!
//! A cluster on a machine with six times the work that it can do is six times slower, and no bound of seconds is meant for
//! that. The bench's own timers hardly show it: a thread that mostly sleeps is served first. So the kernel's own count is
//! read (`/proc/PID/task/TID/schedstat`: nanoseconds on a processor, and nanoseconds in the queue for one), for this
//! process and all that come from it, about once a second.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Looks that are remembered.
const KEPT: usize = 64;
/// Over which time a share is taken: as long as a healed cluster has to agree.
const OVER: Duration = Duration::from_secs(12);
/// Who waits for more than this share, in percent, is five times slower than alone, and starves.
const STARVED: u64 = 80;
/// Of less work than this nothing can be said.
const WORTH: Duration = Duration::from_millis(200);

/// What was seen of the processors since it was made.
#[derive(Debug, Default)]
pub(super) struct Processors(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Each process as it was looked at last.
    last: BTreeMap<String, Times>,
    /// What all of them together had since the look before, the newest last.
    looks: VecDeque<(Instant, Times)>,
    whole: Times,
}

/// Nanoseconds on a processor, and in the queue for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    run: u64,
    waited: u64,
}

impl Times {
    fn plus(self, other: Times) -> Times {
        Times {
            run: self.run + other.run,
            waited: self.waited + other.waited,
        }
    }

    /// Threads that have ended are not counted any more: then it is less than before.
    fn since(self, before: Times) -> Times {
        Times {
            run: self.run.saturating_sub(before.run),
            waited: self.waited.saturating_sub(before.waited),
        }
    }

    /// Of the time in which they wanted to run, the share in which they did not, in percent.
    #[must_use]
    pub fn waited_per_cent(self) -> u64 {
        let wanted = self.run + self.waited;
        (self.waited * 100).checked_div(wanted).unwrap_or(0)
    }

    fn is_starved(self) -> bool {
        let wanted = Duration::from_nanos(self.run + self.waited);
        wanted >= WORTH && self.waited_per_cent() >= STARVED
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this machine is too busy with other things: the bench and its nodes waited for a processor for {} % of the time \
             in which they wanted one",
            self.waited_per_cent()
        )
    }
}

impl Processors {
    /// Looks at this process and all that come from it now.
    pub(super) fn look(&self) {
        let now = processes().into_iter();
        let now = now.map(|process| (times(&process), process));
        let now = now.map(|(times, process)| (process, times)).collect();
        self.seen().take(Instant::now(), now);
    }

    /// What they had lately, where that is a machine on which they starve.
    pub(super) fn starved(&self) -> Option<Times> {
        let lately = self.seen().lately(Instant::now());
        lately.is_starved().then_some(lately)
    }

    /// What they had since the first look.
    pub(super) fn whole(&self) -> Times {
        self.seen().whole
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A look is taken in whole, or not at all.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn take(&mut self, at: Instant, now: BTreeMap<String, Times>) {
        let known = now.iter().filter_map(|(process, times)| {
            // A new one has no time before this look.
            Some(times.since(*self.last.get(process)?))
        });
        let sum = known.fold(Times::default(), Times::plus);
        self.whole = self.whole.plus(sum);
        self.looks.push_back((at, sum));
        if self.looks.len() > KEPT {
            self.looks.pop_front();
        }
        self.last = now;
    }

    fn lately(&self, now: Instant) -> Times {
        let recent = self.looks.iter();
        let recent = recent.filter(|(at, _)| now.saturating_duration_since(*at) <= OVER);
        recent.fold(Times::default(), |sum, (_, times)| sum.plus(*times))
    }
}

/// This process and all that come from it, as the kernel lists them below each thread: between the bench and a node on a host
/// of its own there is a keeper.
fn processes() -> Vec<String> {
    let mut all = vec!["self".to_owned()];
    let mut next = 0;
    while let Some(process) = all.get(next).cloned() {
        for thread in threads(&process) {
            let children = fs::read_to_string(format!("/proc/{process}/task/{thread}/children"));
            let children = children.unwrap_or_default();
            all.extend(children.split_whitespace().map(str::to_owned));
        }
        next += 1;
    }
    all
}

fn threads(process: &str) -> Vec<String> {
    let listed = fs::read_dir(format!("/proc/{process}/task"));
    let entries = listed.into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.collect()
}

/// What all threads of a process had together; nothing of one that has ended meanwhile.
fn times(process: &str) -> Times {
    let of_threads = threads(process).into_iter().filter_map(|thread| {
        let path = format!("/proc/{process}/task/{thread}/schedstat");
        of_schedstat(&fs::read_to_string(path).ok()?)
    });
    of_threads.fold(Times::default(), Times::plus)
}

fn of_schedstat(text: &str) -> Option<Times> {
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let (run, waited) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(Times { run, waited })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// When somebody looked, in seconds, and which process had run and waited for how many milliseconds.
    type Look<'a> = (u64, &'a [(&'a str, u64, u64)]);

    fn seen(looks: &[Look<'_>]) -> (Seen, Instant) {
        let start = Instant::now();
        let mut seen = Seen::default();
        for (at, processes) in looks {
            let times = processes.iter().map(|&(process, run, waited)| {
                let (run, waited) = (run * MS, waited * MS);
                (process.to_owned(), Times { run, waited })
            });
            seen.take(start + Duration::from_secs(*at), times.collect());
        }
        (seen, start)
    }

    #[test]
    fn what_processes_had_before_they_were_seen_and_in_an_earlier_life_does_not_count() {
        let (seen, start) = seen(&[
            (0, &[("self", 900, 0), ("7", 500, 0)]),
            (1, &[("self", 1_000, 100), ("7", 600, 700)]),
            (2, &[("self", 1_100, 200), ("8", 90, 9_000)]),
        ]);
        let lately = seen.lately(start + Duration::from_secs(2));
        assert_eq!((lately.run, lately.waited), (300 * MS, 900 * MS));
        assert_eq!(lately.waited_per_cent(), 75);
        assert!(!lately.is_starved());
        assert_eq!(seen.whole, lately);
        let later = seen.lately(start + Duration::from_secs(14));
        assert_eq!(later.run, 100 * MS, "only the last look is recent");
    }

    #[test]
    fn who_waits_four_times_as_long_as_it_runs_starves_unless_it_wants_nothing() {
        let starves = |run: u64, waited: u64| {
            let (run, waited) = (run * MS, waited * MS);
            Times { run, waited }.is_starved()
        };
        assert!(starves(1_000, 4_000));
        assert!(!starves(1_000, 3_900));
        assert!(!starves(10, 90), "an idle bench says nothing");
        assert!(!starves(0, 0));
    }

    #[test]
    fn what_a_child_has_started_counts_too() {
        let listed = |pid: u32| processes().contains(&pid.to_string());
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; read line; kill $!"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut stdout, &mut said).unwrap();
        let grandchild: u32 = said.trim().parse().unwrap();
        let seen = (listed(child.id()), listed(grandchild));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(seen, (true, true));
    }

    #[test]
    fn the_kernel_says_what_this_process_had() {
        if !std::path::Path::new("/proc/thread-self/schedstat").exists() {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI has a kernel that says it"
            );
            eprintln!("this kernel does not say who waits for a processor");
            return;
        }
        let processors = Processors::default();
        processors.look();
        let began = Instant::now();
        while processors.whole().run == 0 {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "it works and has nothing"
            );
            std::hint::black_box((0..1_000_000).sum::<u64>());
            processors.look();
        }
        assert_eq!(
            of_schedstat("123 45 6\n"),
            Some(Times {
                run: 123,
                waited: 45
            })
        );
        assert_eq!(of_schedstat(""), None);
    }
}
