//! Random calls, carried out for real between the log's steps, and told to the model.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use machine::disk::undo::{Key, Log, PowerLoss, Step, Sync, Synced, What};
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rustix::fs::{AtFlags, FallocateFlags, RenameFlags};

use super::model::{Id, Model, ROOT, Scope, Tree};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

pub(crate) struct Play {
    seed: u64,
    rng: ChaCha8Rng,
    root: PathBuf,
    log: Log,
    model: Model,
    /// Files that the program has open, some of them without a name by now.
    open: Vec<(File, Id)>,
    under_way: Option<(Sync, Scope, u64)>,
    /// The calls so far, to be shown when the folder is wrong.
    calls: Vec<String>,
}

impl Play {
    pub(crate) fn new(place: &Path, seed: u64) -> Self {
        let root = place.join("data");
        std::fs::remove_dir_all(&root).ok();
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(root.join("d")).unwrap();
        std::fs::write(root.join("a"), vec![7; 9000]).unwrap();
        std::fs::write(root.join("d/b"), b"short").unwrap();
        let log = Log::open(&root, &place.join("store")).unwrap();
        let model = found(&root);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self {
            seed,
            rng,
            root,
            log,
            model,
            open: Vec::new(),
            under_way: None,
            calls: Vec::new(),
        }
    }

    pub(crate) fn calls(&mut self, count: usize) {
        for _ in 0..count {
            match self.rng.random_range(0..100) {
                0..30 => self.write(),
                30..38 => self.resize(),
                38..44 => self.erase(),
                44..52 => self.open_file(),
                52..57 => self.make_folder(),
                57..64 => self.remove(),
                64..74 => self.rename(),
                74..78 => self.link(),
                78..82 => self.write_synced(),
                _ => self.sync(),
            }
        }
    }

    fn say(&mut self, call: String) {
        self.calls.push(call);
    }

