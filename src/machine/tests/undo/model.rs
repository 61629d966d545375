//! What is on the disk, said in the plainest way: the contents and the names themselves, as the program sees them and as
//! the disk has them, with every state between. Nothing here undoes anything.

use std::collections::BTreeMap;

pub(crate) const PAGE: usize = 4096;
pub(crate) const SECTOR: usize = 512;

/// A file or a folder.
pub(crate) type Id = usize;
pub(crate) const ROOT: Id = 0;

/// Names: what each folder holds.
pub(crate) type Tree = BTreeMap<Id, BTreeMap<String, Id>>;

/// One state of a file. The first of a file's states is the disk's, the last the program's.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) bytes: Vec<u8>,
    /// When it came to be.
    stamp: u64,
    /// What came before cannot be mixed with it.
    cut: bool,
    /// The pages that were written to come here.
    pages: Vec<usize>,
    sync_failed: bool,
}

/// One change of names that the disk does not have yet: how each name looked before and after.
#[derive(Clone, Debug)]
pub(crate) struct Rename {
    stamp: u64,
    slots: Vec<(Id, String, Option<Id>, Option<Id>)>,
    made: Option<Id>,
    made_folder: bool,
    removed_folder: Option<Id>,
    moved_folder: bool,
    sync_failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    File(Id),
    Folder(Id),
    All,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) files: BTreeMap<Id, Vec<State>>,
    /// The names as the program sees them.
    pub(crate) seen: Tree,
    /// The names as the disk has them.
    disk: Tree,
    waiting: Vec<Rename>,
    now: u64,
    next: Id,
}

impl Model {
    pub(crate) fn new() -> Self {
        let tree = Tree::from([(ROOT, BTreeMap::new())]);
        Self {
            seen: tree.clone(),
            disk: tree,
            next: ROOT + 1,
            ..Self::default()
        }
    }

    /// What was found on the disk at the start is durable.
    pub(crate) fn found(&mut self, folder: Id, name: &str, bytes: Option<Vec<u8>>) -> Id {
        let id = self.next_id();
        match bytes {
            Some(bytes) => drop(self.files.insert(id, vec![State::new(bytes, 0)])),
            None => {
                self.seen.insert(id, BTreeMap::new());
                self.disk.insert(id, BTreeMap::new());
            }
        }
        self.found_again(folder, name, id);
        id
    }

    pub(crate) fn found_again(&mut self, folder: Id, name: &str, id: Id) {
        for tree in [&mut self.seen, &mut self.disk] {
            tree.get_mut(&folder).unwrap().insert(name.to_owned(), id);
        }
    }

    fn next_id(&mut self) -> Id {
        self.next += 1;
        self.next - 1
    }

    pub(crate) fn stamp(&self) -> u64 {
        self.now
    }

    pub(crate) fn bytes(&self, file: Id) -> &[u8] {
        &self.files[&file].last().unwrap().bytes
    }

    pub(crate) fn is_folder(&self, id: Id) -> bool {
        self.seen.contains_key(&id)
    }

    pub(crate) fn write(&mut self, file: Id, at: usize, data: &[u8]) {
        let mut bytes = self.bytes(file).to_vec();
        bytes.resize(bytes.len().max(at + data.len()), 0);
        bytes[at..at + data.len()].copy_from_slice(data);
        let pages = (at / PAGE..(at + data.len()).div_ceil(PAGE)).collect();
        self.push(file, bytes, false, pages);
    }

    pub(crate) fn resize(&mut self, file: Id, size: usize) {
        let mut bytes = self.bytes(file).to_vec();
        let old = bytes.len();
        if size != old {
            bytes.resize(size, 0);
            self.push(file, bytes, size < old, Vec::new());
        }
    }

    pub(crate) fn erase(&mut self, file: Id, at: usize, len: usize, grow: bool) {
        let mut bytes = self.bytes(file).to_vec();
        if grow {
            bytes.resize(bytes.len().max(at + len), 0);
        }
        let end = bytes.len().min(at + len);
        bytes[at.min(end)..end].fill(0);
        self.push(file, bytes, true, Vec::new());
    }

    fn push(&mut self, file: Id, bytes: Vec<u8>, cut: bool, pages: Vec<usize>) {
        self.now += 1;
        let state = State {
            cut,
            pages,
            ..State::new(bytes, self.now)
        };
        self.files.get_mut(&file).unwrap().push(state);
    }

    /// The last write of this file is on the disk.
    pub(crate) fn last_write_is_durable(&mut self, file: Id) {
        let states = self.files.get_mut(&file).unwrap();
        let before = states.len() - 2;
        if let Some(cut) = (1..=before).rev().find(|&state| states[state].cut) {
            states.drain(..cut);
        }
        let last = states.len() - 1;
        let pages = states[last].pages.clone();
        write_back(states, last, &pages);
        let flags = states[last - 1].clone();
        states[last] = State {
            bytes: std::mem::take(&mut states[last].bytes),
            ..flags
        };
        states.remove(last - 1);
    }

