//! `whitewater gen`: synthetic histories, linearizable by construction or with one violation of a known kind.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use checkers::format::{self, Format, binary, jsonl};
use checkers::generate::{Domain, Generator, Planted, Recipe, Violation};
use checkers::history::{Builder, Event, Initial};
use checkers::types::{self, generate};
use clap::Args;

use super::Usage;
use super::out::Out;

/// What `gen` takes. Fractions are of all operations, from 0 to 1.
#[derive(Debug, Args)]
pub(crate) struct GenArgs {
    /// Operations.
    #[arg(long, default_value_t = 1000)]
    ops: u64,
    /// Clients, all of them always busy: as many operations overlap.
    #[arg(long, default_value_t = 5)]
    clients: u64,
    /// Keys.
    #[arg(long, default_value_t = 1)]
    keys: u64,
    /// The fraction of writes, cas and deletes whose outcome stays unknown.
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pending: f64,
    /// The fraction of operations that fail.
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    failed: f64,
    /// The fraction of compare-and-sets.
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    cas: f64,
    /// The fraction of deletes.
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    delete: f64,
    /// The values written: unique, or small:N for 1 to N.
    #[arg(long, default_value = "unique")]
    values: Domain,
    /// What each key holds at first: an integer, or any: a value of its own, of which the header says that nobody knows it.
    #[arg(long, value_name = "VALUE|any", value_parser = initial, default_value = "nil", hide_default_value = true, allow_hyphen_values = true)]
    initial: Initial,
    /// Put in one violation: stale-read, lost-write, future-read, aborted-read, double-cas or resurrected-delete; of another
    /// --spec, one of its own.
    #[arg(long, value_name = "KIND")]
    violate: Option<String>,
    /// The data type: register, or one of those that `check --spec` judges. The others than the register take --ops,
    /// --clients, --keys, --pending, --failed, --violate (a wrong one says which there are) and --seed.
    #[arg(long, default_value = "register")]
    spec: String,
    /// Everything random comes from here.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The format: jsonl, binary or edn.
    #[arg(long, default_value = "jsonl")]
    format: Format,
    /// Where to write, instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What each key holds at first.
fn initial(text: &str) -> Result<Initial, String> {
    match (text, text.parse()) {
        ("nil", _) => Ok(Initial::Absent),
        ("any", _) => Ok(Initial::Any),
        (_, Ok(value)) => Ok(Initial::Value(value)),
        _ => Err("an integer, any or nil".to_owned()),
    }
}

/// Writes the history that the arguments describe.
///
/// # Errors
/// When the arguments make no sense or the file can't be written.
pub(crate) fn run(args: &GenArgs, out: &mut Out) -> anyhow::Result<u8> {
    for (name, fraction) in [
        ("pending", args.pending),
        ("failed", args.failed),
        ("cas", args.cas),
        ("delete", args.delete),
    ] {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(Usage(format!("--{name} {fraction} is not a fraction from 0 to 1")).into());
        }
    }
    if args.cas + args.delete > 1.0 {
        return Err(Usage("--cas and --delete are more than 1 together".to_owned()).into());
    }
    if args.clients == 0 || args.keys == 0 {
        return Err(Usage("--clients and --keys must be at least 1".to_owned()).into());
    }
    if !matches!(args.format, Format::Jsonl | Format::Binary | Format::Edn) {
        let name = args.format.name();
        return Err(Usage(format!(
            "{name} is for reading only; jsonl, binary and edn can be written"
        ))
        .into());
    }
    if args.spec != "register" {
        return typed(args, out);
    }
    let violate = args.violate.as_deref().map(str::parse::<Violation>);
    let violate = violate
        .transpose()
        .map_err(|error| Usage(format!("--violate: {error}")))?;
    let recipe = Recipe {
        ops: args.ops,
        clients: args.clients,
        keys: args.keys,
        pending: args.pending,
        failed: args.failed,
        cas: args.cas,
        delete: args.delete,
        values: args.values,
        initial: args.initial,
        violate,
        seed: args.seed,
        ..Recipe::default()
    };
    if recipe.violate.is_some()
        && recipe.planted() == Planted::Apart
        && recipe.values != Domain::Unique
    {
        out.note(format_args!(
            "note: {} is too small a domain for this violation: it has values of its own",
            recipe.values
        ));
    }
    print(args, out, |out| write(out, recipe, args.format))
}

/// Writes to where the arguments say.
fn print(
    args: &GenArgs,
    out: &mut Out,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<u8> {
    match &args.out {
        Some(path) => {
            let written = File::create(path).and_then(|file| {
                let mut file = BufWriter::new(file);
                write(&mut file)?;
                file.flush()
            });
            written.with_context(|| format!("could not write {}", path.display()))?;
        }
        None => out.print(|out| write(out)),
    }
    Ok(0)
}

/// Writes a history of a data type beside the register.
fn typed(args: &GenArgs, out: &mut Out) -> anyhow::Result<u8> {
    let Some(of) = types::by_name(&args.spec) else {
        let known: Vec<&str> = types::ALL.iter().map(|of| of.name()).collect();
        let (spec, known) = (&args.spec, known.join(", "));
        return Err(Usage(format!(
            "no history of {spec} can be made: register, {known}"
        ))
        .into());
    };
    let register_only = args.cas > 0.0
        || args.delete > 0.0
        || args.values != Domain::Unique
        || args.initial != Initial::Absent;
    if register_only {
        let why = "--cas, --delete, --values and --initial are for registers";
        return Err(Usage(why.to_owned()).into());
    }
    if let Some(kind) = &args.violate
        && !of.violations().contains(&kind.as_str())
    {
        let (name, known) = (of.name(), of.violations().join(", "));
        return Err(Usage(format!("--violate {kind}: of a {name} there are {known}")).into());
    }
    let recipe = generate::Recipe {
        ops: args.ops,
        clients: args.clients,
        keys: args.keys,
        pending: args.pending,
        failed: args.failed,
        violate: args.violate.clone(),
        seed: args.seed,
    };
    let (header, events) = (generate::header(of, &recipe), generate::events(of, &recipe));
    match args.format {
        Format::Jsonl => print(args, out, |mut out| {
            generate::write_jsonl(&mut out, &header, &events)
        }),
        Format::Edn => print(args, out, |mut out| {
            generate::write_edn(&mut out, &header, &events)
        }),
        _ => Err(Usage(format!(
            "a history of {} is written as jsonl or edn",
            of.name()
        ))
        .into()),
    }
}

/// Our own formats are written as the events come; the other needs them all.
fn write(mut out: &mut dyn Write, recipe: Recipe, format: Format) -> io::Result<()> {
    let header = recipe.header();
    let events = Generator::new(recipe);
    if format == Format::Jsonl {
        jsonl::write_header(&mut out, &header)?;
        for event in events {
            jsonl::write_event(&mut out, &event)?;
        }
    } else if format == Format::Binary {
        let mut writer = binary::Writer::new(&mut out, &header)?;
        for event in events {
            writer.event(&event)?;
        }
        writer.finish()?;
    } else {
        let mut builder = Builder::new(header);
        for event in events {
            let event: Event = event;
            builder.event(&event).map_err(io::Error::other)?;
        }
        format::write(&mut out, &builder.finish(), format)?;
    }
    out.flush()
}
