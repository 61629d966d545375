//! One round: some clients ask one system, each one operation at a time, until the time is over.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::system::System;
use crate::{KEYS, VALUE_BYTES};

/// What clients ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Write,
    Read,
}

/// What one or several rounds gave.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    latency_us: Histogram<u64>,
    errors: u64,
    wall: Duration,
    cpu: Duration,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            latency_us: Histogram::new_with_max(60_000_000, 3).expect("valid bounds"),
            errors: 0,
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
        }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.latency_us
            .add(&other.latency_us)
            .expect("the same bounds");
        self.errors += other.errors;
        self.wall += other.wall;
        self.cpu += other.cpu;
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.latency_us.len() as f64 / self.wall.as_secs_f64().max(f64::EPSILON)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |quantile| self.latency_us.value_at_quantile(quantile) as f64 / 1000.0;
        let cpu = self.cpu.as_micros() as f64 / (self.latency_us.len() as f64).max(1.0);
        write!(
            f,
            "{:>8.0}/s  p50 {:>7.2} ms  p99 {:>7.2} ms  node CPU {cpu:>5.0} us each",
            self.per_second(),
            at(0.5),
            at(0.99),
        )?;
        if self.errors > 0 {
            write!(f, "  {} errors", self.errors)?;
        }
        Ok(())
    }
}

/// Lets `clients` ask for as long as `length`.
pub(crate) async fn round(system: &System, op: Op, clients: usize, length: Duration) -> Tally {
    let connections = system.connect(clients).await;
    let over = Arc::new(AtomicBool::new(false));
    let cpu = system.cpu();
    let began = Instant::now();
    let asking: Vec<_> = connections
        .into_iter()
        .enumerate()
        .map(|(number, mut client)| {
            let over = over.clone();
            let mut random = ChaCha8Rng::seed_from_u64(number as u64);
            tokio::spawn(async move {
                let mut tally = Tally::default();
                while !over.load(Ordering::Relaxed) {
                    let key = Bytes::from(format!("key-{:012}", random.random_range(0..KEYS)));
                    let sent = Instant::now();
                    let done = match op {
                        Op::Write => client.write(key, Bytes::from(vec![7; VALUE_BYTES])).await,
                        Op::Read => client.read(key).await,
                    };
                    match done {
                        Ok(()) => {
                            let micros = sent.elapsed().as_micros() as u64;
                            tally.latency_us.saturating_record(micros);
                        }
                        Err(status) => {
                            if tally.errors == 0 {
                                eprintln!("a {op:?} failed: {status}");
                            }
                            tally.errors += 1;
                        }
                    }
                }
                tally
            })
        })
        .collect();
    tokio::time::sleep(length).await;
    over.store(true, Ordering::Relaxed);
    let mut all = Tally::default();
    for client in asking {
        all.add(&client.await.expect("a client"));
    }
    all.wall = began.elapsed();
    all.cpu = system.cpu().saturating_sub(cpu);
    all
}