    pub(crate) fn make(&mut self, folder: Id, name: &str, is_folder: bool) -> Id {
        let id = self.next_id();
        if is_folder {
            self.seen.insert(id, BTreeMap::new());
        } else {
            self.files.insert(id, vec![State::new(Vec::new(), 0)]);
        }
        self.rename(vec![(folder, name, Some(id))], Some(id));
        id
    }

    pub(crate) fn link(&mut self, folder: Id, name: &str, file: Id) {
        self.rename(vec![(folder, name, Some(file))], None);
    }

    pub(crate) fn remove(&mut self, folder: Id, name: &str) {
        self.rename(vec![(folder, name, None)], None);
    }

    pub(crate) fn move_name(&mut self, from: (Id, &str), to: (Id, &str), exchange: bool) {
        let (moved, other) = (
            self.seen[&from.0][from.1],
            self.seen[&to.0].get(to.1).copied(),
        );
        if Some(moved) == other {
            return;
        }
        let stays = other.filter(|_| exchange);
        self.rename(
            vec![(from.0, from.1, stays), (to.0, to.1, Some(moved))],
            None,
        );
    }

    fn rename(&mut self, after: Vec<(Id, &str, Option<Id>)>, made: Option<Id>) {
        self.now += 1;
        let before = |slot: &(Id, &str, Option<Id>)| self.seen[&slot.0].get(slot.1).copied();
        let slots: Vec<_> = after
            .iter()
            .map(|slot| (slot.0, slot.1.to_owned(), before(slot), slot.2))
            .collect();
        let stays = |id: Id| slots.iter().any(|slot| slot.3 == Some(id));
        let olds = || {
            slots
                .iter()
                .filter_map(|slot| slot.2)
                .filter(|id| self.is_folder(*id))
        };
        let change = Rename {
            stamp: self.now,
            removed_folder: olds().find(|id| !stays(*id)),
            moved_folder: olds().any(stays),
            slots: slots.clone(),
            made,
            made_folder: made.is_some_and(|id| self.is_folder(id)),
            sync_failed: false,
        };
        apply(&mut self.seen, &change);
        self.waiting.push(change);
    }

    /// A sync that began at `began` succeeded.
    pub(crate) fn synced(&mut self, scope: Scope, began: u64) {
        for (id, states) in &mut self.files {
            if scope == Scope::All || scope == Scope::File(*id) {
                file_synced(states, began);
            }
        }
        let mut next = 0;
        while next < self.waiting.len() {
            let change = &self.waiting[next];
            if change.stamp <= began && !change.sync_failed && reaches(scope, change) {
                let before = self.waiting.len();
                self.write_name(next);
                next -= before - self.waiting.len() - 1;
            } else {
                next += 1;
            }
        }
    }

    /// A sync that began at `began` failed.
    pub(crate) fn sync_failed(&mut self, scope: Scope, began: u64) {
        for (id, states) in &mut self.files {
            if scope == Scope::All || scope == Scope::File(*id) {
                let written = states
                    .iter_mut()
                    .skip(1)
                    .filter(|state| state.stamp <= began);
                written.for_each(|state| state.sync_failed = true);
            }
        }
        let changes = self
            .waiting
            .iter_mut()
            .filter(|change| change.stamp <= began && reaches(scope, change));
        changes.for_each(|change| change.sync_failed = true);
    }

    /// Writes one change of names to the disk, after the older ones that it stands on.
    fn write_name(&mut self, mut index: usize) {
        while let Some(first) =
            (0..index).find(|older| stands_on(&self.waiting[index], &self.waiting[*older]))
        {
            let before = self.waiting.len();
            self.write_name(first);
            index -= before - self.waiting.len();
        }
        let change = self.waiting.remove(index);
        for (folder, name, before, _) in &change.slots {
            let found = self.disk.get(folder).map(|names| names.get(name).copied());
            assert_eq!(
                found,
                Some(*before),
                "the disk is not in the state from which {change:?} leads on"
            );
        }
        apply(&mut self.disk, &change);
    }

    /// The names that the disk may have: as promised, and with each number of the changes that wait.
    pub(crate) fn possible_names(&self) -> Vec<Tree> {
        let mut trees = vec![self.disk.clone()];
        for change in &self.waiting {
            let mut tree = trees.last().unwrap().clone();
            apply(&mut tree, change);
            trees.push(tree);
        }
        trees
    }

    pub(crate) fn promised(&self, file: Id) -> &[u8] {
        &self.files[&file][0].bytes
    }

    /// Whether a file may read so if any of its pages were written back at any time.
    pub(crate) fn may_be(&self, file: Id, bytes: &[u8]) -> bool {
        stretches(&self.files[&file]).iter().any(|states| {
            states.iter().any(|state| state.bytes.len() == bytes.len())
                && (0..bytes.len().div_ceil(PAGE)).all(|page| {
                    states.iter().any(|state| {
                        block(&state.bytes, page, PAGE, bytes.len())
                            == block(bytes, page, PAGE, bytes.len())
                    })
                })
        })
    }

