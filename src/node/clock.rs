//! The node's own clock, monotonic, as openraft sees it: every timer, lease and timeout of the Raft core reads it. It can
//! be made to run slow or fast, to stand still, and to step forward; it never goes back.
//!
//! ```text
//!   shown │        ___/ 2.0
//!         │    ___/ ← 0.0 (stands still)      moment = shown + (now - since) * rate
//!         │   /
//!         │  /  1.0
//!         └────────────── the machine's clock
//! ```
//!
//! It is the one thing in a node that is global: openraft's runtime is made of functions without a `self`.

use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::sync::{LazyLock, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use openraft::{AsyncRuntime, OptionalSend};
use tokio::sync::watch;

type Tokio = openraft::impls::TokioRuntime;

/// No clock runs so much too fast: what it would skip is a step.
pub(crate) const FASTEST: f64 = 100.0;

/// How the clock runs, and since when.
#[derive(Clone, Copy, Debug)]
struct Course {
    since: Instant,
    shown: Duration,
    rate: f64,
}

impl Course {
    fn at(&self, now: Instant) -> Duration {
        self.shown + now.saturating_duration_since(self.since).mul_f64(self.rate)
    }

    /// How long the machine takes until the clock shows `moment`; `None`: for ever, at this rate.
    fn until(&self, moment: Duration, now: Instant) -> Option<Duration> {
        let left = moment.saturating_sub(self.at(now));
        if left.is_zero() {
            Some(left)
        } else {
            // Rounded up: a timer that is a nanosecond early would only sleep again.
            let wait = Duration::try_from_secs_f64(left.as_secs_f64() / self.rate).ok()?;
            Some(wait + Duration::from_nanos(1))
        }
    }
}

/// A clock whose course can be changed; whoever sleeps by it is woken when it is.
#[derive(Debug)]
pub(crate) struct Clock(watch::Sender<Course>);

/// This process's.
pub(crate) static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::new);

impl Clock {
    fn new() -> Clock {
        Clock(watch::Sender::new(Course {
            since: Instant::now(),
            shown: Duration::ZERO,
            rate: 1.0,
        }))
    }

    /// Steps forward, and runs at `rate` from now on: 1 is the machine's pace, 0 stands still. Gives what it shows at
    /// that instant.
    pub(crate) fn set(&self, rate: f64, step: Duration) -> Duration {
        let rate = if rate.is_finite() {
            rate.clamp(0.0, FASTEST)
        } else {
            1.0
        };
        let mut shown = Duration::ZERO;
        self.0.send_modify(|course| {
            let now = Instant::now();
            shown = course.at(now).saturating_add(step);
            *course = Course {
                since: now,
                shown,
                rate,
            };
        });
        shown
    }

    /// What it shows, and its rate.
    pub(crate) fn seen(&self) -> (Duration, f64) {
        let course = *self.0.borrow();
        (course.at(Instant::now()), course.rate)
    }

    /// Waits until it shows `moment`, however its course changes meanwhile.
    async fn until(&self, moment: Duration) {
        let mut course = self.0.subscribe();
        loop {
            let wait = course.borrow_and_update().until(moment, Instant::now());
            if wait == Some(Duration::ZERO) {
                return;
            }
            let slept = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = slept => {}
                // The sender is in `self`.
                _ = course.changed() => {}
            }
        }
    }
}

/// An instant on the node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl openraft::Instant for Moment {
    fn now() -> Self {
        Moment(CLOCK.seen().0)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, by: Duration) -> Moment {
        Moment(self.0.saturating_add(by))
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, by: Duration) -> Moment {
        Moment(self.0.saturating_sub(by))
    }
}

impl SubAssign<Duration> for Moment {
    fn sub_assign(&mut self, by: Duration) {
        *self = *self - by;
    }
}

