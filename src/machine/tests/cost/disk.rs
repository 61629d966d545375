//! What a watched disk costs Redis: `cargo run --release -p machine --example disk_cost [ROUNDS]`.
//!
//! SETs a second with `appendfsync always` on the machine's own disk, 8 clients, unwatched and watched by turns. Needs
//! `redis-server` and `redis-benchmark`.

use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use machine::disk::{Disk, Settings, Syncs};
use machine::launch::Launch;

const REQUESTS: &str = "8000";

fn main() -> ExitCode {
    if let Some(ended) = machine::main(std::env::args_os()) {
        return ended;
    }
    let rounds = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(3);
    match measure(rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("disk_cost: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(rounds: usize) -> Result<(), Box<dyn Error>> {
    let place = std::env::current_dir()?.join(format!("disk-cost-{}", std::process::id()));
    let mut sums = [0.0; 2];
    for round in 1..=rounds {
        let mut rates = [0.0; 2];
        for (watched, rate) in [false, true].into_iter().zip(&mut rates) {
            std::fs::create_dir_all(place.join("data"))?;
            let measured = sets_a_second(&place, watched);
            std::fs::remove_dir_all(&place)?;
            *rate = measured?;
        }
        let [plain, watched] = rates;
        println!(
            "{round}: unwatched {plain:.0}/s, watched {watched:.0}/s, ratio {:.2}",
            watched / plain
        );
        sums = [sums[0] + plain, sums[1] + watched];
    }
    println!("ratio over all rounds: {:.3}", sums[1] / sums[0]);
    Ok(())
}

fn sets_a_second(place: &Path, watched: bool) -> Result<f64, Box<dyn Error>> {
    let folder = place.join("data");
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let number = port.to_string();
    let args = [
        "--port",
        &number,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "yes",
    ];
    let mut launch = Launch::new("redis-server")
        .args(args)
        .args(["--appendfsync", "always"])
        .folder(&folder);
    if watched {
        let store = place.join("store");
        let settings = Settings {
            folder,
            store,
            syncs: Syncs::Real,
            ..Settings::default()
        };
        launch = launch.watch(Arc::clone(&Disk::new(settings)?) as _);
    }
    let _program = launch.start()?;
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > end {
            return Err("Redis does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let args = [
        "-p", &number, "-t", "set", "-c", "8", "-n", REQUESTS, "-r", "1000", "--csv",
    ];
    let said = Command::new("redis-benchmark").args(args).output()?;
    let said = String::from_utf8(said.stdout)?;
    let row = said
        .lines()
        .find(|line| line.starts_with("\"SET\""))
        .ok_or("redis-benchmark said nothing of SET")?;
    let rate = row.split(',').nth(1).ok_or("a row without a rate")?;
    Ok(rate.trim_matches('"').parse()?)
}