    /// Whether a file may read so if the power failed within one write, with all before it on the disk.
    pub(crate) fn may_be_torn(&self, file: Id, bytes: &[u8]) -> bool {
        let states = &self.files[&file];
        states.iter().any(|state| state.bytes == bytes)
            || states.windows(2).any(|pair| {
                let (old, new) = (&pair[0].bytes, &pair[1].bytes);
                let size = bytes.len();
                let same = |state: &[u8], sector| {
                    block(state, sector, SECTOR, size) == block(bytes, sector, SECTOR, size)
                };
                !pair[1].cut
                    && (old.len()..=new.len()).contains(&size)
                    && (size == old.len() || size == new.len() || size.is_multiple_of(SECTOR))
                    // It grew as far as the last sector that was written.
                    && (size == old.len() || same(new, (size - 1) / SECTOR))
                    && (0..size.div_ceil(SECTOR))
                        .all(|sector| same(old, sector) || same(new, sector))
            })
    }
}

impl State {
    fn new(bytes: Vec<u8>, stamp: u64) -> Self {
        Self {
            bytes,
            stamp,
            cut: false,
            pages: Vec::new(),
            sync_failed: false,
        }
    }
}

fn apply(tree: &mut Tree, change: &Rename) {
    for (folder, name, _, after) in &change.slots {
        let names = tree.get_mut(folder).expect("the folder of a name is there");
        match after {
            Some(id) => names.insert(name.clone(), *id),
            None => names.remove(name),
        };
    }
    if let Some(made) = change.made.filter(|_| change.made_folder) {
        tree.entry(made).or_default();
    }
    if let Some(folder) = change.removed_folder {
        assert!(
            tree.remove(&folder).is_none_or(|names| names.is_empty()),
            "a folder goes when it is empty"
        );
    }
}

fn reaches(scope: Scope, change: &Rename) -> bool {
    match scope {
        Scope::All => true,
        Scope::File(id) => change.made == Some(id),
        Scope::Folder(id) => {
            change.made == Some(id) || change.slots.iter().any(|slot| slot.0 == id)
        }
    }
}

fn stands_on(newer: &Rename, older: &Rename) -> bool {
    let same = |a: &(Id, String, Option<Id>, Option<Id>)| {
        older.slots.iter().any(|b| (a.0, &a.1) == (b.0, &b.1))
    };
    newer.slots.iter().any(same)
        || newer.slots.iter().any(|slot| older.made == Some(slot.0))
        || older
            .slots
            .iter()
            .any(|slot| newer.removed_folder == Some(slot.0))
        || (newer.moved_folder && older.moved_folder)
}

fn file_synced(states: &mut Vec<State>, began: u64) {
    let mut upto = states
        .iter()
        .rposition(|state| state.stamp <= began)
        .unwrap_or(0);
    if let Some(cut) = (1..=upto).rev().find(|&state| states[state].cut) {
        states.drain(..cut);
        upto -= cut;
    }
    // What failed once is not dirty any more: only what was written since goes to the disk.
    let Some(failed) = (1..=upto).rev().find(|&state| states[state].sync_failed) else {
        states.drain(..upto);
        return;
    };
    let pages: Vec<usize> = states[failed + 1..=upto]
        .iter()
        .flat_map(|state| state.pages.clone())
        .collect();
    let grown = states[failed + 1..=upto]
        .iter()
        .any(|state| state.pages.is_empty());
    write_back(states, upto, &pages);
    let size = states[upto].bytes.len();
    if grown {
        states[..upto]
            .iter_mut()
            .for_each(|state| state.bytes.resize(state.bytes.len().max(size), 0));
    }
    states[failed].bytes = states[upto].bytes.clone();
    states.drain(failed + 1..=upto);
}

/// Puts these pages of one state on the disk, and so into every state before it.
fn write_back(states: &mut [State], from: usize, pages: &[usize]) {
    let (older, newer) = states.split_at_mut(from);
    let new = &newer[0].bytes;
    for state in older {
        for page in pages {
            let end = ((page + 1) * PAGE).min(new.len());
            let size = state.bytes.len().max(end);
            state.bytes.resize(size, 0);
            state.bytes[page * PAGE..end].copy_from_slice(&new[page * PAGE..end]);
        }
    }
}

/// The states between which no cut lies.
fn stretches(states: &[State]) -> Vec<&[State]> {
    let mut parts = Vec::new();
    let mut first = 0;
    for (index, state) in states.iter().enumerate().skip(1) {
        if state.cut {
            parts.push(&states[first..index]);
            first = index;
        }
    }
    parts.push(&states[first..]);
    parts
}

/// One block of a file that is `size` long, zeros where `bytes` end.
fn block(bytes: &[u8], index: usize, grain: usize, size: usize) -> Vec<u8> {
    let (from, to) = (index * grain, ((index + 1) * grain).min(size));
    (from..to)
        .map(|at| bytes.get(at).copied().unwrap_or(0))
        .collect()
}
