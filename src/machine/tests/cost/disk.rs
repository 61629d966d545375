//! What a watched disk costs Redis: `cargo run --release -p machine --example disk_cost [ROUNDS [CLIENTS]]`.
//!
//! SETs a second with `appendfsync always` on the machine's own disk, unwatched and watched by turns. With one client
//! each is a write and a sync; with more, Redis syncs for several at once, the more the slower its loop is. Needs
//! `redis-server` and `redis-benchmark`.

use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use machine::disk::{Disk, Settings, Syncs};
use machine::launch::Launch;

const REQUESTS: &str = "4000";

fn main() -> ExitCode {
    if let Some(ended) = machine::main(std::env::args_os()) {
        return ended;
    }
    let number = |at: usize, usual: usize| {
        std::env::args()
            .nth(at)
            .map_or(Ok(usual), |text| text.parse())
    };
    let (Ok(rounds), Ok(clients)) = (number(1, 3), number(2, 8)) else {
        eprintln!("disk_cost: rounds and clients are numbers");
        return ExitCode::FAILURE;
    };
    match measure(rounds, clients) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("disk_cost: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(rounds: usize, clients: usize) -> Result<(), Box<dyn Error>> {
    let place = std::env::current_dir()?.join(format!("disk-cost-{}", std::process::id()));
    let mut sums = [0.0; 2];
    for round in 1..=rounds {
        let mut rates = [0.0; 2];
        for (watched, rate) in [false, true].into_iter().zip(&mut rates) {
            std::fs::create_dir_all(place.join("data"))?;
            let measured = sets_a_second(&place, watched, clients);
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

fn sets_a_second(place: &Path, watched: bool, clients: usize) -> Result<f64, Box<dyn Error>> {
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
        "-p",
        &number,
        "-t",
        "set",
        "-c",
        &clients.to_string(),
        "-n",
        REQUESTS,
        "-r",
        "1000",
        "--csv",
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