    fn a_name(&mut self) -> &'static str {
        NAMES.choose(&mut self.rng).unwrap()
    }

    /// The folders that have a path, by id.
    fn paths(&self) -> BTreeMap<Id, PathBuf> {
        let mut paths = BTreeMap::from([(ROOT, self.root.clone())]);
        let mut next = vec![ROOT];
        while let Some(folder) = next.pop() {
            for (name, id) in &self.model.seen[&folder] {
                if self.model.is_folder(*id) {
                    paths.insert(*id, paths[&folder].join(name));
                    next.push(*id);
                }
            }
        }
        paths
    }

    fn a_folder(&mut self) -> (Id, PathBuf, File) {
        let paths: Vec<_> = self.paths().into_iter().collect();
        let (id, path) = paths.choose(&mut self.rng).unwrap().clone();
        let fd = File::open(&path).unwrap();
        (id, path, fd)
    }

    fn what_is(&self, folder: Id, name: &str) -> Option<Id> {
        self.model.seen[&folder].get(name).copied()
    }

    fn an_open_file(&mut self) -> Option<usize> {
        if self.open.is_empty() {
            self.open_file();
        }
        (!self.open.is_empty()).then(|| self.rng.random_range(0..self.open.len()))
    }

    fn some_bytes(&mut self) -> (u64, Vec<u8>) {
        let at = if self.rng.random_bool(0.3) {
            self.rng.random_range(0..4) * 4096
        } else {
            self.rng.random_range(0..14_000)
        };
        let len = if self.rng.random_bool(0.5) {
            self.rng.random_range(1..200)
        } else {
            self.rng.random_range(1..9000)
        };
        let mut data = vec![0; len];
        self.rng.fill(&mut data[..]);
        (at, data)
    }

    fn write(&mut self) {
        let Some(index) = self.an_open_file() else {
            return;
        };
        let (mut at, data) = self.some_bytes();
        if self.rng.random_bool(0.4) {
            at = self.open[index].0.metadata().unwrap().len();
        }
        let (file, id) = &self.open[index];
        let asked = data.len() as u64;
        // A short write: fewer bytes than the log was told.
        let done = if self.rng.random_bool(0.1) {
            self.rng.random_range(0..=data.len())
        } else {
            data.len()
        };
        let step = self.log.before_write(file, at, asked).unwrap();
        file.write_all_at(&data[..done], at).unwrap();
        self.log.wrote(step, asked, done as u64);
        if done > 0 {
            self.model.write(*id, at as usize, &data[..done]);
        }
        let call = format!("write file {id} at {at}, {done} of {asked} bytes");
        self.say(call);
    }

    fn write_synced(&mut self) {
        let Some(index) = self.an_open_file().filter(|_| self.under_way.is_none()) else {
            return;
        };
        let (at, data) = self.some_bytes();
        let (file, id) = &self.open[index];
        let step = self
            .log
            .before_synced_write(file, at, data.len() as u64)
            .unwrap();
        let sync = self.log.begin_sync(What::Write(step)).unwrap();
        file.write_all_at(&data, at).unwrap();
        self.log.wrote(step, data.len() as u64, data.len() as u64);
        self.log.end_sync(sync, Synced::Durable);
        self.model.write(*id, at as usize, &data);
        self.model.last_write_is_durable(*id);
        let call = format!("write file {id} at {at}, {} bytes, O_DSYNC", data.len());
        self.say(call);
    }

    fn resize(&mut self) {
        let Some(index) = self.an_open_file() else {
            return;
        };
        let size = if self.rng.random_bool(0.2) {
            0
        } else {
            self.rng.random_range(0..20_000)
        };
        let (file, id) = &self.open[index];
        self.log.before_resize(file, size).unwrap();
        file.set_len(size).unwrap();
        self.model.resize(*id, size as usize);
        let call = format!("truncate file {id} to {size}");
        self.say(call);
    }

    fn erase(&mut self) {
        let Some(index) = self.an_open_file() else {
            return;
        };
        let (at, len) = (
            self.rng.random_range(0..12_000),
            self.rng.random_range(1..9000),
        );
        let grow = self.rng.random_bool(0.5);
        let (file, id) = &self.open[index];
        let step = self.log.before_erase(file, at, len).unwrap();
        let flags = match grow {
            true => FallocateFlags::ZERO_RANGE,
            false => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        };
        let call = match rustix::fs::fallocate(file, flags, at, len) {
            Ok(()) => {
                self.model.erase(*id, at as usize, len as usize, grow);
                format!("erase file {id} at {at}, {len} bytes, grow {grow}")
            }
            Err(error) => {
                self.log.failed(step);
                format!("erase: {error}")
            }
        };
        self.say(call);
    }

    fn open_file(&mut self) {
        let (folder, path, fd) = self.a_folder();
        let name = self.a_name();
        let id = match self.what_is(folder, name) {
            Some(id) if self.model.is_folder(id) => return,
            Some(id) => id,
            None => {
                let step = self.log.before_create(&fd, OsStr::new(name)).unwrap();
                File::create_new(path.join(name)).unwrap();
                self.tell_made(step, &path.join(name));
                self.model.make(folder, name, false)
            }
        };
        let file = File::options()
            .read(true)
            .write(true)
            .open(path.join(name))
            .unwrap();
        if self.open.len() == 4 {
            self.open.remove(0);
        }
        self.open.push((file, id));
        self.say(format!("open {name} in folder {folder}: file {id}"));
    }

    /// Half of the time the log has to find out for itself.
    fn tell_made(&mut self, step: Step, path: &Path) {
        if self.rng.random_bool(0.5) {
            let stat = rustix::fs::lstat(path).unwrap();
            self.log.created(step, Key::of(&stat));
        }
    }

    fn make_folder(&mut self) {
        let (folder, path, fd) = self.a_folder();
        let name = self.a_name();
        if self.what_is(folder, name).is_none() {
            let step = self.log.before_create(&fd, OsStr::new(name)).unwrap();
            std::fs::create_dir(path.join(name)).unwrap();
            self.tell_made(step, &path.join(name));
            let id = self.model.make(folder, name, true);
            self.say(format!("mkdir {name} in folder {folder}: folder {id}"));
        }
    }

    fn remove(&mut self) {
        let (folder, _, fd) = self.a_folder();
        let name = self.a_name();
        let Some(id) = self.what_is(folder, name) else {
            return;
        };
        let step = self.log.before_remove(&fd, OsStr::new(name)).unwrap();
        let flags = if self.model.is_folder(id) {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        let done = rustix::fs::unlinkat(&fd, name, flags);
        match done {
            Ok(()) => self.model.remove(folder, name),
            Err(_) => self.log.failed(step),
        }
        self.say(format!(
            "remove {name} (id {id}) in folder {folder}: {done:?}"
        ));
    }

    fn rename(&mut self) {
        let ((folder, _, fd), (to_folder, _, to_fd)) = (self.a_folder(), self.a_folder());
        let (name, to_name) = (self.a_name(), self.a_name());
        let Some(id) = self.what_is(folder, name) else {
            return;
        };
        let exchange = self.rng.random_bool(0.2) && self.what_is(to_folder, to_name).is_some();
        let flags = if exchange {
            RenameFlags::EXCHANGE
        } else {
            RenameFlags::empty()
        };
        let (from, to) = (
            (fd.as_fd(), OsStr::new(name)),
            (to_fd.as_fd(), OsStr::new(to_name)),
        );
        let step = self.log.before_rename(from, to, exchange).unwrap();
        let done = rustix::fs::renameat_with(&fd, name, &to_fd, to_name, flags);
        match done {
            Ok(()) => self
                .model
                .move_name((folder, name), (to_folder, to_name), exchange),
            Err(_) => self.log.failed(step),
        }
        self.say(format!("rename {name} (id {id}) in folder {folder} to {to_name} in {to_folder}, exchange {exchange}: {done:?}"));
    }

    fn link(&mut self) {
        let ((folder, _, fd), (to_folder, _, to_fd)) = (self.a_folder(), self.a_folder());
        let (name, to_name) = (self.a_name(), self.a_name());
        let Some(id) = self
            .what_is(folder, name)
            .filter(|id| !self.model.is_folder(*id))
        else {
            return;
        };
        if self.what_is(to_folder, to_name).is_none() {
            self.log.before_link(&to_fd, OsStr::new(to_name)).unwrap();
            rustix::fs::linkat(&fd, name, &to_fd, to_name, AtFlags::empty()).unwrap();
            self.model.link(to_folder, to_name, id);
            self.say(format!("link file {id} to {to_name} in folder {to_folder}"));
        }
    }

    /// Begins a sync, or ends the one that is under way, often with calls between.
    fn sync(&mut self) {
        if let Some((sync, scope, began)) = self.under_way.take() {
            let how = *[
                Synced::Durable,
                Synced::Durable,
                Synced::Durable,
                Synced::Failed,
                Synced::Lied,
            ]
            .choose(&mut self.rng)
            .unwrap();
            self.log.end_sync(sync, how);
            match how {
                Synced::Durable => self.model.synced(scope, began),
                Synced::Failed => self.model.sync_failed(scope, began),
                Synced::Lied => {}
            }
            self.say(format!("sync of {scope:?} ends: {how:?}"));
            return;
        }
        let began = self.model.stamp();
        let (sync, scope) = match self.rng.random_range(0..10) {
            0 => (self.log.begin_sync(What::Everything), Scope::All),
            1..5 => {
                let (id, _, fd) = self.a_folder();
                (self.log.begin_sync(What::Of(fd.as_fd())), Scope::Folder(id))
            }
            _ => {
                let Some(index) = self.an_open_file() else {
                    return;
                };
                let (file, id) = &self.open[index];
                (
                    self.log.begin_sync(What::Of(file.as_fd())),
                    Scope::File(*id),
                )
            }
        };
        self.say(format!("sync of {scope:?} begins"));
        // The file may have been made just now.
        let began = began.max(self.model.stamp());
        self.under_way = Some((sync.unwrap(), scope, began));
        if self.rng.random_bool(0.5) {
            self.sync();
        }
    }

    pub(crate) fn lose_power(&mut self, how: PowerLoss) {
        self.open.clear();
        self.under_way = None;
        self.log.power_loss(how).unwrap();
        let names = match how {
            PowerLoss::Strict => self.model.possible_names()[..1].to_vec(),
            _ => self.model.possible_names(),
        };
        let wrong: Vec<_> = names
            .iter()
            .map_while(|names| self.differs(names, ROOT, &self.root, how))
            .collect();
        assert!(
            wrong.len() < names.len(),
            "seed {}, {how:?}: {wrong:#?}\n{}",
            self.seed,
            self.calls.join("\n")
        );
        assert!(
            (self.log.unsynced_bytes(), self.log.unsynced_names()) == (0, 0),
            "nothing is unsynced after a power loss"
        );
        self.model = found(&self.root);
        self.say(format!("power loss: {how:?}"));
    }

    /// Why the folder is not what it should be, if it is not.
    fn differs(&self, names: &Tree, folder: Id, path: &Path, how: PowerLoss) -> Option<String> {
        let mut there: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        let expected: Vec<_> = names[&folder].keys().cloned().collect();
        if there != expected {
            return Some(format!(
                "{}: there is {there:?}, expected {expected:?}",
                path.display()
            ));
        }
        names[&folder].iter().find_map(|(name, id)| {
            let path = path.join(name);
            if names.contains_key(id) != path.is_dir() {
                return Some(format!("{}: a folder and a file", path.display()));
            }
            if path.is_dir() {
                return self.differs(names, *id, &path, how);
            }
            let bytes = std::fs::read(&path).unwrap();
            let right = match how {
                PowerLoss::Strict => self.model.promised(*id) == bytes,
                PowerLoss::Subset(_) => self.model.may_be(*id, &bytes),
                PowerLoss::Torn(_) => self.model.may_be_torn(*id, &bytes),
            };
            (!right).then(|| {
                let promised = self.model.promised(*id);
                let first = bytes.iter().zip(promised).position(|(a, b)| a != b);
                format!(
                    "{} (file {id}): {} bytes, promised {}, first difference at {first:?}",
                    path.display(),
                    bytes.len(),
                    promised.len()
                )
            })
        })
    }
}

/// The model of a folder as it is.
fn found(root: &Path) -> Model {
    fn walk(model: &mut Model, seen: &mut BTreeMap<u64, Id>, folder: Id, path: &Path) {
        for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
            let (name, meta) = (
                entry.file_name().into_string().unwrap(),
                entry.metadata().unwrap(),
            );
            if meta.is_dir() {
                let id = model.found(folder, &name, None);
                walk(model, seen, id, &entry.path());
            } else if let Some(id) = seen.get(&meta.ino()) {
                model.found_again(folder, &name, *id);
            } else {
                let id = model.found(folder, &name, Some(std::fs::read(entry.path()).unwrap()));
                seen.insert(meta.ino(), id);
            }
        }
    }
    let mut model = Model::new();
    walk(&mut model, &mut BTreeMap::new(), ROOT, root);
    model
}
