//! Reads `[modes.NAME]`: what a target promises, and how it is talked to in each.

use std::collections::{BTreeMap, BTreeSet};

use checkers::anomaly::Anomaly;

use super::client::ClientOptions;
use super::parse::own_words;
use super::reader::Table;
use super::{DataType, Expect, Mode};
use crate::fault::Kind;

/// Names of faults.
fn faults(table: &Table<'_>, key: &'static str) -> Option<Vec<Kind>> {
    let mut kinds = Vec::new();
    for name in table.texts(key)? {
        match name.is.parse::<Kind>() {
            Ok(kind) => kinds.push(kind),
            Err(_) => {
                let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                let why = format!("{:?} is no fault: there are {}", name.is, names.join(", "));
                table.complain_at(name.at, why);
            }
        }
    }
    Some(kinds)
}

fn expect(table: &Table<'_>, spec: DataType) -> Option<Expect> {
    let Some(said) = table.texts("expect") else {
        let how = "\"holds\", or the anomalies that must be found, as [\"stale-read\"]";
        table.complain(format!("{} has no expect: {how}", table.name()));
        return None;
    };
    if said.len() == 1 && said[0].is == "holds" {
        return Some(Expect::Holds);
    }
    if said.is_empty() {
        table.complain(format!(
            "{} expects nothing: \"holds\", or anomalies",
            table.name()
        ));
    }
    let (kinds, of) = match spec.other() {
        Some(of) => (of.kinds().to_vec(), format!(" of a {}", of.name())),
        None => (Anomaly::ALL.map(Anomaly::name).to_vec(), String::new()),
    };
    let mut anomalies = BTreeSet::new();
    for name in &said {
        let known = kinds.contains(&name.is.as_str());
        match Anomaly::named(&name.is).filter(|_| known) {
            Some(anomaly) => drop(anomalies.insert(anomaly)),
            None => {
                let why = format!(
                    "{:?} is no anomaly{of}: \"holds\", or some of {}",
                    name.is,
                    kinds.join(", ")
                );
                table.complain_at(name.at, why);
            }
        }
    }
    Some(Expect::Found(anomalies.into_iter().collect()))
}

pub(super) fn modes(
    file: &Table<'_>,
    client: Option<&Table<'_>>,
    by_itself: Option<&ClientOptions>,
    set: &BTreeMap<String, String>,
    spec: DataType,
) -> Vec<Mode> {
    let tables = file.table("modes").map(|modes| modes.named_tables());
    if !file.has("modes") {
        let how = "add expect = \"holds\" and survives = [\"kill\", ...]";
        file.complain(format!(
            "the file has no [modes.NAME], which says what is promised: {how}"
        ));
    }
    let own: Vec<&str> = set.keys().map(String::as_str).collect();
    let mut modes = Vec::new();
    let mut survives_above: Option<Vec<Kind>> = None;
    for (name, table) in tables.unwrap_or_default() {
        let about = table
            .text("about")
            .map(|about| about.is)
            .unwrap_or_default();
        let expect = expect(&table, spec);
        let survives = faults(&table, "survives").or_else(|| survives_above.clone());
        if survives.is_none() {
            let how = "name the faults that it promises to survive (`whitewater list faults`), or survives = [] for none";
            table.complain(format!("{} has no survives: {how}", table.name()));
        }
        survives_above = survives.clone().or(survives_above);
        let survives = survives.unwrap_or_default();
        let expose = faults(&table, "expose").unwrap_or_else(|| survives.clone());
        let options = match table.table("client") {
            Some(over) => ClientOptions::read(over.over(client), &own, spec),
            None => by_itself.cloned(),
        };
        if client.is_none() && !table.has("client") {
            let how = "add [client] with a protocol";
            table.complain(format!(
                "{} has no client that talks to it: {how}",
                table.name()
            ));
        }
        let set = own_words(&table, "set", set);
        table.done();
        if let (Some(expect), Some(client)) = (expect, options) {
            modes.push(Mode {
                name,
                about,
                expect,
                survives,
                expose,
                set,
                client,
            });
        }
    }
    modes
}