impl Sub<Moment> for Moment {
    type Output = Duration;
    fn sub(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A future that has until a moment of the node's clock.
pub(crate) struct Timeout<T> {
    future: Pin<Box<T>>,
    sleep: Sleep,
}

impl<T: Future> Future for Timeout<T> {
    type Output = Result<T::Output, Late>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        self.sleep.as_mut().poll(context).map(|()| Err(Late))
    }
}

/// The time was over first.
#[derive(Debug)]
pub(crate) struct Late;

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was over first")
    }
}

/// tokio, but for the clock.
#[derive(Debug)]
pub(crate) struct Runtime(Mutex<Tokio>);

impl AsyncRuntime for Runtime {
    type JoinError = <Tokio as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Moment;
    type TimeoutError = Late;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = <Tokio as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <Tokio as AsyncRuntime>::Mpsc;
    type Watch = <Tokio as AsyncRuntime>::Watch;
    type Oneshot = <Tokio as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        Tokio::spawn(future)
    }

    fn sleep(duration: Duration) -> Sleep {
        Self::sleep_until(<Moment as openraft::Instant>::now() + duration)
    }

    fn sleep_until(deadline: Moment) -> Sleep {
        Box::pin(CLOCK.until(deadline.0))
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Timeout<F> {
        Self::timeout_at::<R, F>(<Moment as openraft::Instant>::now() + duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Moment,
        future: F,
    ) -> Timeout<F> {
        Timeout {
            future: Box::pin(future),
            sleep: Self::sleep_until(deadline),
        }
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        Tokio::is_panic(error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Tokio::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Runtime(Mutex::new(Tokio::new(threads)))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        let runtime = self.0.get_mut().expect("nobody shares it");
        runtime.block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_runs_at_its_rate_and_never_goes_back() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let ms = Duration::from_millis;
        let course = |rate| Course {
            since: begun,
            shown: ms(100),
            rate,
        };
        assert_eq!(course(1.0).at(at(50)), ms(150));
        assert_eq!(course(0.0).at(at(50)), ms(100), "it stands still");
        assert_eq!(course(2.0).at(at(50)), ms(200));
        assert_eq!(
            course(2.0).until(ms(300), at(50)),
            Some(ms(50) + Duration::from_nanos(1))
        );
        assert_eq!(
            course(0.0).until(ms(101), at(50)),
            None,
            "never, at this rate"
        );
        assert_eq!(course(0.0).until(ms(100), at(50)), Some(Duration::ZERO));
    }

    #[tokio::test]
    async fn whoever_sleeps_notices_a_step_a_stop_and_another_pace() {
        let clock: &'static Clock = Box::leak(Box::new(Clock::new()));
        let real = Instant::now();
        let hour = Duration::from_secs(3_600);
        let sleeper = tokio::spawn(clock.until(clock.seen().0 + hour));
        clock.set(1.0, hour);
        sleeper.await.expect("no panic");
        clock.set(FASTEST, Duration::ZERO);
        clock.until(clock.seen().0 + Duration::from_secs(20)).await;
        clock.set(0.0, Duration::ZERO);
        let stands = clock.seen().0;
        let soon = clock.until(stands + Duration::from_millis(1));
        let waits = tokio::time::timeout(Duration::from_millis(50), soon);
        assert!(waits.await.is_err(), "no time goes by");
        assert_eq!(clock.seen(), (stands, 0.0));
        clock.set(1.0, Duration::ZERO);
        clock.until(stands + Duration::from_millis(1)).await;
        assert!(clock.seen().0 >= stands + Duration::from_millis(1));
        assert!(
            real.elapsed() < Duration::from_secs(60),
            "an hour did not pass"
        );
    }

    #[tokio::test]
    async fn a_timeout_gives_what_came_in_time() {
        let day = Duration::from_secs(86_400);
        assert_eq!(Runtime::timeout(day, async { 7 }).await.ok(), Some(7));
        let never = std::future::pending::<()>();
        assert!(
            Runtime::timeout(Duration::from_millis(1), never)
                .await
                .is_err()
        );
    }
}
